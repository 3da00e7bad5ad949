"""FigureView's drawing against the numbers, and plotly.js for what it does not draw itself."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path

import plotly.graph_objects as go
import pytest

from tests.browser.driver import PATIENCE, Watched, serving_notebook, watched_page
from tinykit.explore.app import write_notebook
from tinykit.explore.figure_view import FigureView, plain
from tinykit.plots import layer_bars

_OTHER = """
import plotly.graph_objects as go
from tinykit.explore.figure_view import FigureView
view = FigureView()
view.show({
    "heat": go.Figure(go.Heatmap(z=[[1, 2], [3, 4]]), layout={"title": {"text": "Heat"}}),
    "bars": go.Figure(go.Bar(x=["a"], y=[1])),
}, "a heatmap <b>is not markup</b>", 1)
view
"""


@pytest.fixture(scope="module")
def drawing(browser: object) -> Iterator[Watched]:
    """A page that has `drawFigure` and `isPlain`."""
    seen = watched_page(browser)
    source = (FigureView._esm if isinstance(FigureView._esm, str) else "").split("// The browser")
    script = (
        source[0].replace("export ", "")
        + "window.drawFigure = drawFigure; window.isPlain = isPlain;"
    )
    seen.page.add_script_tag(content=script)
    yield seen
    seen.page.close()


def draw(page: Watched, figure: go.Figure, width: int = 640, height: int = 400) -> str:
    return page.page.evaluate(
        "([f, w, h]) => drawFigure(f, w, h)", [plain(figure.to_plotly_json()), width, height]
    )


def marks(svg: str) -> list[tuple[float, float]]:
    found = re.findall(r'translate\(([-\d.]+),([-\d.]+)\)"[^>]*data-tip', svg)
    return [(float(x), float(y)) for x, y in found]


def test_a_heat_map_has_a_cell_for_each_number(drawing: Watched) -> None:
    z = [[0.0, 0.25, 1.0], [0.5, 1.0, None]]
    figure = go.Figure(
        go.Heatmap(
            x=[1, 2, 3], y=["a", "b"], z=z, zmin=0, zmax=1,
            colorscale=[[0, "#ffffff"], [0.5, "#0080ff"], [1, "#000000"]],
            hovertext=[["p"] * 3] * 2,
        ),
        layout={"xaxis": {"range": [0.5, 3.5]}, "yaxis": {"autorange": "reversed"}},
    )  # fmt: skip
    assert drawing.page.evaluate("f => isPlain(f)", plain(figure.to_plotly_json()))
    svg = draw(drawing, figure)
    pattern = (
        r'<rect x="([-\d.]+)" y="([-\d.]+)" width="([\d.]+)" height="([\d.]+)" '
        r'fill="(#\w+)" data-tip'
    )
    cells = re.findall(pattern, svg)
    assert [c[4] for c in cells] == ["#ffffff", "#80c0ff", "#000000", "#0080ff", "#000000"]
    x = [float(c[0]) for c in cells]
    y = [float(c[1]) for c in cells]
    wide, high = float(cells[0][2]), float(cells[0][3])
    assert x[1] - x[0] == pytest.approx(wide, abs=0.2)
    assert y[3] - y[0] == pytest.approx(high, abs=0.2), "the first row is on top"
    assert x[3] == x[0]
    # without a scale of its own, or with text in the cells, it is plotly.js's to draw
    for other in ({"colorscale": "Viridis"}, {"texttemplate": "%{z}"}):
        spec = plain(figure.to_plotly_json())
        spec["data"][0] |= other
        assert not drawing.page.evaluate("f => isPlain(f)", spec)


def test_a_filled_trace_is_an_area(drawing: Watched) -> None:
    band = go.Scatter(
        x=[0, 1, 1, 0], y=[0, 0, 2, 1], mode="lines", fill="toself",
        fillcolor="rgba(0,114,178,0.2)", line={"width": 0},
    )  # fmt: skip
    figure = go.Figure([band, go.Scatter(x=[0, 1], y=[1, 1], mode="lines")])
    svg = draw(drawing, figure)
    assert svg.count('fill="rgba(0,114,178,0.2)"') == 1
    assert 'stroke-width="0"' in svg
    other = go.Figure(go.Scatter(x=[0], y=[0], fill="tozeroy"))
    assert not drawing.page.evaluate("f => isPlain(f)", plain(other.to_plotly_json()))


@pytest.mark.parametrize("kind", ["linear", "log"])
def test_points_are_where_the_axes_say(drawing: Watched, kind: str) -> None:
    xs, ys = [1.0, 3.0, 20.0, 100.0], [5.0, -2.0, 7.0, 1.0]
    trace = go.Scatter(x=xs, y=ys, mode="markers", hovertext=["p"] * 4)
    svg = draw(drawing, go.Figure(trace, layout={"xaxis": {"type": kind}}))
    found = marks(svg)
    assert len(found) == 4
    at = [math.log10(x) for x in xs] if kind == "log" else xs
    scale = (found[3][0] - found[0][0]) / (at[3] - at[0])
    for (px, py), x, y in zip(found, at, ys, strict=True):
        assert px == pytest.approx(found[0][0] + scale * (x - at[0]), abs=0.15)
        down = (found[1][1] - found[0][1]) / (ys[1] - ys[0])
        assert py == pytest.approx(found[0][1] + down * (y - ys[0]), abs=0.15)
    assert scale > 0
    # a tick's label stands where its value is drawn
    ticks = re.findall(r'<text x="([\d.]+)" y="371" text-anchor="middle"[^>]*>([\d.]+)<', svg)
    assert len(ticks) >= 3
    for px, text in ticks:
        value = math.log10(float(text)) if kind == "log" else float(text)
        assert float(px) == pytest.approx(found[0][0] + scale * (value - at[0]), abs=0.2)


def test_bars_are_as_long_as_their_values(drawing: Watched) -> None:
    svg = draw(drawing, layer_bars(["a", "b", "c"], [4, 1, 2], title="t", subtitle="", unit="k"))
    bars = re.findall(r'<rect x="[\d.]+" y="([\d.]+)" width="([\d.]+)"[^>]*data-tip', svg)
    tops, lengths = zip(*[(float(y), float(w)) for y, w in bars], strict=True)
    assert lengths[0] / lengths[1] == pytest.approx(4, rel=0.01)
    assert lengths[2] / lengths[1] == pytest.approx(2, rel=0.01)
    assert list(tops) == sorted(tops), "the first layer is on top"


def test_stacked_bars_stand_on_each_other(drawing: Watched) -> None:
    bars = [go.Bar(x=["a"], y=[n], hovertext=["t"], name=str(n)) for n in (3, 1)]
    svg = draw(drawing, go.Figure(bars, layout={"barmode": "stack"}))
    found = re.findall(r'y="([\d.]+)" width="[\d.]+" height="([\d.]+)"[^>]*data-tip', svg)
    (low_y, low_h), (high_y, high_h) = [(float(y), float(h)) for y, h in found]
    assert high_y + high_h == pytest.approx(low_y, abs=0.2)
    assert low_h / high_h == pytest.approx(3, rel=0.02)


def test_text_is_text_and_not_markup(drawing: Watched) -> None:
    nasty = "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>"
    bars = layer_bars([nasty], [1], title=nasty, subtitle=nasty, unit=nasty)
    svg = draw(drawing, bars)
    drawing.page.set_content("<body></body>")
    drawing.page.evaluate("svg => { document.body.innerHTML = svg; }", svg)
    assert drawing.page.evaluate("document.querySelectorAll('script, img').length") == 0
    assert drawing.page.evaluate("window.hacked") is None


def test_what_cannot_be_drawn_plainly_is_known(drawing: Watched) -> None:
    def is_plain(figure: go.Figure) -> bool:
        return drawing.page.evaluate("f => isPlain(f)", plain(figure.to_plotly_json()))

    assert is_plain(go.Figure(go.Scatter(x=[1], y=[1])))
    assert not is_plain(go.Figure(go.Heatmap(z=[[1]])))
    assert not is_plain(go.Figure(go.Scatter(x=[1], y=[1], xaxis="x2")))
    assert not is_plain(go.Figure(go.Scatter(x=[1], y=[1], fill="tozeroy")))
    assert not is_plain(go.Figure(layout={"xaxis": {"type": "date"}}))


def test_other_figures_are_drawn_by_plotly_js_from_the_kernel(
    page: Watched, tmp_path: Path
) -> None:
    notebook = write_notebook("compress-deploy", tmp_path)
    app = json.loads(notebook.read_text("utf-8"))
    app["cells"][-1]["source"] = _OTHER
    notebook.write_text(json.dumps(app), "utf-8")
    with serving_notebook(notebook) as address:
        page.page.goto(address, timeout=PATIENCE)
        page.page.wait_for_selector("[data-figure=heat] .heatmaplayer image", timeout=PATIENCE)
        assert "Heat" in page.page.inner_text("[data-figure=heat]")
        assert page.page.locator("[data-figure=bars] > svg").count() == 1
        assert page.readout() == "a heatmap <b>is not markup</b>"
        assert page.outside == []
        assert page.errors == []

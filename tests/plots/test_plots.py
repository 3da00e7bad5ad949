"""Figures: valid Plotly, true to the numbers, readable without colour."""

from __future__ import annotations

import plotly.graph_objects as go
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinykit.graph import GraphBuilder
from tinykit.plots import Candidate, layer_bars, lives, memory_map, pareto_front, tradeoff
from tinykit.plots.memory import Life
from tinykit.plots.style import OKABE_ITO, kib, short

numbers = st.integers(-5, 5).map(float)


def valid(figure: go.Figure) -> go.Figure:
    """`figure`, validated by Plotly, with titles on both axes."""
    checked = go.Figure(figure.to_plotly_json())
    assert checked.layout.title.text
    assert checked.layout.xaxis.title.text
    assert checked.layout.yaxis.title.text
    return checked


@given(st.lists(st.tuples(numbers, numbers), max_size=25))
def test_pareto_front_is_what_the_definition_says(points: list[tuple[float, float]]) -> None:
    front = pareto_front([c for c, _ in points], [s for _, s in points])
    beaten = {
        i
        for i, (cost, score) in enumerate(points)
        for other_cost, other_score in points
        if other_cost <= cost
        and other_score >= score
        and (other_cost < cost or other_score > score)
    }
    assert not beaten & set(front)
    # every unbeaten point is on the front, equal ones once
    assert {points[i] for i in front} == {p for i, p in enumerate(points) if i not in beaten}
    assert len({points[i] for i in front}) == len(front)
    assert [points[i][0] for i in front] == sorted(points[i][0] for i in front)


def candidates() -> list[Candidate]:
    return [
        Candidate(10, 90, "int8", "a"),
        Candidate(40, 97, "float32", "b"),
        Candidate(20, 95, "int8", "c"),
        Candidate(5, 99, "int8", "too good to fit", feasible=False),
    ]


def test_tradeoff_shows_every_candidate_once() -> None:
    figure = valid(
        tradeoff(
            candidates(), title="t", subtitle="s", cost_axis="flash in KiB",
            score_axis="accuracy in %", chosen=2, marks={"yours": 100.0},
        )
    )  # fmt: skip
    traces = {trace.name: trace for trace in figure.data}
    points = [
        (x, y)
        for name, trace in traces.items()
        if name not in ("Pareto front", "your choice")
        for x, y in zip(trace.x, trace.y, strict=True)
    ]
    assert sorted(points) == sorted((c.cost, c.score) for c in candidates())
    assert list(zip(traces["your choice"].x, traces["your choice"].y, strict=True)) == [(20, 95)]
    # what does not fit is no part of the front
    assert list(traces["Pareto front"].x) == [10, 20, 40]
    assert list(traces["does not fit"].x) == [5]
    assert figure.layout.shapes[0].x0 == 100
    assert figure.layout.annotations[0].x == pytest.approx(2)  # Plotly: log10 on a log axis


def test_accuracies_by_the_log_of_their_errors() -> None:
    figure = valid(
        tradeoff(
            [Candidate(1, 90, "a", ""), Candidate(2, 99, "a", ""), Candidate(3, 100, "a", "")],
            title="t", subtitle="s", cost_axis="c", score_axis="accuracy in %", finest=0.1,
        )
    )  # fmt: skip
    assert list(figure.data[0].y) == list(figure.data[1].y) == [10, 1, 0.1]
    axis = figure.layout.yaxis
    assert (axis.type, axis.autorange) == ("log", "reversed")
    for error, text in zip(axis.tickvals, axis.ticktext, strict=True):
        assert 100 - error == float(text)


def test_groups_differ_in_colour_and_in_shape() -> None:
    many = [Candidate(i + 1, i, f"group {i}", "") for i in range(5)]
    figure = tradeoff(many, title="t", subtitle="", cost_axis="c", score_axis="s")
    looks = [(t.marker.color, t.marker.symbol) for t in figure.data if t.mode == "markers"]
    assert len({color for color, _ in looks}) == len({symbol for _, symbol in looks}) == 5
    assert {color for color, _ in looks} <= set(OKABE_ITO.values())


def test_layer_bars_keep_order_and_say_what_is_unknown() -> None:
    figure = valid(
        layer_bars(["0:conv", "1:odd", "2:fc"], [3.0, None, 1.0], title="t", subtitle="s", unit="k")
    )
    (bars,) = figure.data
    assert list(bars.y) == ["0:conv", "1:odd", "2:fc"]
    assert list(bars.x) == [3.0, 0, 1.0]
    assert list(bars.text) == ["75%", "unknown", "25%"]
    assert bars.marker.color[0] == OKABE_ITO["vermillion"]
    assert figure.layout.yaxis.autorange == "reversed"


def test_layer_bars_of_nothing() -> None:
    valid(layer_bars([], [], title="t", subtitle="s", unit="k"))


@pytest.mark.parametrize(
    ("limit", "line", "words"),
    [(2048, True, "limit: 2.0 KiB"), (5 * 1024, False, "peak uses 30%"), (10**6, False, "under")],
)
def test_memory_map_limit_is_a_line_or_words(limit: int, line: bool, words: str) -> None:
    tensors = [Life("x", 0, 512, 0, 0), Life("y", 512, 1024, 0, 1)]
    figure = valid(memory_map(tensors, ["0:a", "1:b"], limit_bytes=limit, limit_name="limit"))
    assert bool(figure.layout.shapes) == line
    assert words in figure.layout.annotations[0].text
    if line:
        assert figure.layout.shapes[0].y0 == limit / 1024
        assert figure.layout.yaxis.range[1] > limit / 1024


def test_memory_map_boxes_are_the_plan() -> None:
    tensors = [Life("x", 0, 512, 0, 0), Life("y", 512, 1024, 0, 1)]
    (bars,) = memory_map(tensors, ["0:a", "1:b"], extra_bytes=100).data
    assert list(bars.base) == [0, 100 / 1024, 612 / 1024]
    assert list(bars.y) == [100 / 1024, 0.5, 1]
    # a box covers the layers from first to last
    assert bars.x[2] - bars.width[2] / 2 < 0
    assert 1 < bars.x[2] + bars.width[2] / 2 < 1.5


def test_lives_of_a_graph_tell_shared_memory_once() -> None:
    b = GraphBuilder()
    x = b.input("x", (1, 4), "float32")
    r = b.op("relu", [x], (1, 4), "float32")
    import numpy as np

    shape = b.const(np.int32([1, 2, 2]))
    s = b.op("reshape", [r, shape], (1, 2, 2), "float32", new_shape=(1, 2, 2))
    t = b.op("tanh", [s], (1, 2, 2), "float32")
    found = lives(b.finish([t]))
    assert [life.size for life in found] == [16, 16, 16]
    assert [(life.first, life.last) for life in found] == [(0, 0), (0, 2), (2, 2)]
    for one in found:
        for other in found:
            if one is not other and one.first <= other.last and other.first <= one.last:
                assert (
                    one.offset + one.size <= other.offset or other.offset + other.size <= one.offset
                )


def test_numbers_for_people() -> None:
    assert [short(n) for n in (7, 1234, 2.5e6, 3e9)] == ["7", "1.23 k", "2.5 M", "3 G"]
    assert [kib(n) for n in (640, 2048, 131072)] == ["640 B", "2.0 KiB", "128 KiB"]


def test_no_mark_hides_the_share_of_a_bar() -> None:
    figure = valid(
        layer_bars(
            ["a", "b"], [1.0, 10.0], title="t", subtitle="s", unit="u", reference=[1.2, 30.0]
        )
    )
    bars, marks, moved = figure.data
    assert list(bars.text) == ["", "91%"]
    assert list(moved.text) == ["9%"]
    assert moved.x[0] > marks.x[0]


def test_lives_are_named_as_people_number_the_layers() -> None:
    b = GraphBuilder()
    x = b.input("x", (1, 4), "float32")
    r = b.op("relu", [x], (1, 4), "float32")
    graph = b.finish([b.op("tanh", [r], (1, 4), "float32")])
    assert {life.name for life in lives(graph, layers=[None, 7])} == {"input", "output of layer 7"}
    named = memory_map(lives(graph), ["0:a and 1:b", "2:c"], numbers=["0+1", "2"])
    assert list(named.layout.xaxis.ticktext) == ["0+1", "2"]

"""One look for all figures: colours that colour-blind people can tell apart, quiet grids."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import plotly.graph_objects as go

#: Okabe and Ito's palette (jfly.uni-koeln.de/color), without its yellow, too pale on white
OKABE_ITO = {
    "blue": "#0072B2",
    "orange": "#E69F00",
    "green": "#009E73",
    "vermillion": "#D55E00",
    "sky": "#56B4E9",
    "purple": "#CC79A7",
    "black": "#000000",
}
GREY = "#8A8A8A"


@cache
def template() -> go.layout.Template:
    """Fonts, colours and axes of every figure; small, since it travels with each of them."""
    import plotly.graph_objects as go

    axis = {
        "gridcolor": "#E4E4E4",
        "zeroline": False,
        "showline": True,
        "linecolor": "#888888",
        "automargin": True,
    }
    return go.layout.Template(
        layout={
            "font": {"family": "Helvetica, Arial, sans-serif", "size": 13, "color": "#222222"},
            "colorway": [c for n, c in OKABE_ITO.items() if n != "black"],
            "paper_bgcolor": "white",
            "plot_bgcolor": "white",
            "xaxis": axis,
            "yaxis": axis,
            "title": {"x": 0, "xref": "container", "xanchor": "left", "pad": {"l": 8}},
            "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 0},
            "margin": {"t": 90, "r": 20},
            "hovermode": "closest",
        }
    )


def figure(
    traces: Sequence[Any],
    *,
    title: str,
    subtitle: str = "",
    x: dict[str, Any],
    y: dict[str, Any],
    **layout: Any,
) -> go.Figure:
    """A figure in the house's look.

    Parameters
    ----------
    traces : plotly traces, as objects or dicts
    title, subtitle : what is shown; the subtitle says where the numbers come from
    x, y : the axes; each needs a ``title`` with the unit
    layout : anything else of Plotly's layout
    """
    import plotly.graph_objects as go

    def axis(spec: dict[str, Any]) -> dict[str, Any]:
        return {**spec, "title": {"text": spec["title"]}}

    return go.Figure(
        data=list(traces),
        layout={
            "template": template(),
            "title": {"text": title, "subtitle": {"text": subtitle}},
            "xaxis": axis(x),
            "yaxis": axis(y),
            **layout,
        },
        # Validation takes 10 ms of the 100 that a knob has; the tests validate each figure.
        _validate=False,
    )


def short(count: float) -> str:
    """A count for people: 950, 12.3 k, 4.56 M."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(count) >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:.3g}"


def kib(count: float) -> str:
    """Bytes for people: 640 B, 3.2 KiB, 128 KiB."""
    if abs(count) < 1000:
        return f"{count:.0f} B"
    size = count / 1024
    return f"{size:.1f} KiB" if size < 100 else f"{size:,.0f} KiB"

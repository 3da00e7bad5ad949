"""Sums of compressions by file size and error, and how the LC algorithm got there."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tinykit.plots.style import GREY, OKABE_ITO, figure
from tinykit.plots.tradeoff import pareto_front

if TYPE_CHECKING:
    import plotly.graph_objects as go

#: one look after the other: (colour, marker symbol, size), told apart without colour, too
_LOOKS = (
    (OKABE_ITO["orange"], "square-open", 7),
    (OKABE_ITO["green"], "triangle-up", 7),
    (OKABE_ITO["blue"], "circle", 7),
)
#: of a file's terms, in order; the rest is grey
_FILLS = (OKABE_ITO["vermillion"], OKABE_ITO["sky"], OKABE_ITO["blue"], GREY)
_PUBLISHED = OKABE_ITO["purple"]


@dataclass(frozen=True)
class Point:
    """A compressed network: bytes of its file, test error in %, by which method, in words."""

    size: float
    error: float
    method: str
    label: str


def size_error(
    points: Sequence[Point],
    *,
    methods: Sequence[str],
    title: str,
    subtitle: str,
    finest: float,
    chosen: Sequence[Point] = (),
    ring: Point | None = None,
    reference: Point | None = None,
    published: Mapping[str, float] | None = None,
    published_of_ring: str = "",
    **layout: Any,
) -> go.Figure:
    """Error against size, both by their logarithms, with the Pareto front of all points.

    Parameters
    ----------
    methods : all that there can be, so that each keeps its look
    finest : error in % that zero errors are drawn at, half of one image
    chosen : the same sum by each method, joined by a line
    ring : the point that the knobs choose
    reference : the network before compression
    published : name → error in % of results whose file sizes are unknown; marks on the error axis
    published_of_ring : the name, of these, of what the knobs choose
    """

    def height(error: float) -> float:
        return max(error, finest)

    front = [points[k] for k in pareto_front([p.size for p in points], [-p.error for p in points])]
    everything = [*points, *chosen, *([reference] if reference else [])]
    low, high = (f(math.log10(p.size) for p in everything) for f in (min, max))
    room = 0.05 * (high - low) or 0.5
    traces: list[dict[str, Any]] = [
        {
            "type": "scatter", "mode": "lines", "name": "Pareto front", "hoverinfo": "skip",
            "x": [p.size for p in front], "y": [height(p.error) for p in front],
            "line": {"color": "#444444", "width": 1.5, "shape": "hv"},
        }
    ]  # fmt: skip
    for method, (color, symbol, size) in zip(methods, _LOOKS, strict=False):
        own = [p for p in points if p.method == method]
        if own:
            marker = {"color": color, "symbol": symbol, "size": size}
            traces.append(_marks(own, method, height, marker, opacity=0.75))
    if reference:
        marker = {"color": "#000000", "symbol": "star", "size": 12}
        traces.append(_marks([reference], "not compressed", height, marker))
    if len(chosen) > 1:
        traces.append(
            {
                "type": "scatter", "mode": "lines", "name": "your sum by each method",
                "x": [p.size for p in chosen], "y": [height(p.error) for p in chosen],
                "line": {"color": "#000000", "width": 2, "dash": "dot"}, "hoverinfo": "skip",
            }
        )  # fmt: skip
    if ring:
        marker = {"color": "#000000", "symbol": "circle-open", "size": 18}
        traces.append(_marks([ring], "your choice", height, marker))
        traces[-1]["marker"]["line"] = {"width": 3, "color": "#000000"}
    if published:
        at = 10 ** (low - 0.6 * room)
        for chosen_one, name, marker in (
            (False, "published by others (no file size)", {"symbol": "cross", "size": 13}),
            (True, "published for your sum", {"symbol": "diamond", "size": 12}),
        ):
            marks = [
                Point(at, error, "", f"{what}<br>published: {error:g} % (file size unknown)")
                for what, error in published.items()
                if (what == published_of_ring) == chosen_one
            ]
            if marks:
                traces.append(_marks(marks, name, height, {"color": _PUBLISHED, **marker}))
    return figure(
        traces,
        title=title,
        subtitle=subtitle,
        x={
            "title": "bytes of the encoded file (log scale)",
            "type": "log",
            "range": [low - room, high + room],
        },
        y={"title": "test error in % (log scale)", "type": "log"},
        **layout,
    )


def _marks(
    points: Sequence[Point], name: str, height: Any, marker: dict[str, Any], opacity: float = 1.0
) -> dict[str, Any]:
    return {
        "type": "scatter", "mode": "markers", "name": name, "opacity": opacity,
        "x": [p.size for p in points], "y": [height(p.error) for p in points],
        "hovertext": [p.label for p in points], "hoverinfo": "text", "marker": marker,
    }  # fmt: skip


def by_step(
    values: Sequence[float],
    *,
    name: str,
    title: str,
    subtitle: str,
    unit: str,
    levels: Mapping[str, float] | None = None,
    finest: float = 0.0,
    **layout: Any,
) -> go.Figure:
    """What the LC algorithm's state is worth after each step, by its logarithm.

    Parameters
    ----------
    values : before the first step, then after each
    levels : name → value of what has no steps, as lines across
    finest : values below are drawn at it
    """
    steps = list(range(len(values)))
    traces: list[dict[str, Any]] = [
        {
            "type": "scatter", "mode": "lines+markers", "name": name, "x": steps,
            "y": [max(v, finest) for v in values],
            "line": {"color": _LOOKS[2][0], "width": 2},
            "marker": {"color": _LOOKS[2][0], "symbol": "circle", "size": 6},
            "hovertext": [f"after step {n}: {v:.3g}" for n, v in zip(steps, values, strict=True)],
            "hoverinfo": "text",
        }
    ]  # fmt: skip
    ends = [0, max(len(steps) - 1, 1)]
    looks = ((_LOOKS[0][0], "dash"), (_LOOKS[1][0], "dashdot"), ("#000000", "dot"))
    for (label, value), (color, dash) in zip((levels or {}).items(), looks, strict=False):
        traces.append(
            {
                "type": "scatter", "mode": "lines", "name": label, "x": ends,
                "y": [max(value, finest)] * 2, "line": {"color": color, "width": 2, "dash": dash},
                "hoverinfo": "skip",
            }
        )  # fmt: skip
    return figure(
        traces,
        title=title,
        subtitle=subtitle,
        x={"title": "steps of the LC algorithm done (0: direct compression)"},
        y={"title": f"{unit} (log scale)", "type": "log"},
        **layout,
    )


def file_parts(
    rows: Sequence[str],
    parts: Mapping[str, Sequence[float]],
    *,
    title: str,
    subtitle: str,
    y_title: str,
    **layout: Any,
) -> go.Figure:
    """What a file is made of: a bar for each of `rows`, stacked by part.

    Parameters
    ----------
    parts : name → bytes in each row; the last is drawn grey
    """
    fills = [*_FILLS[: len(parts) - 1], GREY] if len(parts) > 1 else [_FILLS[2]]
    traces = [
        {
            "type": "bar", "orientation": "h", "name": name, "y": list(rows), "x": list(sizes),
            "text": [f"{size:,.0f} B" if size else "" for size in sizes],
            "textposition": "inside", "insidetextanchor": "middle",
            "textfont": {"color": "#FFFFFF" if fill == OKABE_ITO["blue"] else "#000000"},
            "marker": {"color": fill},
            "hovertext": [
                f"{row}, {name}: {size:,.0f} B" for row, size in zip(rows, sizes, strict=True)
            ],
            "hoverinfo": "text",
        }
        for (name, sizes), fill in zip(parts.items(), fills, strict=True)
    ]  # fmt: skip
    return figure(
        traces,
        title=title,
        subtitle=subtitle,
        x={"title": "bytes in the file"},
        y={"title": y_title, "type": "category", "autorange": "reversed"},
        barmode="stack",
        **layout,
    )

"""What accuracy costs: every candidate as a point, the Pareto front, the chosen one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tinykit.plots.style import GREY, OKABE_ITO, figure

if TYPE_CHECKING:
    import plotly.graph_objects as go

#: group's position -> (colour, marker symbol, size): told apart without colour, too, and open
#: around filled, so that points at the same place can all be seen
_LOOKS = (
    (OKABE_ITO["blue"], "circle", 7),
    (OKABE_ITO["orange"], "square-open", 12),
    (OKABE_ITO["green"], "diamond", 6),
    (OKABE_ITO["purple"], "triangle-up-open", 13),
    (OKABE_ITO["sky"], "triangle-down", 7),
)
#: accuracies (%) that an axis of errors may name
_ACCURACIES = (0, 50, 60, 70, 80, 90, 95, 98, 99, 99.5, 99.8, 99.9)


@dataclass(frozen=True)
class Candidate:
    """One point: a cost (lower is better), a score (higher is better), a group, a description."""

    cost: float
    score: float
    group: str
    label: str
    feasible: bool = True


def pareto_front(costs: Sequence[float], scores: Sequence[float]) -> list[int]:
    """Positions that no other beats: none costs at most as much and scores at least as high,
    with one of the two strictly better. In order of rising cost; of equal points the first.
    """
    order = sorted(range(len(costs)), key=lambda i: (costs[i], -scores[i], i))
    front: list[int] = []
    for i in order:
        if not front or scores[i] > scores[front[-1]]:
            front.append(i)
    return front


def tradeoff(
    candidates: Sequence[Candidate],
    *,
    title: str,
    subtitle: str,
    cost_axis: str,
    score_axis: str,
    chosen: int | None = None,
    marks: Mapping[str, float] | None = None,
    log_cost: bool = True,
    finest: float | None = None,
    **layout: Any,
) -> go.Figure:
    """Score against cost with the Pareto front of what is feasible.

    Parameters
    ----------
    cost_axis, score_axis : titles with units
    chosen : position of the candidate to mark
    marks : name -> cost of things whose score is unknown; drawn as vertical lines
    finest : scores are accuracies in %, drawn by the logarithm of the errors that remain (from 98
        to 99 is as far as from 80 to 90); this much error, in %, is the least that can be told
    """

    def height(score: float) -> float:
        return score if finest is None else max(100 - score, finest)

    groups = list(dict.fromkeys(c.group for c in candidates))
    traces: list[dict[str, Any]] = []
    possible = [i for i, c in enumerate(candidates) if c.feasible]
    front = [
        possible[k]
        for k in pareto_front(
            [candidates[i].cost for i in possible], [candidates[i].score for i in possible]
        )
    ]
    traces.append(
        {
            "type": "scatter",
            "mode": "lines",
            "x": [candidates[i].cost for i in front],
            "y": [height(candidates[i].score) for i in front],
            "line": {"color": "#444444", "width": 1.5, "shape": "hv"},
            "name": "Pareto front",
            "hoverinfo": "skip",
        }
    )
    for k, group in enumerate(groups):
        color, symbol, size = _LOOKS[k % len(_LOOKS)]
        members = [c for c in candidates if c.group == group and c.feasible]
        traces.append(
            _points(members, name=group, color=color, symbol=symbol, size=size, opacity=0.85)
        )
    if outside := [c for c in candidates if not c.feasible]:
        traces.append(
            _points(outside, name="does not fit", color=GREY, symbol="x", size=7, opacity=0.8)
        )
    if chosen is not None:
        point = candidates[chosen]
        traces.append(
            {
                **_points(
                    [point], name="your choice", color="#000000", symbol="circle-open", size=19
                ),
                "hoverinfo": "skip",
            }
        )
        traces[-1]["marker"]["line"] = {"width": 3, "color": "#000000"}
        traces[-1].pop("hovertext")
    for trace in traces[1:]:
        trace["y"] = [height(score) for score in trace["y"]]
    low, high = _span([*(c.cost for c in candidates), *(marks or {}).values()], log_cost)
    shapes, notes = [], []
    for name, cost in (marks or {}).items():
        line = {"color": OKABE_ITO["vermillion"], "dash": "dash", "width": 2}
        shapes.append(
            {
                "type": "line",
                "x0": cost,
                "x1": cost,
                "yref": "paper",
                "y0": 0,
                "y1": 1,
                "line": line,
            }
        )
        late = _along(cost, log_cost) > low + 0.6 * (high - low)
        notes.append(
            {
                "x": _along(cost, log_cost),
                "y": 0.04,
                "yref": "paper",
                "text": name,
                "showarrow": False,
                "xanchor": "right" if late else "left",
                "yanchor": "bottom",
                "xshift": -6 if late else 6,
                "font": {"color": OKABE_ITO["vermillion"]},
            }
        )
    return figure(
        traces,
        title=title,
        subtitle=subtitle,
        x={"title": cost_axis, "type": "log" if log_cost else "linear", "range": [low, high]},
        y={"title": score_axis} if finest is None else _errors(score_axis),
        shapes=shapes,
        annotations=notes,
        **layout,
    )


def _errors(title: str) -> dict[str, Any]:
    """An axis on which errors (100 - accuracy) fall upwards, labelled by the accuracy."""
    return {
        "title": title,
        "type": "log",
        "autorange": "reversed",
        "tickvals": [round(100 - a, 3) for a in _ACCURACIES],
        "ticktext": [f"{a:g}" for a in _ACCURACIES],
    }


def _along(cost: float, log: bool) -> float:
    """Where `cost` stands on its axis, in the axis's own measure. Plotly takes ranges and
    annotations of a log axis by the logarithm, points and shapes by the value."""
    return math.log10(cost) if log else cost


def _span(costs: Sequence[float], log: bool) -> tuple[float, float]:
    """The ends of an axis on which all `costs` are seen."""
    places = [_along(cost, log) for cost in costs] or [0.0, 1.0]
    room = 0.05 * (max(places) - min(places)) or 0.5
    return min(places) - room, max(places) + room


def _points(
    members: Sequence[Candidate], *, name: str, opacity: float = 1.0, **marker: Any
) -> dict:
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [c.cost for c in members],
        "y": [c.score for c in members],
        "hovertext": [c.label for c in members],
        "hoverinfo": "text",
        "marker": marker,
        "opacity": opacity,
        "name": name,
    }

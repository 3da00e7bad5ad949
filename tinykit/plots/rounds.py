"""A federation round by round: curves with the range of their seeds, devices, who holds what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tinykit.plots.federation import BLUES
from tinykit.plots.style import OKABE_ITO, figure

if TYPE_CHECKING:
    import plotly.graph_objects as go

#: colour, dash, and the colour of the range of a first, second … curve
LOOKS = (
    (OKABE_ITO["blue"], "solid", "rgba(0,114,178,0.16)"),
    (OKABE_ITO["vermillion"], "dash", "rgba(213,94,0,0.16)"),
    (OKABE_ITO["green"], "dot", "rgba(0,158,115,0.16)"),
    (OKABE_ITO["purple"], "dashdot", "rgba(204,121,167,0.16)"),
)


@dataclass(frozen=True, eq=False)
class ByRound:
    """Something after each round, of one or several runs.

    Parameters
    ----------
    name : of the runs
    rounds : (rounds,), numbers from 1
    values : (runs, rounds); NaN where there is none
    """

    name: str
    rounds: Sequence[int]
    values: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        """Over the runs that have a value in that round, (rounds,); NaN where none has."""
        there = ~np.isnan(self.values)
        total = np.where(there, self.values, 0.0).sum(0)
        return np.where(there.any(0), total / np.maximum(there.sum(0), 1), np.nan)

    @property
    def low(self) -> np.ndarray:
        return _extreme(np.fmin, self.values)

    @property
    def high(self) -> np.ndarray:
        return _extreme(np.fmax, self.values)


def by_round(
    curves: Sequence[ByRound],
    *,
    title: str,
    subtitle: str,
    unit: str,
    scale: float = 1.0,
    end: int | None = None,
    goal: float | None = None,
    y_range: tuple[float, float] | None = None,
    log: bool = False,
    **layout: Any,
) -> go.Figure:
    """Means as lines, the range from the lowest to the highest run as a band around each.

    Parameters
    ----------
    scale : what values are multiplied by for display
    end : the last round of the axis; by default the last there is
    goal : a value to be reached, as a line across, in the unit shown
    log : a logarithmic axis; `y_range` is then in powers of ten
    """
    traces: list[dict[str, Any]] = []
    lines: list[dict[str, Any]] = []
    for curve, (color, dash, pale) in zip(curves, LOOKS, strict=False):
        mean, low, high = (scale * v for v in (curve.mean, curve.low, curve.high))
        there = ~np.isnan(mean)
        rounds = np.asarray(curve.rounds)[there]
        if len(curve.values) > 1 and len(rounds):
            traces.append(
                {
                    "type": "scatter", "mode": "lines", "fill": "toself", "fillcolor": pale,
                    "x": [*rounds.tolist(), *rounds[::-1].tolist()],
                    "y": [*high[there].tolist(), *low[there][::-1].tolist()],
                    "line": {"width": 0, "color": color}, "showlegend": False, "hoverinfo": "skip",
                }
            )  # fmt: skip
        lines.append(
            {
                "type": "scatter", "mode": "lines", "name": curve.name,
                "x": rounds.tolist(), "y": mean[there].tolist(),
                "line": {"color": color, "dash": dash, "width": 2.5}, "hoverinfo": "skip",
            }
        )  # fmt: skip
    last = end or max((int(r) for c in curves for r in c.rounds), default=1)
    shapes = []
    if goal is not None:
        shapes.append(
            {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": goal, "y1": goal,
             "line": {"color": "#555555", "width": 1, "dash": "dot"}}
        )  # fmt: skip
    y: dict[str, Any] = {"title": unit}
    if log:
        y |= {"type": "log", "tickformat": ".0e"}
    if y_range is not None:
        y["range"] = list(y_range)
    return figure(
        [*traces, *lines],
        title=title,
        subtitle=subtitle,
        x={"title": "rounds done", "range": [0, last + 0.5]},
        y=y,
        shapes=shapes,
        **layout,
    )


def sorted_devices(
    values: Sequence[tuple[str, np.ndarray]],
    *,
    title: str,
    subtitle: str,
    unit: str,
    scale: float = 1.0,
    **layout: Any,
) -> go.Figure:
    """Devices from the worst off to the best off, a line for each name.

    Parameters
    ----------
    values : (name, (runs, devices)); each run is sorted by itself, then the mean of runs is drawn
    """
    traces = []
    devices = 1
    for (name, of), (color, dash, _) in zip(values, LOOKS, strict=False):
        ranked = scale * np.sort(of, axis=1).mean(axis=0)
        devices = max(devices, len(ranked))
        traces.append(
            {
                "type": "scatter", "mode": "lines", "name": name,
                "x": list(range(1, len(ranked) + 1)), "y": ranked.tolist(),
                "line": {"color": color, "dash": dash, "width": 2.5}, "hoverinfo": "skip",
            }
        )  # fmt: skip
    return figure(
        traces,
        title=title,
        subtitle=subtitle,
        x={"title": "devices, from the worst off to the best off", "range": [0, devices + 1]},
        y={"title": unit, "range": [0, 103]},
        **layout,
    )


def holdings(
    counts: np.ndarray, classes: Sequence[str], *, title: str, subtitle: str, **layout: Any
) -> go.Figure:
    """Devices by classes, the darker the more of the device's examples are of that class.

    Parameters
    ----------
    counts : int (devices, classes); devices are sorted by their main class
    """
    share = counts / np.maximum(counts.sum(axis=1), 1)[:, None]
    order = np.lexsort((-share.max(axis=1), share.argmax(axis=1)))
    trace = {
        "type": "heatmap",
        "x": list(range(1, len(counts) + 1)),
        "y": list(classes),
        "z": np.round(share[order].T, 3).tolist(),
        "zmin": 0, "zmax": 1, "colorscale": BLUES, "hoverinfo": "text", "ygap": 1,
        "hovertext": [
            [f"device {d}<br>class {name}: {counts[d, c]} of {counts[d].sum()}" for d in order]
            for c, name in enumerate(classes)
        ],
        "colorbar": {
            "title": {"text": "of the<br>device's<br>examples"}, "thickness": 14,
            "tickvals": [0, 0.25, 0.5, 0.75, 1], "tickformat": ".0%",
        },
    }  # fmt: skip
    return figure(
        [trace],
        title=title,
        subtitle=subtitle,
        x={"title": "devices, sorted by their main class", "showgrid": False,
           "range": [0.5, len(counts) + 0.5]},
        y={"title": "class", "type": "category", "autorange": "reversed", "showgrid": False},
        **layout,
    )  # fmt: skip


def _extreme(of: Any, values: np.ndarray) -> np.ndarray:
    found: np.ndarray = of.reduce(values, axis=0)
    return found

"""What groups of devices see of the same classes: pictures, or series of a sensor."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from tinykit.plots.style import OKABE_ITO, figure

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from tinykit.data.federation import Federation

_GREYS = [[0.0, "#FFFFFF"], [1.0, "#000000"]]
#: of the channels of a series that are drawn
_LINES = ((OKABE_ITO["blue"], "solid"), (OKABE_ITO["vermillion"], "dash"),
          (OKABE_ITO["black"], "dot"))  # fmt: skip


def own_views(
    federation: Federation,
    *,
    groups: int = 6,
    classes: int = 6,
    title: str = "",
    subtitle: str = "",
    **layout: Any,
) -> go.Figure:
    """One example of each class as each group of devices sees it, side by side.

    Pictures are drawn in grey (the mean of their channels); of series (examples of width 1 with
    several channels) the first three channels as lines.

    Parameters
    ----------
    groups, classes : how many are drawn at most: groups from the least shift to the greatest,
        classes from the first
    """
    labels = sorted(dict.fromkeys(federation.groups), key=_amount)
    drawn = labels
    if len(labels) > groups:
        drawn = [labels[i] for i in np.linspace(0, len(labels) - 1, groups).round().astype(int)]
    names = list(federation.spec.classes[:classes])
    examples = _examples(federation, drawn, len(names))
    series = federation.spec.shape[1] == 1 and federation.spec.shape[2] > 1
    draw = _series if series else _pictures
    traces, x_at, y_at, what, extra = draw(federation, examples)
    some = f"; {len(drawn)} of {len(labels):,} groups drawn" if len(drawn) < len(labels) else ""
    return figure(
        traces,
        title=title or f"{federation.name}: the same classes as {len(labels):,} groups see them",
        subtitle=subtitle or f"another example in each cell; {what}{some}",
        x={"title": "class", "showgrid": False, "showline": False, "tickvals": x_at,
           "ticktext": names, "constrain": "domain"},
        y={"title": "group of devices", "showgrid": False, "showline": False, "tickvals": y_at,
           "ticktext": drawn, **extra.pop("yaxis", {})},
        **{**extra, **layout},
    )  # fmt: skip


def _amount(label: str) -> float:
    """How strong the shift is that a label tells of: its last number; 0 for "as it is"."""
    numbers = re.findall(r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?", label)
    return 0.0 if label.endswith("as it is") or not numbers else abs(float(numbers[-1]))


def _examples(federation: Federation, groups: list[str], classes: int) -> list[list[int | None]]:
    """For each group the position of its first example of each class, or None."""
    holdings = federation.holdings()
    found = []
    for label in groups:
        of = [h for h, g in zip(holdings, federation.groups, strict=True) if g == label]
        mine = np.concatenate(of)
        y = federation.pool.y[mine]
        found.append([int(mine[y == c][0]) if np.any(y == c) else None for c in range(classes)])
    return found


_Drawn = tuple[list[dict[str, Any]], list[float], list[float], str, dict[str, Any]]


def _pictures(federation: Federation, examples: list[list[int | None]]) -> _Drawn:
    """One heat map with a tile for each example."""
    height, width, _ = federation.spec.shape
    gap = 1 + max(height, width) // 12
    down, right = height + gap, width + gap
    z = np.full((len(examples) * down - gap, len(examples[0]) * right - gap), np.nan)
    for row, line in enumerate(examples):
        for column, example in enumerate(line):
            if example is not None:
                picture = federation.pool.x[example].mean(axis=2)
                top, left = row * down, column * right
                z[top : top + height, left : left + width] = picture
    trace = {
        "type": "heatmap",
        "z": [[None if np.isnan(v) else round(float(v), 4) for v in line] for line in z],
        "zmin": 0, "zmax": max(1.0, float(np.nanmax(z))), "colorscale": _GREYS,
        "showscale": False, "hoverinfo": "skip",
    }  # fmt: skip
    return (
        [trace],
        [c * right + (width - 1) / 2 for c in range(len(examples[0]))],
        [r * down + (height - 1) / 2 for r in range(len(examples))],
        "white is 0, black is 1",
        {
            "plot_bgcolor": "#DDE3E8",
            "yaxis": {"autorange": "reversed", "scaleanchor": "x", "constrain": "domain"},
        },
    )


def _series(federation: Federation, examples: list[list[int | None]]) -> _Drawn:
    """A line for each of the first three channels, in a grid with one scale for all cells."""
    steps, _, channels = federation.spec.shape
    channels = min(channels, len(_LINES))
    x = federation.pool.x[:, :, 0, :channels]
    shown = [e for line in examples for e in line if e is not None]
    # a few peaks may reach into the next row: most lines are small beside the largest
    reach = float(np.quantile(np.abs(x[shown]), 0.99)) or 1.0
    right = steps * 1.15
    traces: list[dict[str, Any]] = []
    for channel, (colour, dash) in enumerate(_LINES[:channels]):
        along: list[float | None] = []
        up: list[float | None] = []
        for row, line in enumerate(examples):
            for column, example in enumerate(line):
                if example is not None:
                    along += [*(column * right + np.arange(steps)).tolist(), None]
                    up += [*(0.45 * x[example, :, channel] / reach - row).tolist(), None]
        traces.append(
            {"type": "scatter", "mode": "lines", "name": f"channel {channel}", "x": along, "y": up,
             "line": {"color": colour, "dash": dash, "width": 1.5}, "hoverinfo": "skip"}
        )  # fmt: skip
    zeros = [
        {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": -row, "y1": -row,
         "line": {"color": "#CCCCCC", "width": 1}, "layer": "below"}
        for row in range(len(examples))
    ]  # fmt: skip
    return (
        traces,
        [c * right + (steps - 1) / 2 for c in range(len(examples[0]))],
        [-r for r in range(len(examples))],
        f"time to the right, grey lines are 0, a row reaches to ±{reach / 0.9:.2g}",
        {
            "shapes": zeros,
            "margin": {"t": 110},
            "yaxis": {"range": [0.6 - len(examples), 0.6]},
        },
    )

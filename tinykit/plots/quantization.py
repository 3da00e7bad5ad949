"""Quantization seen: values among their levels, channel by channel, and what clipping costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinykit.plots.style import GREY, OKABE_ITO, figure

if TYPE_CHECKING:
    import plotly.graph_objects as go

#: more levels than this are drawn as short marks below the bars: lines would cover these
_MOST_LINES = 33
#: more levels than this would merge into a block beside each channel's range
_MOST_SEGMENTS = 2_000
_BINS = 64


def level_histogram(
    values: np.ndarray,
    clipped: np.ndarray,
    levels: np.ndarray,
    *,
    title: str,
    subtitle: str,
    x_title: str,
    **layout: Any,
) -> go.Figure:
    """How often values occur, which of them are clipped, and the levels that there are.

    Parameters
    ----------
    values, clipped : of one shape; whether each lies beyond its outermost level
    levels : ascending; those drawn
    """
    low = min(float(values.min(initial=0)), float(levels[0]))
    high = max(float(values.max(initial=0)), float(levels[-1]))
    span = high - low or 1.0
    edges = np.linspace(low - 0.01 * span, high + 0.01 * span, _BINS + 1)
    centres = (edges[1:] + edges[:-1]) / 2
    total = max(values.size, 1)
    kept = np.histogram(values[~clipped], edges)[0] * (100 / total)
    cut = np.histogram(values[clipped], edges)[0] * (100 / total)
    top = float((kept + cut).max(initial=0)) or 1.0
    lines = len(levels) <= _MOST_LINES
    # down from the axis where there are many, so that they hide no bar
    ends = (0.0, 1.08 * top) if lines else (-0.06 * top, 0.0)

    def bars(name: str, heights: np.ndarray, color: str) -> dict[str, Any]:
        return {
            "type": "bar",
            "name": name,
            "x": centres.tolist(),
            "y": heights.tolist(),
            "width": float(edges[1] - edges[0]) * 0.94,
            "marker": {"color": color},
            "hovertext": [
                f"{name}<br>{a:.3g} to {b:.3g}: {h:.2g} %"
                for a, b, h in zip(edges[:-1], edges[1:], heights, strict=True)
            ],
            "hoverinfo": "text",
        }

    return figure(
        [
            _segments([(v, v) for v in levels.tolist()], [ends] * len(levels), "levels", GREY, 1.0),
            bars("rounded to a level", kept, OKABE_ITO["blue"]),
            bars("clipped to the last level", cut, OKABE_ITO["vermillion"]),
        ],
        title=title,
        subtitle=subtitle,
        x={"title": x_title, "range": [float(edges[0]), float(edges[-1])]},
        y={"title": "share of the values in %", "range": [min(ends[0], 0.0), 1.08 * top]},
        barmode="stack",
        **layout,
    )


def channel_ranges(
    low: np.ndarray,
    high: np.ndarray,
    levels: Sequence[np.ndarray],
    *,
    title: str,
    subtitle: str,
    y_title: str,
    **layout: Any,
) -> go.Figure:
    """The range that each channel takes, and the levels that it can use.

    Parameters
    ----------
    low, high : of each channel: (channels,)
    levels : ascending; one set for all channels, or one a channel, or several a channel (then
        their number is a multiple of the number of channels)
    """
    count = len(low)
    sets = [levels[0]] * count if len(levels) == 1 else list(levels)
    per = max(len(sets) // count, 1)
    drawn = sum(len(s) for s in sets) <= _MOST_SEGMENTS
    across, up = [], []
    for place, own in enumerate(sets):
        middle = (place // per) + (place % per + 0.5) / per - 0.5
        half = 0.42 / per
        for value in own.tolist() if drawn else (float(own[0]), float(own[-1])):
            across.append((middle - half, middle + half))
            up.append((value, value))
    bars = {
        "type": "bar",
        "name": "values, from the smallest to the largest",
        "x": list(range(count)),
        "y": (high - low).tolist(),
        "base": low.tolist(),
        "width": 0.6,
        "marker": {"color": OKABE_ITO["sky"]},
        "hovertext": [
            f"channel {c}<br>{a:.3g} to {b:.3g}"
            for c, (a, b) in enumerate(zip(low, high, strict=True))
        ],
        "hoverinfo": "text",
    }
    name = "levels" if drawn else "lowest and highest level"
    return figure(
        [bars, _segments(across, up, name, "#333333", 1.2)],
        title=title,
        subtitle=subtitle,
        x={"title": "output channel", "range": [-0.7, count - 0.3]},
        y={"title": y_title},
        **layout,
    )


def error_curve(
    shares: Sequence[float],
    clipping: Sequence[float],
    rounding: Sequence[float],
    marks: Mapping[str, tuple[float, float]],
    chosen: tuple[float, float],
    *,
    title: str,
    subtitle: str,
    chosen_name: str = "your choice",
    **layout: Any,
) -> go.Figure:
    """What clipping and what rounding costs, over the range that is kept.

    Parameters
    ----------
    shares : of the range from the smallest to the largest value, in (0, 1]
    clipping, rounding : errors there, in shares of the values' mean square
    marks : who chooses a range → where, and the whole error there
    chosen : the same of the choice that is shown
    """
    whole = [100 * (c + r) for c, r in zip(clipping, rounding, strict=True)]
    x = [100 * s for s in shares]
    least = min([v for v in whole if v > 0], default=1.0)
    # what is a thousandth of the whole error moves nothing, and would stretch the axis
    floor = np.log10(least) - 1.2
    top = np.log10(max([*whole, *(100 * e for _, e in marks.values()), 100 * chosen[1], 1e-9]))

    def line(name: str, values: Sequence[float], color: str, dash: str) -> dict[str, Any]:
        return {
            "type": "scatter",
            "mode": "lines",
            "name": name,
            "x": x,
            "y": [v if v > 10**floor else None for v in values],
            "line": {"color": color, "dash": dash, "width": 3 if name == "both" else 2},
        }

    traces = [
        line("clipping", [100 * c for c in clipping], OKABE_ITO["vermillion"], "dash"),
        line("rounding", [100 * r for r in rounding], OKABE_ITO["blue"], "dot"),
        line("both", whole, "#333333", "solid"),
    ]
    symbols = ("square", "triangle-up", "triangle-down", "x", "cross")
    for number, (name, (share, error)) in enumerate(_merged(marks).items()):
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": name,
                "x": [100 * share],
                "y": [100 * error],
                "marker": {
                    "symbol": symbols[number % len(symbols)],
                    "size": 11,
                    "color": OKABE_ITO["green"],
                },
                "hovertext": [f"{name}: {share:.0%} of the range, error {100 * error:.3g} %"],
                "hoverinfo": "text",
            }
        )
    traces.append(
        {
            "type": "scatter",
            "mode": "markers",
            "name": chosen_name,
            "x": [100 * chosen[0]],
            "y": [100 * chosen[1]],
            "marker": {
                "symbol": "circle-open",
                "size": 19,
                "color": OKABE_ITO["orange"],
                "line": {"width": 3},
            },
            "hovertext": [f"{chosen_name}: {chosen[0]:.0%}, error {100 * chosen[1]:.3g} %"],
            "hoverinfo": "text",
        }
    )
    return figure(
        traces,
        title=title,
        subtitle=subtitle,
        x={"title": "range that has levels, in % of smallest to largest value", "range": [0, 104]},
        y={
            "title": "squared error in %, log scale",
            "type": "log",
            "range": [float(floor), float(top) + 0.15],
        },
        **layout,
    )


def accuracy_bars(
    names: Sequence[str],
    accuracies: Sequence[float],
    *,
    title: str,
    subtitle: str,
    y_title: str,
    chance: float | None = None,
    **layout: Any,
) -> go.Figure:
    """Accuracies in [0, 1] beside one another, the first as the one to keep up with.

    Parameters
    ----------
    chance : accuracy of guessing
    """
    best = accuracies[0]
    guess = "" if chance is None else f" (guessing: {100 * chance:.0f})"
    return figure(
        [
            {
                "type": "bar",
                "orientation": "h",
                "y": list(names),
                "x": [100 * a for a in accuracies],
                "text": [f"{a:.1%}" for a in accuracies],
                "textposition": "outside",
                "cliponaxis": False,
                "marker": {
                    "color": [
                        GREY,
                        *(
                            OKABE_ITO["blue" if a > best - 0.02 else "vermillion"]
                            for a in accuracies[1:]
                        ),
                    ]
                },
                "hovertext": [f"{n}: {a:.1%}" for n, a in zip(names, accuracies, strict=True)],
                "hoverinfo": "text",
                "showlegend": False,
            }
        ],
        title=title,
        subtitle=subtitle,
        x={
            "title": f"test accuracy in %{guess}",
            "range": [0, 112],
            "tickvals": [0, 20, 40, 60, 80, 100],
        },
        y={"title": y_title, "type": "category", "autorange": "reversed"},
        **layout,
    )


def _merged(marks: Mapping[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    """Marks that lie on one another share a name."""
    groups: list[tuple[list[str], tuple[float, float]]] = []
    for name, (share, error) in marks.items():
        for names, (s, e) in groups:
            if abs(s - share) < 0.005 and abs(e - error) <= 0.02 * max(e, error):
                names.append(name)
                break
        else:
            groups.append(([name], (share, error)))
    return {", ".join(names): at for names, at in groups}


def _segments(
    across: Sequence[tuple[float, float]],
    up: Sequence[tuple[float, float]],
    name: str,
    color: str,
    width: float,
) -> dict[str, Any]:
    """Separate lines as one trace: far faster than a shape each."""
    x: list[float | None] = []
    y: list[float | None] = []
    for (a, b), (c, d) in zip(across, up, strict=True):
        x += [a, b, None]
        y += [c, d, None]
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": x,
        "y": y,
        "line": {"color": color, "width": width},
        "hoverinfo": "skip",
    }

"""What devices send: accuracy by bytes, accuracy by ε, and what the server sees of one device."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import mean
from typing import TYPE_CHECKING, Any

import numpy as np

from tinykit.plots.style import OKABE_ITO, figure

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from tinykit.federated.history import History

_COLOURS = [OKABE_ITO[name] for name in ("blue", "vermillion", "green", "orange", "purple", "sky")]
_DASHES = ("solid", "dash", "dot")
_SYMBOLS = ("circle", "square", "diamond", "triangle-up")


def accuracy_by_bytes(
    runs: Mapping[str, Sequence[History]], *, title: str, subtitle: str, **layout: Any
) -> go.Figure:
    """Accuracy of the shared model against all that devices have sent by then, a line a method.

    Parameters
    ----------
    runs : method → histories over seeds, evaluated in the same rounds; the line is their mean.
        Methods of the same name up to a comma ("signs", "signs, no error feedback") have one
        colour, and dashes of their own
    """
    traces: list[dict[str, Any]] = []
    families = list(dict.fromkeys(name.split(",")[0] for name in runs))
    seen: dict[str, int] = {}
    for name, histories in runs.items():
        family = name.split(",")[0]
        member = seen[family] = seen.get(family, -1) + 1
        number = families.index(family)
        sent, accuracy, tips = [], [], []
        for place, (when, _) in enumerate(histories[0].evaluated()):
            values = [100 * h.evaluated()[place][1] for h in histories]
            sent.append(mean(h.until(when, lambda r: r.bytes_up) for h in histories) / 1024)
            accuracy.append(mean(values))
            spread = f", {min(values):.1f} to {max(values):.1f} %" if len(values) > 1 else ""
            found = f"{sent[-1]:,.0f} KiB (counted): {accuracy[-1]:.1f} %{spread}"
            tips.append(f"{name}, round {when}<br>{found}")
        colour = _COLOURS[number % len(_COLOURS)]
        dash = _DASHES[(number // len(_COLOURS) + member) % len(_DASHES)]
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": name,
                "x": sent,
                "y": accuracy,
                "line": {"color": colour, "dash": dash, "width": 2},
                "hovertext": tips,
                "hoverinfo": "text",
            }
        )
    return figure(
        traces,
        title=title,
        subtitle=subtitle,
        x={"title": "sent by all devices so far, in KiB (counted)", "type": "log"},
        y={"title": "accuracy of the shared model in %"},
        **{"legend": {"orientation": "v", "x": 1.02, "y": 1, "yanchor": "top"}, **layout},
    )


def accuracy_by_epsilon(
    runs: Mapping[str, Mapping[float, Sequence[float]]],
    *,
    title: str,
    subtitle: str,
    **layout: Any,
) -> go.Figure:
    """Accuracy against ε, a line a population; a dot a seed. ε = ∞ (clipped, no noise) stands last.

    Parameters
    ----------
    runs : population → (ε → accuracies over seeds, in [0, 1])
    """
    budgets = sorted({budget for by_budget in runs.values() for budget in by_budget})
    traces: list[dict[str, Any]] = []
    for number, (name, by_budget) in enumerate(runs.items()):
        colour, symbol = _COLOURS[number % len(_COLOURS)], _SYMBOLS[number % len(_SYMBOLS)]
        there = [b for b in budgets if b in by_budget]
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": name,
                "x": [_budget(b) for b in there],
                "y": [100 * mean(by_budget[b]) for b in there],
                "line": {"color": colour, "width": 2},
                "marker": {"symbol": symbol, "size": 10},
                "hovertext": [
                    f"{name}, ε = {_budget(b)}<br>{100 * mean(by_budget[b]):.1f} %" for b in there
                ],
                "hoverinfo": "text",
            }
        )
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": [_budget(b) for b in there for _ in by_budget[b]],
                "y": [100 * value for b in there for value in by_budget[b]],
                "marker": {"symbol": f"{symbol}-open", "size": 6, "color": colour},
                "hoverinfo": "skip",
                "showlegend": False,
            }
        )
    return figure(
        traces,
        title=title,
        subtitle=subtitle,
        x={
            "title": "ε after all rounds (less says less about a device)",
            "type": "category",
            "categoryorder": "array",
            "categoryarray": [_budget(b) for b in budgets],
        },
        y={"title": "accuracy of the shared model in %"},
        **layout,
    )


def _budget(epsilon: float) -> str:
    return "∞" if math.isinf(epsilon) else f"{epsilon:g}"


def what_the_server_sees(
    update: np.ndarray,
    masked: np.ndarray,
    bits: int,
    *,
    title: str,
    subtitle: str,
    bins: int = 40,
    **layout: Any,
) -> go.Figure:
    """Left the update of one device, right the same with masks: all values alike.

    Parameters
    ----------
    update : float (P,)
    masked : uint32 (P,), what the device sends, below 2^bits
    """
    widest = float(np.abs(update).max()) or 1.0
    bare, edges = np.histogram(update, bins, (-widest, widest))
    hidden, numbers = np.histogram(masked, bins, (0, 2**bits))
    panels = (
        ("the update", bare, edges, OKABE_ITO["blue"], ""),
        ("what is sent", hidden, numbers / 2**bits, OKABE_ITO["orange"], "2"),
    )
    traces = [
        {
            "type": "bar",
            "name": name,
            "x": ((ends[:-1] + ends[1:]) / 2).tolist(),
            "y": (100 * counts / max(1, counts.sum())).tolist(),
            "width": np.diff(ends).tolist(),
            "marker": {"color": colour},
            "xaxis": f"x{axis}",
            "yaxis": f"y{axis}",
            "hovertext": [f"{count:,} of {counts.sum():,} numbers" for count in counts],
            "hoverinfo": "text",
        }
        for name, counts, ends, colour, axis in panels
    ]
    return figure(
        traces,
        title=title,
        subtitle=subtitle,
        x={"title": "without masks: an entry of the update", "domain": [0, 0.44]},
        y={"title": "share of the entries in %", "rangemode": "tozero"},
        xaxis2={
            "title": {"text": f"with masks: a number sent, over 2<sup>{bits}</sup>"},
            "domain": [0.56, 1],
            "range": [0, 1],
            "anchor": "y2",
        },
        yaxis2={
            "title": {"text": "share of the numbers in %"},
            "rangemode": "tozero",
            "anchor": "x2",
        },
        showlegend=False,
        **layout,
    )

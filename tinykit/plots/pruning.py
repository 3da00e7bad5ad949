"""What pruning takes and leaves: sensitivity curves, weights by layer, weights by value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tinykit.plots.style import OKABE_ITO, figure

if TYPE_CHECKING:
    import plotly.graph_objects as go

#: what was removed
GONE = "#C9C9C9"
_COLOURS = [OKABE_ITO[name] for name in ("blue", "vermillion", "green", "orange", "purple", "sky")]
_DASHES = ("solid", "dash", "dot")


@dataclass(frozen=True)
class Curve:
    """How accuracy falls when one layer alone is pruned.

    Parameters
    ----------
    removed : share of the layer that went, ascending, in [0, 1]
    accuracy : then, in [0, 1]
    chosen : the share that is removed now, or None
    """

    name: str
    removed: Sequence[float]
    accuracy: Sequence[float]
    chosen: float | None = None


def sensitivity_curves(
    curves: Sequence[Curve],
    *,
    title: str,
    subtitle: str,
    marked: str = "removed now",
    thick: str | None = None,
    **layout: Any,
) -> go.Figure:
    """Accuracy against the share removed, a line a layer; diamonds mark what is chosen.

    Parameters
    ----------
    marked : what the diamonds mean
    thick : name of the curve that stands out
    """
    traces: list[dict[str, Any]] = []
    marks: list[tuple[float, float, str, str]] = []
    for number, curve in enumerate(curves):
        colour = _COLOURS[number % len(_COLOURS)]
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": curve.name,
                "x": [100 * x for x in curve.removed],
                "y": [100 * y for y in curve.accuracy],
                "line": {
                    "color": colour,
                    "dash": _DASHES[number // len(_COLOURS) % len(_DASHES)],
                    "width": 4 if curve.name == thick else 2,
                },
                "hoverinfo": "skip",
            }
        )
        if curve.chosen is not None:
            y = float(np.interp(curve.chosen, curve.removed, curve.accuracy))
            tip = f"{curve.name}<br>{curve.chosen:.0%} removed, alone: {y:.1%}"
            marks.append((100 * curve.chosen, 100 * y, colour, tip))
    if marks:
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": marked,
                "x": [x for x, *_ in marks],
                "y": [y for _, y, *_ in marks],
                "marker": {
                    "symbol": "diamond",
                    "size": 10,
                    "color": [colour for *_, colour, _ in marks],
                    "line": {"color": "#000000", "width": 1.2},
                },
                "hovertext": [tip for *_, tip in marks],
                "hoverinfo": "text",
            }
        )
    return figure(
        traces,
        title=title,
        subtitle=subtitle,
        x={"title": "share of the layer that is removed, in %", "range": [-2, 102]},
        y={"title": "accuracy in %", "range": [0, 103]},
        **layout,
    )


def kept_weights(
    names: Sequence[str],
    kept: Sequence[int],
    weights: Sequence[int],
    *,
    title: str,
    subtitle: str,
    **layout: Any,
) -> go.Figure:
    """Weights of each layer that stay, and that go; the first layer on top.

    Parameters
    ----------
    names : unique
    kept, weights : how many stay, and how many there were
    """
    gone = [w - k for k, w in zip(kept, weights, strict=True)]
    text = [f"{k / w:.0%} of {w:,} stay" for k, w in zip(kept, weights, strict=True)]
    tips = [
        f"{n}<br>{k:,} of {w:,} weights stay" for n, k, w in zip(names, kept, weights, strict=True)
    ]
    common = {
        "type": "bar", "orientation": "h", "y": list(names), "hovertext": tips, "hoverinfo": "text",
    }  # fmt: skip
    traces = [
        {**common, "name": "stay", "x": list(kept), "marker": {"color": OKABE_ITO["blue"]}},
        {
            **common,
            "name": "go",
            "x": gone,
            "marker": {"color": GONE},
            "text": text,
            "textposition": "outside",
            "cliponaxis": False,
        },
    ]
    return figure(
        traces,
        title=title,
        subtitle=subtitle,
        x={"title": "weights", "range": [0, 1.35 * max(weights, default=1)]},
        y={"title": "layer", "type": "category", "autorange": "reversed"},
        barmode="stack",
        **layout,
    )


def weight_histogram(
    weights: np.ndarray,
    kept: np.ndarray,
    *,
    title: str,
    subtitle: str,
    bins: int = 41,
    **layout: Any,
) -> go.Figure:
    """How many weights have which value, those that go set apart.

    Parameters
    ----------
    weights : float (…), of one layer
    kept : bool, of the same shape
    bins : how many bars; an odd number has one around zero
    """
    reach = float(np.abs(weights).max(initial=0.0)) or 1.0
    edges = np.linspace(-reach, reach, bins + 1)
    stay, _ = np.histogram(weights[kept], edges)
    gone, _ = np.histogram(weights[~kept], edges)
    middles = (edges[1:] + edges[:-1]) / 2
    common = {
        "type": "bar", "x": middles.tolist(), "width": float(0.95 * (edges[1] - edges[0])),
        "hoverinfo": "text",
    }  # fmt: skip
    tips = [
        f"{a:.3g} to {b:.3g}<br>{s:,} stay, {g:,} go"
        for a, b, s, g in zip(edges, edges[1:], stay, gone, strict=False)
    ]
    traces = [
        {**common, "name": "stay", "y": stay.tolist(), "hovertext": tips,
         "marker": {"color": OKABE_ITO["blue"]}},
        {**common, "name": "go", "y": gone.tolist(), "hovertext": tips, "marker": {"color": GONE}},
    ]  # fmt: skip
    return figure(
        traces,
        title=title,
        subtitle=subtitle,
        x={"title": "value of the weight (no unit)", "range": [-1.05 * reach, 1.05 * reach]},
        y={"title": "number of weights"},
        barmode="stack",
        **layout,
    )


def shares(
    names: Sequence[str],
    values: Sequence[float],
    texts: Sequence[str],
    *,
    title: str,
    subtitle: str,
    unit: str,
    y_title: str,
    emphasis: Sequence[bool] | None = None,
    **layout: Any,
) -> go.Figure:
    """A few shares as bars from 0 to 100 %, each with words behind it.

    Parameters
    ----------
    values : in [0, 1], as a rule; a bar may stick out
    texts : what stands behind each bar
    unit, y_title : axis titles
    emphasis : bars that stand out
    """
    stands = list(emphasis or [False] * len(names))
    colours = [OKABE_ITO["vermillion"] if e else OKABE_ITO["blue"] for e in stands]
    return figure(
        [
            {
                "type": "bar",
                "orientation": "h",
                "y": list(names),
                "x": [100 * v for v in values],
                "text": list(texts),
                "textposition": "outside",
                "cliponaxis": False,
                "marker": {"color": colours},
                "hovertext": [f"{n}: {t}" for n, t in zip(names, texts, strict=True)],
                "hoverinfo": "text",
                "showlegend": False,
            }
        ],
        title=title,
        subtitle=subtitle,
        x={
            "title": unit,
            "range": [0, 140],
            "tickvals": [0, 20, 40, 60, 80, 100],
        },
        y={"title": y_title, "type": "category", "autorange": "reversed"},
        **layout,
    )

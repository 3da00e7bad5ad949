"""Which layer gets how many bits, and what each would cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tinykit.plots.style import GREY, OKABE_ITO, figure

if TYPE_CHECKING:
    import plotly.graph_objects as go

_COLOURS = [OKABE_ITO[c] for c in ("vermillion", "orange", "green", "blue", "purple", "sky")]
#: costs below this are drawn at it: they are chance, and may be negative
LEAST = 1e-4


def layer_bits(
    bits: Mapping[str, int],
    weights: Mapping[str, int],
    *,
    title: str,
    subtitle: str,
    uniform: float | None = None,
    **layout: Any,
) -> go.Figure:
    """Bits of each layer as bars, as wide as all are; what each bar weighs stands on it.

    Parameters
    ----------
    bits, weights : layer → bits of a weight, and number of weights
    uniform : average bits, drawn as a line
    """
    names = list(bits)
    bar = {
        "type": "bar", "x": names, "y": [bits[n] for n in names],
        "marker": {"color": OKABE_ITO["blue"]}, "name": "bits",
        "text": [f"{weights[n] * bits[n] / 8:,.0f} B" for n in names], "textposition": "outside",
        "hovertext": [f"{n}: {weights[n]:,} weights, {bits[n]} bits" for n in names],
    }  # fmt: skip
    shapes = []
    if uniform is not None:
        line = {"color": "#000000", "width": 1.5, "dash": "dash"}
        shapes = [{"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": uniform,
                   "y1": uniform, "line": line}]  # fmt: skip
    return figure(
        [bar],
        title=title,
        subtitle=subtitle,
        x={"title": "layer", "type": "category"},
        y={"title": "bits of a weight", "range": [0, 9], "dtick": 1},
        shapes=shapes,
        showlegend=False,
        **layout,
    )


def sensitivities(
    costs: Mapping[str, Mapping[int, float]],
    weights: Mapping[str, int],
    *,
    title: str,
    subtitle: str,
    chosen: Mapping[str, int] | None = None,
    **layout: Any,
) -> go.Figure:
    """What each layer costs alone at few bits: a row of points a number of bits.

    Parameters
    ----------
    costs : layer → bits → rise of the loss
    weights : layer → number of weights
    chosen : layer → bits, marked
    """
    names = list(costs)
    traces: list[dict[str, Any]] = []
    for k, bits in enumerate(sorted(next(iter(costs.values())))):
        colour = _COLOURS[k] if k < len(_COLOURS) else GREY
        traces.append(
            {
                "type": "scatter", "mode": "lines+markers", "x": names, "name": f"{bits} bits",
                "y": [max(costs[n][bits], LEAST) for n in names],
                "line": {"color": colour, "width": 1.5}, "marker": {"color": colour, "size": 7},
                "hovertext": [
                    f"{n} ({weights[n]:,} weights) at {bits} bits: {costs[n][bits]:.4f} nats"
                    for n in names
                ],
            }
        )  # fmt: skip
    if chosen:
        ring = {"symbol": "circle-open", "size": 15, "color": "#000000"}
        traces.append(
            {"type": "scatter", "mode": "markers", "x": names, "name": "chosen", "marker": ring,
             "y": [max(costs[n][chosen[n]], LEAST) for n in names], "hoverinfo": "skip"}
        )  # fmt: skip
    return figure(
        traces,
        title=title,
        subtitle=subtitle,
        x={"title": "layer", "type": "category"},
        y={
            "title": "rise of the loss, nats (0.0001: that or less)",
            "type": "log",
            "tickformat": ".0e",
        },
        **layout,
    )

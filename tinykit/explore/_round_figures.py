"""The figures of "What a round costs": devices over time, joules by phase, what they buy."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tinykit.explore._round_fleets import EPOCHS
from tinykit.explore._round_words import joules, seconds
from tinykit.plots.style import OKABE_ITO, figure
from tinykit.plots.system_cost import energy_by_phase, round_timeline

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from tinykit.explore.round_cost import Costed
    from tinykit.federated.system import RoundCost

#: devices of the timeline
ROWS = 12
#: cut-off → colour, symbol, dash
LOOKS = {
    0: (OKABE_ITO["blue"], "circle", "solid"),
    1: (OKABE_ITO["vermillion"], "diamond", "dot"),
    2: (OKABE_ITO["green"], "square", "dash"),
    4: (OKABE_ITO["purple"], "triangle-up", "dashdot"),
}
#: local epochs → size of a mark
SIZES = {1: 6, 2: 8, 5: 11, 10: 15}
#: prices that differ by no more than this factor are drawn on a linear axis from 0
NARROW = 3


def figures(result: Costed) -> dict[str, go.Figure]:
    by_epochs = {
        f"{'▸ ' if e == result.epochs else ''}{e}": cost
        for (e, c), cost in result.costs.items()
        if c == result.cutoff
    }
    return {
        "round": round_timeline(result.cost, title=_headline(result), limit=ROWS, height=460),
        "energy": energy_by_phase(
            by_epochs,
            title=f"Energy of a round by local epochs (▸ chosen), {cutoff_name(result.cutoff)}",
            y_title="local epochs",
            height=460,
        ),
        "time": _bought(
            result, lambda cost: cost.round_seconds, "time of a round in s",
            "What the time of a round buys",
        ),
        "joules": _bought(
            result, lambda cost: cost.total_joules, "energy of a round, all devices, in J",
            "What the energy of a round buys",
        ),
    }  # fmt: skip


def _bought(
    result: Costed, price: Callable[[RoundCost], float], axis: str, title: str
) -> go.Figure:
    """Accuracy against a price: a line a cut-off, a larger mark for more local epochs."""
    about = result.table.about
    traces: list[dict[str, Any]] = []
    for cutoff, (color, symbol, dash) in LOOKS.items():
        own = [key for key in result.costs if key[1] == cutoff]
        if not own:
            continue
        traces.append(
            {
                "type": "scatter", "mode": "lines+markers", "name": cutoff_name(cutoff),
                "x": [price(result.costs[key]) for key in own],
                "y": [_accuracy(result, key) for key in own],
                "line": {"color": color, "width": 1.5, "dash": dash},
                "marker": {"color": color, "symbol": symbol, "size": [SIZES[e] for e, _ in own]},
                "hovertext": [_tip(result, key) for key in own], "hoverinfo": "text",
            }
        )  # fmt: skip
    chosen = result.epochs, result.cutoff
    traces.append(
        {
            "type": "scatter", "mode": "markers", "name": "chosen", "hoverinfo": "skip",
            "x": [price(result.cost)], "y": [_accuracy(result, chosen)],
            "marker": {"symbol": "circle-open", "size": 24, "color": "#000000",
                       "line": {"width": 2}},
        }
    )  # fmt: skip
    prices = [x for trace in traces for x in trace["x"]]
    # a logarithmic axis this short would have next to no ticks, and make much of little
    log = max(prices) > NARROW * min(prices)
    return figure(
        traces,
        title=title,
        subtitle=(
            f"larger: more local epochs ({', '.join(map(str, EPOCHS))}); price modelled; accuracy "
            f"measured, of MLP {about['network']} on digits"
        ),
        x=(
            {"title": f"{axis} (log scale)", "type": "log"}
            if log
            else {"title": axis, "range": [0, 1.06 * max(prices)]}
        ),
        y={"title": f"accuracy after {about['rounds']} rounds in %"},
        height=400,
    )


def _accuracy(result: Costed, key: tuple[int, int]) -> float:
    return 100 * float(np.mean(result.accuracies[key]))


def _tip(result: Costed, key: tuple[int, int]) -> str:
    cost, (epochs, cutoff) = result.costs[key], key
    return (
        f"{epochs} local epoch{'s' if epochs > 1 else ''}, {cutoff_name(cutoff)}<br>"
        f"{seconds(cost.round_seconds)}, {joules(cost.total_joules)}<br>"
        f"accuracy {_accuracy(result, key):.1f} %"
    )


def cutoff_name(cutoff: int) -> str:
    return f"cut-off {cutoff}×" if cutoff else "no cut-off"


def _headline(result: Costed) -> str:
    cost = result.cost
    slow = cost.kinds[int(cost.finish_s.argmax())]
    return f"One round takes {seconds(cost.round_seconds)}; the last to be ready: {slow}"

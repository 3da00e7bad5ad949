"""What a federated round costs: who does what when, what it is spent on, what it buys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tinykit.federated.system.cost import PHASES
from tinykit.plots.style import OKABE_ITO, figure, short

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from tinykit.federated.system.cost import RoundCost

PHASE_COLORS = {
    "overhead": OKABE_ITO["purple"],
    "download": OKABE_ITO["sky"],
    "compute": OKABE_ITO["blue"],
    "upload": OKABE_ITO["green"],
    "wait": "#D9D9D9",
}
#: how far the time axis goes, in rounds: past its end stands what is to be said of each device
AXIS = 1.25
#: room for title, subtitle and legend, the phases in their order
HEAD: dict[str, Any] = {
    "margin": {"t": 120, "r": 20},
    "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 0, "traceorder": "normal"},
}
#: quantity -> axis title
QUANTITIES = {
    "seconds": "time of a round [s]",
    "joules": "energy of a round, all devices [J]",
    "accuracy": "accuracy [%]",
}
Quantity = Literal["seconds", "joules", "accuracy"]


@dataclass(frozen=True)
class Setting:
    """One way to run a federation, and what it came to.

    `accuracy` in [0, 1], or None where it was not measured; settings of one `series` are joined.
    """

    name: str
    seconds: float
    joules: float
    accuracy: float | None
    series: str = ""


def round_timeline(
    cost: RoundCost, *, title: str = "", limit: int = 24, **layout: Any
) -> go.Figure:
    """One round as bars over time: a row a device, a colour a phase, the slowest on top.

    Parameters
    ----------
    limit : rows at most; of a larger cohort, devices at even steps from the slowest to the
        quickest are drawn, and the subtitle says so
    """
    order = np.argsort(-cost.finish_s, kind="stable")
    if len(order) > limit:
        order = order[np.unique(np.linspace(0, len(order) - 1, limit).round().astype(int))]
    rows = [f"{cost.kinds[n]} · {cost.devices[n]}" for n in order]
    traces: list[Any] = [
        {
            "type": "bar",
            "orientation": "h",
            "name": phase,
            "y": rows,
            "x": cost.seconds[phase][order].tolist(),
            "marker": {"color": PHASE_COLORS[phase]},
            "hovertext": [
                f"{row}, {phase}<br>{cost.seconds[phase][n]:.3g} s, {cost.joules[phase][n]:.3g} J"
                for row, n in zip(rows, order, strict=True)
            ],
            "hoverinfo": "text",
        }
        for phase in PHASES
    ]
    reach = cost.round_seconds
    notes = _notes(cost)
    traces.append(
        {
            "type": "scatter",
            "mode": "text",
            "x": [1.04 * reach] * len(rows),
            "y": rows,
            "text": [notes[n] for n in order],
            "textposition": "middle right",
            "hoverinfo": "skip",
            "showlegend": False,
            "cliponaxis": False,
        }
    )
    if cost.cutoff_s is not None:
        begins = cost.seconds["overhead"][order] + cost.seconds["download"][order]
        reaches = begins + cost.cutoff_s
        seen = [n for n, at in enumerate(reaches) if at <= AXIS * reach]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": "cut-off",
                "x": [float(reaches[n]) for n in seen],
                "y": [rows[n] for n in seen],
                "marker": {
                    "symbol": "line-ns",
                    "size": 14,
                    "line": {"width": 3, "color": OKABE_ITO["vermillion"]},
                },
                "hoverinfo": "skip",
            }
        )
    looks: dict[str, Any] = {**HEAD, "barmode": "stack", "bargap": 0.3}
    if cost.deadline_s is not None and cost.deadline_s <= AXIS * (reach or 1):
        looks["shapes"] = [
            {
                "type": "line",
                "x0": cost.deadline_s,
                "x1": cost.deadline_s,
                "yref": "paper",
                "y0": 0,
                "y1": 1,
                "line": {"color": OKABE_ITO["vermillion"], "dash": "dash"},
            }
        ]
    stop = "" if cost.cutoff_s is None else f", cut-off after {cost.cutoff_s:.3g} s of compute"
    shown = "" if len(rows) == len(cost.devices) else f"{len(rows)} of "
    return figure(
        traces,
        title=title or "One round, device by device",
        subtitle=(
            f"{shown}{len(cost.devices)} devices{stop}; {reach:.3g} s, "
            f"{_joules(cost.total_joules)}; {cost.labels['seconds'].provenance}"
        ),
        x={"title": "time since the round began [s]", "range": [0, AXIS * reach or 1]},
        y={"title": "device", "type": "category", "autorange": "reversed"},
        **{"height": max(320, 200 + 22 * len(rows)), **looks, **layout},
    )


def energy_by_phase(
    costs: Mapping[str, RoundCost], *, title: str = "", y_title: str = "round", **layout: Any
) -> go.Figure:
    """Joules of all devices by phase, stacked: a bar for each named round."""
    names = list(costs)
    totals = {p: [float(c.joules[p].sum()) for c in costs.values()] for p in PHASES}
    traces: list[Any] = [
        {
            "type": "bar",
            "orientation": "h",
            "name": phase,
            "y": names,
            "x": totals[phase],
            "marker": {"color": PHASE_COLORS[phase]},
            "hovertext": [
                f"{name}, {phase}<br>{_joules(joules)}, {joules / (cost.total_joules or 1):.0%}"
                for (name, cost), joules in zip(costs.items(), totals[phase], strict=True)
            ],
            "hoverinfo": "text",
        }
        for phase in PHASES
    ]
    reach = max((c.total_joules for c in costs.values()), default=0.0)
    traces.append(
        {
            "type": "scatter",
            "mode": "text",
            "x": [c.total_joules + 0.01 * reach for c in costs.values()],
            "y": names,
            "text": [f"{_joules(c.total_joules)}" for c in costs.values()],
            "textposition": "middle right",
            "hoverinfo": "skip",
            "showlegend": False,
        }
    )
    return figure(
        traces,
        title=title or "What the energy of a round is spent on",
        subtitle="all devices of the cohort, those that wait included; modelled",
        x={"title": "energy of a round [J]", "range": [0, 1.2 * reach or 1]},
        y={"title": y_title, "type": "category", "autorange": "reversed"},
        **{
            "height": max(300, 210 + 40 * len(names)),
            "barmode": "stack",
            "bargap": 0.35,
            **HEAD,
            **layout,
        },
    )


def setting_costs(
    settings: Sequence[Setting],
    *,
    x: Quantity = "seconds",
    y: Quantity = "accuracy",
    title: str = "",
    subtitle: str,
) -> go.Figure:
    """Two of time, energy and accuracy against each other, a point a setting.

    Parameters
    ----------
    subtitle : says which of them are modelled and which measured, by whom

    Settings whose accuracy was not measured are left out where accuracy is an axis.
    """
    colors = [c for n, c in OKABE_ITO.items() if n != "black"]
    traces = []
    for n, series in enumerate(dict.fromkeys(s.series for s in settings)):
        own = [
            s
            for s in settings
            if s.series == series and not (s.accuracy is None and "accuracy" in (x, y))
        ]
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers+text" if series else "markers+text",
                "name": series,
                "showlegend": bool(series),
                "x": [_value(s, x) for s in own],
                "y": [_value(s, y) for s in own],
                "text": [s.name for s in own],
                "textposition": "top center" if n % 2 == 0 else "bottom center",
                "marker": {"size": 10, "color": colors[n % len(colors)]},
                "line": {"width": 1, "dash": "dot", "color": colors[n % len(colors)]},
                "hovertext": [_words(s) for s in own],
                "hoverinfo": "text",
                "cliponaxis": False,
            }
        )
    return figure(
        traces,
        title=title or "What a setting costs, and what it buys",
        subtitle=subtitle,
        x={"title": QUANTITIES[x], "rangemode": "tozero"},
        y={"title": QUANTITIES[y]},
        **HEAD,
    )


def _notes(cost: RoundCost) -> list[str]:
    """What stands at each device's bar."""
    slow = set(cost.stragglers().tolist())
    notes = []
    for n, device in enumerate(cost.devices.tolist()):
        if cost.dropped[n]:
            notes.append("too late: dropped")
        elif cost.partial[n]:
            notes.append(f"{cost.done[n]} of {cost.asked[n]} steps")
        else:
            notes.append("straggler" if device in slow else "")
    return notes


def _joules(count: float) -> str:
    """Joules for people: 950 J, 2.18 kJ."""
    number, _, prefix = short(count).partition(" ")
    return f"{number} {prefix}J"


def _value(setting: Setting, quantity: Quantity) -> float:
    if quantity == "accuracy":
        return 100 * (setting.accuracy or 0.0)
    return float(getattr(setting, quantity))


def _words(setting: Setting) -> str:
    known = setting.accuracy is not None
    accuracy = f"accuracy {_value(setting, 'accuracy'):.1f} %" if known else "accuracy unknown"
    return f"{setting.name}<br>{short(setting.seconds)} s, {_joules(setting.joules)}, {accuracy}"

"""What engines take: seconds by the number of rounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tinykit.plots.style import OKABE_ITO, figure

if TYPE_CHECKING:
    import plotly.graph_objects as go

_LOOKS = [
    (OKABE_ITO["blue"], "solid"),
    (OKABE_ITO["orange"], "solid"),
    (OKABE_ITO["green"], "solid"),
    (OKABE_ITO["green"], "dash"),
    (OKABE_ITO["vermillion"], "dash"),
]


def seconds_by_rounds(
    engines: Mapping[str, tuple[float, float]],
    *,
    title: str,
    subtitle: str,
    most: int = 1000,
    per_decade: Sequence[int] = (1, 2, 3, 5, 7),
    **layout: Any,
) -> go.Figure:
    """Seconds from the start, logarithmic both ways, a line an engine: start-up, then rounds.

    Parameters
    ----------
    engines : name → (seconds of the first round, start-up included; seconds of each later one)
    most : rounds at the end of the lines
    """
    rounds = [r * 10**power for power in range(9) for r in per_decade if r * 10**power <= most]
    traces = []
    for (name, (first, each)), (colour, dash) in zip(engines.items(), _LOOKS, strict=False):
        seconds = [first + (r - 1) * each for r in rounds]
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": name,
                "x": rounds,
                "y": seconds,
                "line": {"color": colour, "dash": dash, "width": 2},
                "hovertext": [
                    f"{name}<br>{r:,} rounds: {s:,.3g} s"
                    for r, s in zip(rounds, seconds, strict=True)
                ],
                "hoverinfo": "text",
            }
        )
    return figure(
        traces,
        title=title,
        subtitle=subtitle,
        x={"title": "rounds", "type": "log"},
        y={"title": "seconds from the start", "type": "log"},
        **layout,
    )

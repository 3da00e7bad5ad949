"""What each layer costs, as bars in the order in which the layers run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tinykit.plots.style import GREY, OKABE_ITO, figure, short

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from tinykit.targets.profile import Profile


def layer_bars(
    names: Sequence[str],
    values: Sequence[float | None],
    *,
    title: str,
    subtitle: str,
    unit: str,
    reference: Sequence[float | None] | None = None,
    reference_name: str = "",
    notes: Sequence[str | None] | None = None,
    y_title: str = "layer",
    **layout: Any,
) -> go.Figure:
    """Horizontal bars, first layer on top; the most expensive one stands out.

    Parameters
    ----------
    names : of the layers, unique, in execution order
    values : cost of each; None where it is unknown (its bar says so)
    unit : axis title, with the unit
    reference : the same cost under other circumstances, as marks; `reference_name` says which
    notes : what stands at a bar in place of its share, or None
    """
    known = [v or 0 for v in values]
    total = sum(known)
    peak = max(known, default=0)
    colors = [OKABE_ITO["vermillion"] if v == peak and v > 0 else OKABE_ITO["blue"] for v in known]
    text, tips = [], []
    for name, value, note in zip(names, values, notes or [None] * len(names), strict=True):
        share = f"{(value or 0) / total:.0%}" if total else "0 %"
        text.append(note or ("unknown" if value is None else share))
        tips.append(
            f"{name}: unknown" if value is None else f"{name}<br>{short(value)} {unit}, {share}"
        )
    bars = {
        "type": "bar",
        "orientation": "h",
        "y": list(names),
        "x": known,
        "text": text,
        "textposition": "outside",
        "cliponaxis": False,
        "marker": {
            "color": [GREY if v is None else c for v, c in zip(values, colors, strict=True)]
        },
        "hovertext": tips,
        "hoverinfo": "text",
        "showlegend": False,
    }
    traces = [bars]
    reach = peak
    if reference is not None:
        marks = [(name, v) for name, v in zip(names, reference, strict=True) if v is not None]
        reach = max([peak, *(v for _, v in marks)])
        # what a mark would hide, on a narrow page too, stands to its right
        hidden = [
            n
            for n, v in enumerate(reference)
            if v is not None and -0.02 * reach <= v - known[n] < 0.03 * len(text[n]) * reach
        ]
        bars["text"] = ["" if n in hidden else words for n, words in enumerate(text)]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": reference_name,
                "x": [v for _, v in marks],
                "y": [name for name, _ in marks],
                "marker": {"symbol": "diamond", "size": 9, "color": GREY},
                "hovertext": [
                    f"{name}, {reference_name}<br>{short(v)} {unit}" for name, v in marks
                ],
                "hoverinfo": "text",
            }
        )
        traces.append(
            {
                "type": "scatter",
                "mode": "text",
                "x": [(reference[n] or 0) + 0.015 * reach for n in hidden],
                "y": [names[n] for n in hidden],
                "text": [text[n] for n in hidden],
                "textposition": "middle right",
                "hoverinfo": "skip",
                "showlegend": False,
            }
        )
    return figure(
        traces,
        title=title,
        subtitle=subtitle,
        x={"title": unit, "range": [0, reach * 1.12 or 1]},
        y={"title": y_title, "type": "category", "autorange": "reversed"},
        **layout,
    )


def layer_costs(profile: Profile, column: str = "instructions") -> go.Figure:
    """One column of a `Profile`, layer by layer.

    Raises
    ------
    KeyError
        The profile has no such column.
    """
    what = profile.column(column)
    return layer_bars(
        [layer.name for layer in profile.layers],
        [layer[column] for layer in profile.layers],
        title=f"{column.replace('_', ' ').capitalize()} of each layer of {profile.model}",
        subtitle=f"{profile.target}; {what.provenance}",
        unit=what.unit,
    )

"""What the end of a range costs: clipping and rounding, and what accuracy is left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tinykit.plots.style import GREY, OKABE_ITO, figure

if TYPE_CHECKING:
    import plotly.graph_objects as go

_COLOURS = [OKABE_ITO[c] for c in ("vermillion", "blue", "green", "purple", "orange", "sky")]
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "x")
#: parts below this share of the least sum are not drawn: they would stretch the axis over nothing
NOTHING = 0.05
SHARE = "end of the range, as a share of the largest magnitude"


@dataclass(frozen=True)
class Errors:
    """Squared error of quantization by the end of the range, as shares of the mean square.

    Parameters
    ----------
    shares : ends of the range, rising
    clipping, rounding : of the same length; they add up to the whole error
    """

    shares: Sequence[float]
    clipping: Sequence[float]
    rounding: Sequence[float]

    @property
    def total(self) -> list[float]:
        return [c + r for c, r in zip(self.clipping, self.rounding, strict=True)]

    @property
    def best(self) -> float:
        """The end with the least error, of those that are there."""
        total = self.total
        return self.shares[total.index(min(total))]


def range_errors(
    lines: Mapping[int, Errors],
    *,
    title: str,
    subtitle: str,
    marks: Mapping[str, tuple[float, float]] | None = None,
    at: float | None = None,
    **layout: Any,
) -> go.Figure:
    """Error against the end of the range: a line a bit-width, its clipping dashed, rounding dotted.

    Parameters
    ----------
    lines : bits → errors
    marks : name → (end, error) of ranges that observers chose
    at : an end to mark by a vertical line
    """
    least = NOTHING * min((min(errors.total) for errors in lines.values()), default=0.0)
    traces: list[dict[str, Any]] = []

    def line(errors: Errors, y: Sequence[float], name: str, *look: Any) -> dict[str, Any]:
        return _line(errors.shares, [v if v > least else None for v in y], name, *look)

    for k, (bits, errors) in enumerate(lines.items()):
        colour = _COLOURS[k % len(_COLOURS)]
        name = f"{bits} bits" if len(lines) > 1 else "sum"
        traces.append(line(errors, errors.total, name, colour, "solid", 3))
        part = line(errors, errors.rounding, "rounding", colour, "dot", 1.5)
        traces.append({**part, "showlegend": len(lines) == 1})
    if lines:
        # the outermost level lies at the end of the range whatever the bits: one line for all
        first = next(iter(lines.values()))
        traces.append(line(first, first.clipping, "clipping", "#444444", "dash", 2))
    for k, (name, (x, y)) in enumerate((marks or {}).items()):
        look = {"symbol": _SYMBOLS[k % len(_SYMBOLS)], "size": 12, "color": "#000000"}
        traces.append(
            {"type": "scatter", "mode": "markers", "x": [x], "y": [y], "name": name,
             "marker": look, "hovertext": [f"{name}: ends at {x:.2f}, error {y:.2%}"]}
        )  # fmt: skip
    return figure(
        traces,
        title=title,
        subtitle=subtitle,
        x={"title": SHARE, "range": [0, 1.03]},
        y={"title": "squared error / mean square", "type": "log", "tickformat": ".0e"},
        **_at(at),
        **layout,
    )


def accuracy_lines(
    series: Mapping[str, Mapping[float, Sequence[float]]],
    *,
    title: str,
    subtitle: str,
    x_title: str = SHARE,
    y_title: str = "accuracy on the test split in %",
    references: Mapping[str, float] | None = None,
    at: float | None = None,
    **layout: Any,
) -> go.Figure:
    """Accuracy against a number: the mean of the seeds as a line, each seed as a point.

    Parameters
    ----------
    series : name → x → accuracies in [0, 1], one a seed
    references : name → accuracy, drawn as horizontal lines
    """
    traces: list[dict[str, Any]] = []
    for k, (name, points) in enumerate(series.items()):
        colour, symbol = _COLOURS[k % len(_COLOURS)], _SYMBOLS[k % len(_SYMBOLS)]
        means = [100 * sum(v) / len(v) for v in points.values()]
        traces.append(
            {
                "type": "scatter", "mode": "lines+markers", "x": list(points), "y": means,
                "name": name, "line": {"color": colour, "width": 2.5},
                "marker": {"symbol": symbol, "size": 8, "color": colour},
                "hovertext": [
                    f"{name}, {x:g}: " + ", ".join(f"{a:.1%}" for a in v)
                    for x, v in points.items()
                ],
            }
        )  # fmt: skip
        each = [(x, 100 * a) for x, v in points.items() for a in v]
        traces.append(
            {
                "type": "scatter", "mode": "markers", "x": [x for x, _ in each],
                "y": [y for _, y in each], "name": name, "showlegend": False,
                "opacity": 0.5, "hoverinfo": "skip",
                "marker": {"symbol": f"{symbol}-open", "size": 5, "color": colour},
            }
        )  # fmt: skip
    ends = [x for points in series.values() for x in points]
    for name, value in (references or {}).items():
        y = [100 * value] * 2
        traces.append(_line([min(ends), max(ends)], y, name, GREY, "dash", 1.5))
    return figure(
        traces,
        title=title,
        subtitle=subtitle,
        x={"title": x_title},
        y={"title": y_title},
        **_at(at),
        **layout,
    )


def _line(
    x: Sequence[float], y: Sequence[float | None], name: str, colour: str, dash: str, width: float
) -> dict[str, Any]:
    return {
        "type": "scatter", "mode": "lines", "x": list(x),
        "y": list(y),
        "name": name, "line": {"color": colour, "dash": dash, "width": width},
    }  # fmt: skip


def _at(x: float | None) -> dict[str, Any]:
    if x is None:
        return {}
    line = {"color": "#000000", "width": 1.5, "dash": "dot"}
    return {
        "shapes": [{"type": "line", "x0": x, "x1": x, "yref": "paper", "y0": 0, "y1": 1,
                    "line": line}]
    }  # fmt: skip

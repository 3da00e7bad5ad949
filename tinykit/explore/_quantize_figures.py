"""The figures of "Quantize": numbers among their levels, errors, accuracy, bytes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tinykit.explore._quantize_words import percent
from tinykit.plots import accuracy_bars, channel_ranges, error_curve, layer_bars, level_histogram

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from tinykit.explore.quantize import Quantized
    from tinykit.quant.study import Format, Study

#: of min-max's range, at which errors are drawn
SHARES = tuple(n / 100 for n in range(5, 101, 5))
#: observers that find a range, as people read them
OBSERVERS = {
    "minmax": "min-max",
    "ema": "moving average",
    "percentile": "percentile 99",
    "mse": "least squares",
}


def draw(result: Quantized) -> dict[str, go.Figure]:
    """All figures, by name."""
    return {
        "values": _values(result),
        "channels": _channels(result),
        "error": _error(result),
        "accuracy": _accuracy(result),
        "bytes": _bytes(result),
    }


def share_of(study: Study, layer: int, what: Any, fmt: Format) -> float:
    """How much of min-max's range `fmt` gives levels, averaged over its scales."""
    whole = study.levels(layer, what, replace(fmt, observer="minmax", share=1.0)).scale
    return float((study.levels(layer, what, fmt).scale / whole).mean())


# -- figures ---------------------------------------------------------------------------------------


def _whose(result: Quantized) -> str:
    return f"{'Weights' if result.what == 'weights' else 'Outputs'} of layer {result.layer}"


def _origin(result: Quantized) -> str:
    layer = result.study.layers[result.layer]
    if result.what == "weights":
        return f"{layer.kind}, {layer.size:,} weights"
    return f"{layer.kind}, on 200 training images"


def _values(result: Quantized) -> go.Figure:
    fmt, levels = result.shown, result.levels
    rows = result.study.values(result.layer, result.what, levels.per, fmt.group)
    clipped = result.study.clipped(result.layer, result.what, fmt)
    low, high = levels.ends
    widest = int((high - low).argmax())
    many = len(levels.scale) > 1
    subtitle = f"{_origin(result)}; measured"
    if result.what == "activations":
        zero = rows == 0
        subtitle += f"; the {zero.mean():.0%} that are exactly 0 are not drawn"
        rows, clipped = rows[~zero], clipped[~zero]
    elif many:
        subtitle += f"; levels drawn: those of the widest of {len(levels.scale)} scales"
    count = levels.high - levels.low + 1
    kept = "float; 8 bits would be" if result.is_float else f"{fmt.bits} bits,"
    return level_histogram(
        rows.ravel(), clipped.ravel(), levels.of(widest),
        title=f"{_whose(result)}: {kept} {count} levels",
        subtitle=subtitle,
        x_title="value (real numbers)",
    )  # fmt: skip


def _channels(result: Quantized) -> go.Figure:
    levels = result.levels
    low, high = result.study.channels(result.layer, result.what)
    span = high - low
    ratio = float(span.max() / span[span > 0].min()) if (span > 0).any() else 1.0
    which = {
        "tensor": "one scale for all",
        "channel": "a scale each",
        "group": f"a scale for {result.shown.group} inputs each",
    }[levels.per]
    return channel_ranges(
        low, high, [levels.of(row) for row in range(len(levels.scale))],
        title=f"Channels of layer {result.layer}: {which}",
        subtitle=f"the widest range is {ratio:.1f} times the narrowest; measured",
        y_title="value (real numbers)",
    )  # fmt: skip


def marks(result: Quantized) -> dict[str, tuple[float, float]]:
    """Where each observer lands: share of min-max's range, whole error."""
    found = {}
    for name, title in OBSERVERS.items():
        if name == "ema" and result.what == "weights":
            continue
        fmt = replace(result.shown, observer=name, share=1.0)
        error = sum(result.study.errors(result.layer, result.what, fmt))
        found[title] = share_of(result.study, result.layer, result.what, fmt), error
    return found


def _error(result: Quantized) -> go.Figure:
    study, layer, what = result.study, result.layer, result.what
    curve = [
        study.errors(layer, what, replace(result.shown, observer="hand", share=s)) for s in SHARES
    ]
    clipping, rounding = study.errors(layer, what, result.shown)
    here = share_of(study, layer, what, result.shown)
    return error_curve(
        SHARES, [c for c, _ in curve], [r for _, r in curve], marks(result),
        (here, clipping + rounding),
        title=f"Error: clipping {percent(clipping)} + rounding {percent(rounding)}",
        subtitle=f"{_whose(result)}, {result.shown.bits} bits, all ranges cut alike; measured",
    )  # fmt: skip


def _accuracy(result: Quantized) -> go.Figure:
    alone, everything = result.accuracies
    return accuracy_bars(
        [
            "nothing",
            f"layer {result.layer} alone",
            "all as set",
        ],
        [result.study.float_accuracy, alone, everything],
        y_title="what is quantized",
        title=f"Accuracy: {everything:.1%}, float {result.study.float_accuracy:.1%}",
        subtitle=f"measured now on {result.study.tested} test images, fake-quantized in torch; "
        "vermillion: 2 points or more below float",
        chance=0.1,
    )


def _bytes(result: Quantized) -> go.Figure:
    count = range(len(result.study.layers))
    sizes = [result.bytes_of(n) for n in count]
    what = "weights" if result.what == "weights" else "outputs of one image"
    return layer_bars(
        result.names(),
        sizes,
        title=f"Bytes of the {what}: {sum(sizes):,.0f} in all",
        subtitle="counted, packed; scales and zero points included; vermillion: the largest",
        unit="bytes",
        reference=[result.bytes_of(n, 8) for n in count],
        reference_name=f"8 bits, {sum(result.bytes_of(n, 8) for n in count):,.0f} B without scales",
        notes=["float" if f is None else f"{f.bits} bits" for f in result.formats],
    )

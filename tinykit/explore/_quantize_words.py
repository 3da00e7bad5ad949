"""The readout of "Quantize": what the figures show, in words and numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tinykit.explore.quantize import Quantized
    from tinykit.quant.study import Format

_RANGES = {
    "ema": "a moving average of each image's smallest and largest value",
    "percentile": "all but 1 % of the values",
    "mse": "that of the least squared error",
}
_FLOAT = 32


def words(result: Quantized) -> str:
    """Lines of text: how the tensor is quantized, its error, the accuracy, bytes, TFLite."""
    lines = [_how(result), _errors(result), _accuracy(result), _stored(result)]
    return "\n".join([*lines, *_ignored(result)])


def percent(share: float) -> str:
    """A share for people; what is but the last bit of a float is none."""
    if share < 1e-8:
        return "0 %"
    return "< 0.01 %" if share < 1e-4 else f"{100 * share:.2g} %"


def _what(result: Quantized) -> str:
    return "weights" if result.what == "weights" else "outputs"


def _how(result: Quantized) -> str:
    layer = result.study.layers[result.layer]
    name = f"Layer {result.layer} ({layer.kind}), {_what(result)}"
    if result.is_float:
        return f"{name}: float, not quantized; the first three figures show what 8 bits would do."
    fmt, levels = result.shown, result.levels
    many = len(levels.scale)
    count = levels.high - levels.low + 1
    per = {
        "tensor": "one scale",
        "channel": f"{many} scales, one a channel",
        "group": f"{many} scales, one for {fmt.group} inputs of a channel",
    }[levels.per]
    whole = "± the largest magnitude" if fmt.symmetric else "from the smallest to the largest value"
    by_hand = f"{fmt.share:.0%} of {whole.removeprefix('from ')}"
    span = {**_RANGES, "minmax": whole, "hand": by_hand}[fmt.observer]
    zero = ""
    if levels.per == "tensor":
        zero = f", scale {levels.scale[0]:.3g}, zero point {levels.zero[0]}"
    return (
        f"{name}: {fmt.bits} bits, {count} levels, {'symmetric' if fmt.symmetric else 'affine'}, "
        f"{per}{zero}; range: {span}."
    )


def _errors(result: Quantized) -> str:
    study, fmt = result.study, result.shown
    clipping, rounding = study.errors(result.layer, result.what, fmt)
    clipped = study.clipped(result.layer, result.what, fmt).mean()
    levels = result.levels
    rows = study.values(result.layer, result.what, levels.per, fmt.group)
    low, high = levels.ends
    used = (rows.min(1) <= low + levels.scale / 2) & (rows.max(1) >= high - levels.scale / 2)
    text = (
        f"Squared error, in % of the values' sum of squares (measured): "
        f"{percent(clipping + rounding)}, of it clipping {percent(clipping)} and rounding "
        f"{percent(rounding)}; {percent(clipped)} of the values are clipped"
    )
    if fmt.observer == "minmax" and clipped > 0:
        text += ", by half a step at most, as 0 has to be a level"
    if fmt.symmetric and bool((rows >= 0).all()):
        return f"{text}. No value is below 0: half of the levels are never used."
    if levels.per == "tensor" and not used.all() and fmt.symmetric:
        return f"{text}. The levels of one side go further than the values."
    return f"{text}."


def _accuracy(result: Quantized) -> str:
    alone, everything = result.accuracies
    whole, count = result.study.float_accuracy, result.study.tested
    points = 100 * (everything - whole)
    change = (
        "as in float"
        if abs(points) < 0.05
        else f"{abs(points):.1f} points {'more' if points > 0 else 'less'} than float's {whole:.1%}"
    )
    others = {
        ("weights", 8): "all activations at 8 bits",
        ("weights", _FLOAT): "activations in float",
        ("activations", 8): "all weights at 8 bits",
        ("activations", _FLOAT): "weights in float",
    }[result.what, result.settings["others"]]
    single = "" if result.is_float else f" Quantizing layer {result.layer} alone: {alone:.1%}."
    small = abs(points) >= 0.05 and abs(round(everything * count) - round(whole * count)) <= 5
    luck = " That is a handful of images: it may be luck." if small else ""
    return (
        f"Test accuracy with {others}, measured now on {count} images by the fake-quantized "
        f"network (torch): {everything:.1%}, {change}.{single}{luck}"
    )


def _stored(result: Quantized) -> str:
    count = len(result.study.layers)
    size = sum(result.bytes_of(n) for n in range(count))
    whole = sum(result.bytes_of(n, 32) for n in range(count))
    what = "Weights" if result.what == "weights" else "All layers' outputs of an image"
    why = obstacles(result)
    held = f"TFLite cannot hold this: {'; '.join(why)}." if why else _held(result)
    less = "as in float" if size == whole else f"{whole / size:.1f}× less than in float"
    return f"{what}, packed: {size:,.0f} B (counted), {less}. {held}"


def _held(result: Quantized) -> str:
    stored = {4 if f.bits <= 4 else 8 for f in result.formats if f}
    odd = result.what == "weights" and any(f and f.bits not in (4, 8) for f in result.formats)
    if odd:
        place = " and ".join(f"int{b}" for b in sorted(stored))
        return f"TFLite can hold it, in {place}: it has no type of fewer bits."
    return "TFLite can hold it."


def obstacles(result: Quantized) -> list[str]:
    """Why TFLite's integer kernels cannot compute this; empty where they can."""
    found: list[str] = []
    formats: list[Format] = [f for f in result.formats if f is not None]
    if len(formats) < len(result.formats):
        found.append("its integer networks have no float layers")
    if result.settings["others"] == _FLOAT:
        found.append("its integer kernels take weights and activations in integers, not one alone")
    if result.what == "activations":
        if any(f.bits != 8 for f in formats):
            found.append("activations have 8 bits there (or 16)")
        return found
    if any(not f.symmetric for f in formats):
        found.append("weights are symmetric there")
    levels = [
        result.study.levels(n, "weights", f) for n, f in enumerate(result.formats) if f is not None
    ]
    if any(one.per == "group" for one in levels):
        found.append("it has no scale for a group of inputs")
    for layer, fmt in zip(result.study.layers, result.formats, strict=True):
        if fmt and layer.kind == "linear" and fmt.bits <= 4 and fmt.scales != "tensor":
            found.append("linear layers of up to 4 bits have one scale in all")
            break
    return found


def _ignored(result: Quantized) -> list[str]:
    """Knobs that do something else than they say; the others are hidden."""
    settings, count = result.settings, len(result.study.layers)
    lines = []
    if settings["layer"] >= count:
        lines.append(f"This network has layers 0 to {count - 1}: layer {result.layer} is shown.")
    if result.what == "weights" and settings["scales"] == "group":
        coarse = [
            str(n)
            for n, f in enumerate(result.formats)
            if f is not None and result.study.levels(n, "weights", f).per != "group"
        ]
        if coarse:
            lines.append(
                f"Layers whose inputs do not divide into groups have a scale a channel: "
                f"{', '.join(coarse)}."
            )
    if result.what == "weights" and settings["observer"] == "ema":
        lines.append("Weights are seen once: their moving average is min-max.")
    return lines

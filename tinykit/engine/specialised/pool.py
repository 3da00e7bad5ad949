"""average_pool_2d, and mean over height and width, of int8 images: four channels in a word.

SXTAB16 widens two of a word's four bytes and adds them to two 16-bit sums: three instructions for
four elements, their load included. Sixteen bits hold the sum of up to 255 int8.
"""

from __future__ import annotations

from collections.abc import Iterator

from tinykit.engine.codegen import OpContext
from tinykit.engine.cores import Core
from tinykit.engine.kernel import Kernel, Layers, Needs, register
from tinykit.engine.layer import Layer
from tinykit.engine.options import Options
from tinykit.engine.schedule import Schedule
from tinykit.engine.specialised.leaving import has_dsp
from tinykit.graph.ops.pointwise import zero_of
from tinykit.graph.ops.reduce import axes_of, rescale_params

#: of windows with more taps, only so many are written out in a loop
WRITTEN_OUT = 16


@register
class AveragePool(Kernel):
    """Knob words: words of four channels that are summed side by side."""

    name = "average_pool"
    kinds = (frozenset({"average_pool_2d", "mean"}),)

    def schedules(self, layers: Layers, core: Core | None, options: Options) -> list[Schedule]:
        (layer,) = layers
        if not has_dsp(core) or not options.simd or not _fits(layer):
            return []
        words = layer.in_hwc[2] // 4
        return [Schedule.of(self.name, words=n) for n in (4, 2, 1) if words % n == 0]

    def needs(self, layers: Layers, schedule: Schedule) -> Needs:
        # a word is written after the last read of it, and the window moves on by no less than the
        # output does
        return Needs(lead={0: 0})

    def write(self, layers: Layers, schedule: Schedule, ctx: OpContext) -> str:
        (layer,) = layers
        ctx.use("simd")
        words = schedule["words"]
        _, width, c = layer.in_hwc
        _, (stride_h, stride_w) = _window(layer)
        out_h, out_w = (1, 1) if layer.kind == "mean" else layer.out_hwc[:2]
        lines = [
            f"for (int32_t channel = 0; channel < {c}; channel += {4 * words}) {{",
            *_indent([*_sums(layer, words), *_leave(layer, ctx, words)]),
            "}",
        ]
        if out_w > 1:
            moved = _indent([*lines, f"in += {stride_w * c};"])
            lines = [f"for (int32_t column = 0; column < {out_w}; column++) {{", *moved, "}"]
        if out_h > 1:
            back = (stride_h * width - (out_w * stride_w if out_w > 1 else 0)) * c
            moved = _indent([*lines, f"in += {back};"])
            lines = [f"for (int32_t row = 0; row < {out_h}; row++) {{", *moved, "}"]
        return "\n".join(lines) + "\n"


def _fits(layer: Layer) -> bool:
    data, out = layer.data, layer.out
    if data.dtype != "int8" or out.dtype != "int8" or data.is_const or len(data.shape) != 4:
        return False
    if layer.kind == "mean":
        fits = axes_of(data, layer.ins[1]) == (1, 2)
    else:
        # an input or output quantized otherwise is for the plain kernel to look at
        same = data.quant is not None and data.quant.same_as(out.quant)
        fits = layer.pads == (0, 0, 0, 0) and same
    (h, w), _ = _window(layer)
    return (
        fits and layer.batches == 1 and data.shape[3] % 4 == 0 and 0 < h * w <= 255 and out.size > 0
    )


def _window(layer: Layer) -> tuple[tuple[int, int], tuple[int, int]]:
    """Window and strides."""
    if layer.kind == "mean":
        h, w, _ = layer.in_hwc
        return (h, w), (1, 1)
    return layer.window, layer.strides


def _sums(layer: Layer, words: int) -> Iterator[str]:
    """The sums of four times `words` channels: of channels 0 and 2 (4 and 6, ...) in even0
    (even1, ...), of the others in odd0 ..."""
    _, width, c = layer.in_hwc
    (window_h, window_w), _ = _window(layer)

    def tap(offset: int) -> Iterator[str]:
        for n in range(words):
            yield f"word = tk_load32(x + {offset + 4 * n});"
            yield f"even{n} = tk_sxtab16(even{n}, word);"
            yield f"odd{n} = tk_sxtab16_ror8(odd{n}, word);"

    yield "const int8_t *x = in + channel;"
    sums = [f"{kind}{n} = 0" for n in range(words) for kind in ("even", "odd")]
    yield f"uint32_t word, {', '.join(sums)};"
    # rows that lie end to end are one row
    rows, columns = (1, window_h * window_w) if window_w == width else (window_h, window_w)
    if rows * columns <= WRITTEN_OUT:
        for i in range(rows):
            for j in range(columns):
                yield from tap((i * width + j) * c)
        return
    at_once = max(n for n in range(1, max(WRITTEN_OUT // words, 1) + 1) if columns % n == 0)
    inner = [line for j in range(at_once) for line in tap(j * c)]
    if rows > 1:
        yield f"for (int32_t i = 0; i < {rows}; i++, x += {(width - columns) * c}) {{"
    indent = "    " * (rows > 1)
    yield f"{indent}for (int32_t j = 0; j < {columns // at_once}; j++, x += {at_once * c}) {{"
    yield from (f"{indent}    {line}" for line in inner)
    yield indent + "}"
    if rows > 1:
        yield "}"


def _leave(layer: Layer, ctx: OpContext, words: int) -> Iterator[str]:
    """From sums to stored outputs, in a loop over pairs of channels."""
    (h, w), _ = _window(layer)
    count = h * w
    pairs = [
        pair
        for n in range(words)
        for pair in (f"tk_pkhbt(even{n}, odd{n})", f"tk_pkhtb(odd{n}, even{n})")
    ]
    yield f"const uint32_t pairs[{len(pairs)}] = {{{', '.join(pairs)}}};"
    yield f"for (int32_t n = 0; n < {len(pairs)}; n++, out += 2) {{"
    ctx.use("fixedpoint")
    for number, half in enumerate(("tk_low", "tk_high")):
        sum_ = f"{half}(pairs[n])"
        if layer.kind == "mean":
            mantissa, shift = rescale_params(layer.op, layer.data, layer.out, count)
            centred = f"{sum_} - {zero_of(layer.data) * count}"
            made = f"tk_scale({centred}, {mantissa}, {shift}) + {zero_of(layer.out)}"
            low, high = -128, 127
        else:
            # to nearest, ties away from zero
            yield f"    const int32_t sum{number} = {sum_};"
            sum_ = f"sum{number}"
            made = f"({sum_} + ({sum_} > 0 ? {count // 2} : -{count // 2})) / {count}"
            low, high = layer.limits
        yield f"    out[{number}] = (int8_t)tk_clamp({made}, {low}, {high});"
    yield "}"


def _indent(lines: Iterator[str] | list[str]) -> list[str]:
    return ["    " + line for line in lines]

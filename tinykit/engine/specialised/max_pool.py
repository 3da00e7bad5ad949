"""max_pool_2d of int8 images: four channels in a word.

SSUB8 compares the bytes of two words and SEL takes the larger ones: with the load three
instructions for four taps.
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
from tinykit.engine.specialised.streams import lead

#: windows of at most so many taps are written out
WRITTEN_OUT = 16


@register
class MaxPool(Kernel):
    """Knob written: whether the taps of a window are written out."""

    name = "max_pool"
    kinds = (frozenset({"max_pool_2d"}),)

    def schedules(self, layers: Layers, core: Core | None, options: Options) -> list[Schedule]:
        (layer,) = layers
        if not has_dsp(core) or not options.simd or not _fits(layer):
            return []
        (h, w), padded = layer.window, any(layer.pads)
        whole = options.unroll and not padded and h * w <= WRITTEN_OUT
        return [Schedule.of(self.name, written=n) for n in ((1, 0) if whole else (0,))]

    def needs(self, layers: Layers, schedule: Schedule) -> Needs:
        # without padding, a pixel's window begins at or behind the pixel, and its words are
        # written after the last read of them
        (layer,) = layers
        return Needs(lead={0: lead(layer, 1, copied=False) if any(layer.pads) else 0})

    def write(self, layers: Layers, schedule: Schedule, ctx: OpContext) -> str:
        (layer,) = layers
        ctx.use("simd")
        lines = _written_out(layer) if schedule["written"] else _in_loops(layer)
        return "\n".join(lines) + "\n"


def _fits(layer: Layer) -> bool:
    data, out = layer.data, layer.out
    if (data.dtype, out.dtype) != ("int8", "int8") or data.is_const or layer.batches != 1:
        return False
    if data.quant is None or not data.quant.same_as(out.quant):
        return False  # for the plain kernel to look at
    (h, w), (top, bottom, left, right) = layer.window, layer.pads
    return max(top, bottom) < h and max(left, right) < w and out.size > 0


def _limited(layer: Layer) -> Iterator[str]:
    low, high = layer.limits
    if low > -128:
        yield f"most = tk_max8x4(most, 0x{(low & 0xFF) * 0x01010101:08x}u);"
    if high < 127:
        yield f"most = tk_min8x4(most, 0x{(high & 0xFF) * 0x01010101:08x}u);"


def _parts(channels: int) -> Iterator[tuple[int, str, str]]:
    """Words of four channels, then the rest one by one: (step, load, store)."""
    if channels >= 4:
        yield 4, "tk_load32({})", "tk_store32(out + channel, most);"
    if channels % 4:
        yield 1, "(uint8_t)*({})", "out[channel] = (int8_t)(most & 0xFF);"


def _written_out(layer: Layer) -> Iterator[str]:
    """Windows that lie in the image."""
    (h, w), (stride_h, stride_w) = layer.window, layer.strides
    _, width, c = layer.in_hwc
    out_h, out_w, _ = layer.out_hwc
    yield f"for (int32_t row = 0; row < {out_h}; row++) {{"
    yield f"    for (int32_t column = 0; column < {out_w}; column++) {{"
    yield "        int32_t channel = 0;"
    for step, load, store in _parts(c):
        yield f"        for (; channel < {c - c % 4 if step == 4 else c}; channel += {step}) {{"
        yield "            const int8_t *x = in + channel;"
        yield f"            uint32_t most = {load.format('x')};"
        for i in range(h):
            for j in range(w):
                if i or j:
                    at = load.format(f"x + {(i * width + j) * c}")
                    yield f"            most = tk_max8x4(most, {at});"
        yield from ("            " + line for line in _limited(layer))
        yield f"            {store}"
        yield "        }"
    yield f"        in += {stride_w * c};"
    yield f"        out += {c};"
    yield "    }"
    yield f"    in += {(stride_h * width - stride_w * out_w) * c};"
    yield "}"


def _in_loops(layer: Layer) -> Iterator[str]:
    """Windows of any size, cut at the image's edges."""
    (h, w), (stride_h, stride_w) = layer.window, layer.strides
    height, width, c = layer.in_hwc
    out_h, out_w, _ = layer.out_hwc
    top, _, left, _ = layer.pads
    yield f"for (int32_t row = {-top}; row < {out_h * stride_h - top}; row += {stride_h}) {{"
    yield "    const int32_t above = row < 0 ? 0 : row;"
    yield f"    const int32_t below = row > {height - h} ? {height} : row + {h};"
    yield (
        f"    for (int32_t column = {-left}; column < {out_w * stride_w - left}; "
        f"column += {stride_w}) {{"
    )
    yield "        const int32_t before = column < 0 ? 0 : column;"
    yield f"        const int32_t after = column > {width - w} ? {width} : column + {w};"
    yield f"        const int8_t *const first = in + (above * {width} + before) * {c};"
    yield "        int32_t channel = 0;"
    for step, load, store in _parts(c):
        yield f"        for (; channel < {c - c % 4 if step == 4 else c}; channel += {step}) {{"
        yield "            const int8_t *line = first + channel;"
        yield f"            uint32_t most = {load.format('line')};"
        yield f"            for (int32_t i = above; i < below; i++, line += {width * c}) {{"
        yield "                const int8_t *x = line;"
        yield f"                for (int32_t j = before; j < after; j++, x += {c})"
        yield f"                    most = tk_max8x4(most, {load.format('x')});"
        yield "            }"
        yield from ("            " + line for line in _limited(layer))
        yield f"            {store}"
        yield "        }"
    yield f"        out += {c};"
    yield "    }"
    yield "}"

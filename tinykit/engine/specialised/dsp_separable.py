"""A depthwise and a pointwise convolution in one, for cores with DSP instructions.

The depthwise one writes halfwords as the pointwise one wants them, so that these are neither stored
as bytes nor brought from there. That saves about one instruction an element and takes two bytes of
scratch memory for it, where the two apart work in place: it pays only where memory is no matter.
"""

from __future__ import annotations

from collections.abc import Iterator

from tinykit.engine.codegen import OpContext
from tinykit.engine.cores import Core
from tinykit.engine.kernel import KERNELS, Kernel, Layers, Needs, register
from tinykit.engine.layer import Layer
from tinykit.engine.options import Options
from tinykit.engine.schedule import Schedule
from tinykit.engine.specialised.depthwise import DepthwisePlane, Writer
from tinykit.engine.specialised.depthwise_plane import Plane
from tinykit.engine.specialised.dsp_block import Walk
from tinykit.engine.specialised.dsp_conv import DspConv, dots, flat, in_blocks
from tinykit.engine.specialised.dsp_ends import Ends

#: how many schedules of either part are tried with the best of the other
EACH = 3


@register
class DspSeparable(Kernel):
    """Knobs: those of `DepthwisePlane` and of `DspConv`."""

    name = "dsp_separable"
    kinds = (frozenset({"depthwise_conv_2d"}), frozenset({"conv_2d"}))
    priority = -1  # whether it pays is for a table to say

    def schedules(self, layers: Layers, core: Core | None, options: Options) -> list[Schedule]:
        depthwise, pointwise = layers
        if pointwise.kind != "conv_2d" or not flat(pointwise):
            return []
        first = KERNELS[DepthwisePlane.name].schedules([depthwise], core, options)[:EACH]
        second = KERNELS[DspConv.name].schedules([pointwise], core, options)[:EACH]
        if not first or not second:
            return []
        pairs = [(a, second[0]) for a in first] + [(first[0], b) for b in second[1:]]
        return [Schedule.of(self.name, **dict(a.knobs), **dict(b.knobs)) for a, b in pairs]

    def needs(self, layers: Layers, schedule: Schedule) -> Needs:
        plane = 2 * Plane(layers[0], schedule["axis"]).halfwords
        # everything is read before anything is written
        lead = -layers[0].data.nbytes
        return Needs(_aligned(plane) + 2 * _halfwords(layers[0]), {0: lead})

    def write(self, layers: Layers, schedule: Schedule, ctx: OpContext) -> str:
        ctx.use("simd")
        return "\n".join(_lines(layers[0], layers[1], schedule, ctx)) + "\n"


class _Halfwords(Writer):
    """The depthwise convolution, with outputs ``(y + 128) * 2**times`` at ``halves``."""

    target = "int16_t *y = halves"

    def __init__(self, layer: Layer, schedule: Schedule, ctx: OpContext, times: int) -> None:
        super().__init__(layer, schedule, ctx)
        self.times = times
        self.out_steps = self.plane.steps(layer.out_hwc[1], _pitch(layer))

    def stored(self, value: str) -> str:
        return f"(int16_t)(({value} + 128) * {1 << self.times})"


def _pitch(depthwise: Layer) -> int:
    """Halfwords from pixel to pixel: whole words."""
    return depthwise.channels + depthwise.channels % 2


def _halfwords(depthwise: Layer) -> int:
    height, width, _ = depthwise.out_hwc
    return height * width * _pitch(depthwise)


def _aligned(size: int) -> int:
    return -(-size // 4) * 4


def _lines(depthwise: Layer, pointwise: Layer, schedule: Schedule, ctx: OpContext) -> Iterator[str]:
    ends = Ends.of(pointwise)
    assert ends is not None
    plane = _aligned(2 * Plane(depthwise, schedule["axis"]).halfwords)
    yield f"int16_t *const halves = (int16_t *)(void *)(scratch + {plane});"
    yield "{"
    for line in _Halfwords(depthwise, schedule, ctx, ends.times).lines():
        yield f"    {line}" if line else ""
    yield "}"
    depth = depthwise.channels
    walk = Walk((), depth, tuple(range(depth)), _pitch(depthwise))
    yield "const int16_t *x = halves;"
    pixels = schedule["pixels"]
    height, width, _ = depthwise.out_hwc
    blocks, rest = divmod(height * width, pixels)
    moves = [f"x += {pixels * walk.pixel};", f"out += {pixels * pointwise.channels};"]
    inner = list(dots(pointwise, ends, walk, schedule, pixels, ctx))
    yield from in_blocks(blocks, inner, moves, bool(rest))
    if rest:
        yield from dots(pointwise, ends, walk, schedule, rest, ctx)

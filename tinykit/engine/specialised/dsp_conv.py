"""conv_2d and fully_connected for cores with DSP instructions.

A few pixels' inputs are brought to scratch memory as halfwords, once for all output channels; then
`tinykit.engine.specialised.dsp_block` multiplies. All inputs of a block of pixels are read before
its outputs are written, so the output may follow close behind the input, or lie over it.
"""

from __future__ import annotations

from collections.abc import Iterator

from tinykit.engine.codegen import OpContext
from tinykit.engine.cores import Core
from tinykit.engine.kernel import Kernel, Layers, Needs, register
from tinykit.engine.layer import Layer
from tinykit.engine.options import Options
from tinykit.engine.schedule import Schedule
from tinykit.engine.specialised.dsp_block import WHOLE, Block, Walk, stream
from tinykit.engine.specialised.dsp_ends import Ends
from tinykit.engine.specialised.dsp_gather import Rows, Windows
from tinykit.engine.specialised.leaving import has_dsp

#: pixels and words of weights (two channels each) whose sums fit into the registers side by side
SHAPES = ((4, 1), (3, 1), (2, 2), (2, 1), (1, 4), (1, 2), (1, 1))
#: and of runs in a loop so many
WRITTEN_OUT = (16, 8)
#: bytes of code that the cache before a Cortex-M4's flash holds
CACHE = 1024
#: loads reach this many bytes beyond a pointer
REACH = 4095
#: and loads of two words
WIDE_REACH = 1020


@register
class DspConv(Kernel):
    """Knobs: ``pixels`` and ``words`` (of weights: two channels each) that are summed side by side;
    ``steps`` of two taps written out in the innermost loop (0: all); ``wide`` (1: LDRD loads two
    words at a time)."""

    name = "dsp_conv"
    kinds = (frozenset({"conv_2d", "fully_connected"}),)

    def schedules(self, layers: Layers, core: Core | None, options: Options) -> list[Schedule]:
        (layer,) = layers
        if not options.simd or not has_dsp(core) or not serves(layer):
            return []
        ends = Ends.of(layer)
        if ends is None:
            return []
        found = []
        for pixels, words in SHAPES:
            if pixels > _side(layer) or 2 * words > layer.channels + layer.channels % 2:
                continue
            walk = source(layer, ends).walk(pixels)
            written = [n for n in WRITTEN_OUT if n < walk.steps] + [0] * (walk.steps <= WHOLE)
            for steps in written if options.unroll else [1]:
                if _reach(walk, pixels, steps) > REACH:
                    continue
                wide = _goes_wide(walk, pixels, words, steps)
                found.append(
                    Schedule.of(self.name, pixels=pixels, words=words, steps=steps, wide=wide)
                )
        cached = core is None or core.name != "cortex-m4"
        return sorted(found, key=lambda s: _guess(layer, ends, s, cached))

    def needs(self, layers: Layers, schedule: Schedule) -> Needs:
        (layer,) = layers
        ends = Ends.of(layer)
        assert ends is not None
        gather, pixels = source(layer, ends), schedule["pixels"]
        return Needs(2 * gather.halfwords(pixels), {0: gather.leads(pixels)})

    def write(self, layers: Layers, schedule: Schedule, ctx: OpContext) -> str:
        (layer,) = layers
        return "\n".join(_Writer(layer, schedule, ctx).lines()) + "\n"


def _together(walk: Walk, steps: int) -> int:
    """Steps of a run that are reached from one pointer: those written out in a loop, or all, where
    the loop would have one turn."""
    return walk.steps if steps == 0 or walk.steps < 2 * steps else steps


def _reach(walk: Walk, pixels: int, steps: int) -> int:
    """Bytes from a pointer to inputs to the end of what is read by it."""
    at_once = 2 * _together(walk, steps)
    if steps == 0 and walk.whole:
        at_once += walk.starts[-1]
    return 2 * ((pixels - 1) * walk.pixel + at_once)


def _goes_wide(walk: Walk, pixels: int, words: int, steps: int) -> bool:
    """Whether words can be loaded two at a time, and the registers hold them."""
    at_once = _together(walk, steps)
    if steps == 0 and walk.whole:
        at_once *= len(walk.starts)
    if 4 * words * at_once > WIDE_REACH:
        return False
    if words > 1:
        return pixels * words <= 4
    return (
        pixels <= 3
        and walk.aligned
        and walk.steps > 1
        and _reach(walk, pixels, steps) <= WIDE_REACH
    )


def serves(layer: Layer) -> bool:
    """Whether the kernel computes this layer."""
    if not layer.constant_int8:
        return False
    if layer.kind == "fully_connected":
        return True
    groups = layer.in_hwc[2] != layer.weights.shape[3]
    return not groups and (layer.batches == 1 or flat(layer))


def flat(layer: Layer) -> bool:
    """Whether each output pixel needs one input pixel, in the same order."""
    if layer.kind == "fully_connected":
        return True
    return layer.window == layer.strides == (1, 1) and layer.pads == (0, 0, 0, 0)


def source(layer: Layer, ends: Ends) -> Rows | Windows:
    return Rows(layer, ends.times) if flat(layer) else Windows(layer, ends.times)


def _side(layer: Layer) -> int:
    """Pixels that can be taken together."""
    if flat(layer):
        return layer.data.size // int(layer.weights.shape[-1])
    return layer.out_hwc[1]


def _guess(layer: Layer, ends: Ends, schedule: Schedule, cached: bool) -> float:
    """What schedules are ordered by: instructions, and what fetching them costs.

    The caches of a Cortex-M4's flash hold 1 KB of code (64 lines of 16 bytes on STM32F4, 32 of 32
    on STM32L4); a loop beyond that waits for flash at each turn, half a cycle an instruction and
    more (`tinykit.engine.flash`).
    """
    large = not cached and _code_bytes(layer, ends, schedule) > CACHE
    return cost(layer, ends, schedule) * (1.5 if large else 1)


def _step(ends: Ends, schedule: Schedule, pixels: int) -> float:
    """Instructions of two taps."""
    words = schedule["words"]
    loads: float = words + pixels
    if schedule["wide"]:
        loads = loads / 2 if words == 1 else words // 2 + words % 2 + pixels
    return (2 - ends.raw) * words + loads + 2 * pixels * words


def _leave(schedule: Schedule, pixels: int) -> float:
    """Instructions of a group of channels beside its taps."""
    return 2 * schedule["words"] * (3 + 5.5 * pixels) + 12


def _code_bytes(layer: Layer, ends: Ends, schedule: Schedule) -> float:
    """Rough size of the loop over groups of channels."""
    pixels, steps = schedule["pixels"], schedule["steps"]
    walk = source(layer, ends).walk(pixels)
    written = walk.steps if steps == 0 else steps + walk.steps % steps
    if steps == 0 and walk.whole:
        written *= len(walk.starts)
    return 4 * (written * _step(ends, schedule, pixels) + _leave(schedule, pixels))


def cost(layer: Layer, ends: Ends, schedule: Schedule) -> float:
    """Rough number of instructions."""
    gather = source(layer, ends)
    pixels = schedule["pixels"]
    blocks, rest = divmod(_side(layer), pixels)
    lines = 1 if flat(layer) else layer.out_hwc[0]

    def block(pixels: int) -> float:
        walk = gather.walk(pixels)
        channels = layer.channels + layer.channels % 2
        loops = walk.steps / (schedule["steps"] or walk.steps) * 4.0
        if schedule["steps"] == 0 and walk.whole:
            loops = 0
        runs = layer.weights.size // layer.channels // walk.run
        group = runs * (_step(ends, schedule, pixels) * walk.steps + loops)
        groups = channels / 2 / schedule["words"]
        return groups * (group + _leave(schedule, pixels)) + 2 * gather.halfwords(pixels)

    return lines * (blocks * block(pixels) + (block(rest) if rest else 0))


class _Writer:
    """The C of one layer."""

    def __init__(self, layer: Layer, schedule: Schedule, ctx: OpContext) -> None:
        self.layer, self.schedule, self.ctx = layer, schedule, ctx
        ends = Ends.of(layer)
        assert ends is not None
        self.ends = ends
        ctx.use("simd", "dsp_widen")

    def lines(self) -> Iterator[str]:
        layer, pixels = self.layer, self.schedule["pixels"]
        yield "int16_t *const x = (int16_t *)(void *)scratch;"
        blocks, rest = divmod(_side(layer), pixels)
        if flat(layer):
            rows = Rows(layer, self.ends.times)
            yield from in_blocks(blocks, [*rows.lines(pixels), *self._dots(pixels)], [
                f"in += {pixels * rows.depth};", f"out += {pixels * layer.channels};"
            ], bool(rest))  # fmt: skip
            if rest:
                yield from [*rows.lines(rest), *self._dots(rest)]
            return
        windows = Windows(layer, self.ends.times)
        (stride_h, stride_w), (top, _, left, _) = layer.strides, layer.pads
        gather = windows.function(pixels, self.ctx)
        out_h = layer.out_hwc[0]
        yield f"for (int32_t row = {-top}; row < {out_h * stride_h - top}; row += {stride_h}) {{"
        yield f"    int32_t column = {-left};"
        inner = [f"{gather}(in, row, column, x);", *self._dots(pixels)]
        moves = [f"column += {pixels * stride_w};", f"out += {pixels * layer.channels};"]
        yield from ("    " + s for s in in_blocks(blocks, inner, moves, True))
        if rest:
            # the same windows, of which the last pixels are not used
            yield f"    {gather}(in, row, column, x);"
            yield from ("    " + s for s in self._dots(rest, pixels))
            yield f"    out += {rest * layer.channels};"
        yield "}"

    def _dots(self, pixels: int, gathered: int | None = None) -> Iterator[str]:
        """Calls that compute all channels of `pixels` pixels, of windows of `gathered` pixels."""
        walk = source(self.layer, self.ends).walk(gathered or pixels)
        return dots(self.layer, self.ends, walk, self.schedule, pixels, self.ctx)


def in_blocks(count: int, inner: list[str], moves: list[str], moved: bool) -> Iterator[str]:
    """C statements `inner`, `count` times, with `moves` between and, if `moved`, after them."""
    if count > 1:
        yield f"for (int32_t block = 0; block < {count}; block++) {{"
        yield from ("    " + line for line in [*inner, *moves])
        yield "}"
    elif count:
        yield from [*inner, *(moves if moved else [])]


def dots(
    layer: Layer, ends: Ends, walk: Walk, schedule: Schedule, pixels: int, ctx: OpContext
) -> Iterator[str]:
    """Calls that compute all channels of the `pixels` pixels whose inputs stand at ``x``."""
    most, steps = schedule["words"], schedule["steps"]
    pairs = layer.channels // 2
    parts = [(0, 2 * (pairs - pairs % most), most)]
    parts.append((parts[-1][1], 2 * pairs, pairs % most or 1))
    parts.append((2 * pairs, layer.channels, 1))
    for first, last, words in parts:
        if first == last:
            continue
        values = stream(layer, ends, walk, words, first, last)
        wide = bool(schedule["wide"]) and _goes_wide(walk, pixels, words, steps)
        single = last - first == 1
        block = Block(walk, ends, pixels, words, steps, wide, layer.channels, single)
        note = f"channels {first} to {last - 1}: starts, weights, ways out"
        name = ctx.array(values, "uint32_t", note)
        out = f"out + {first}" if first else "out"
        yield f"{block.function(ctx)}({name}, {name} + {len(values)}, x, {out});"

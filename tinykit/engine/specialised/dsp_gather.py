"""How the DSP convolutions bring inputs to scratch memory: as halfwords ``(x + 128) * 2**t``.

Four bytes of a word become the pairs (0, 2) and (1, 3), which a mask each gives: weights are laid
out in the same order. Where windows start at pixels of a size that four does not divide, the order
would differ from window to window, and bytes are put in their own order with two instructions more.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from tinykit.engine.codegen import OpContext
from tinykit.engine.layer import Layer
from tinykit.engine.specialised.dsp_block import Walk
from tinykit.engine.specialised.streams import lead

#: words of four inputs that are written out in a loop
WRITTEN_OUT = 4


def _by_fours(count: int) -> tuple[int, ...]:
    """The order of elements that are widened four at a time; the last few in their own."""
    fours = [4 * g + n for g in range(count // 4) for n in (0, 2, 1, 3)]
    return (*fours, *range(count - count % 4, count))


@dataclass(frozen=True)
class Rows:
    """Pixels that are rows of a matrix: a pointwise convolution, a fully connected layer."""

    layer: Layer
    times: int

    @property
    def depth(self) -> int:
        return int(self.layer.weights.shape[-1])

    @property
    def count(self) -> int:
        return self.layer.data.size // self.depth

    def walk(self, pixels: int) -> Walk:
        return Walk((), self.depth, _by_fours(self.depth), self.depth + self.depth % 2)

    def halfwords(self, pixels: int) -> int:
        return pixels * (self.depth + self.depth % 2)

    def leads(self, pixels: int) -> int:
        """See `Needs.lead`: all inputs of a block are read before its outputs are written."""
        wider = self.layer.channels - self.depth
        blocks = -(-self.count // pixels)
        if blocks == 1:
            return -self.layer.data.nbytes
        return pixels * wider * (blocks - 1 if wider > 0 else 1)

    def lines(self, pixels: int) -> Iterator[str]:
        """C statements that bring the next `pixels` rows from ``in`` to ``x``."""
        if self.depth % 4 == 0:
            yield from words("in", "x", pixels * self.depth // 4, self.times)
            return
        for p in range(pixels):
            at = f"x + {p * (self.depth + self.depth % 2)}" if p else "x"
            source = f"in + {p * self.depth}" if p else "in"
            yield from words(source, at, self.depth // 4, self.times)
            for n in range(self.depth - self.depth % 4, self.depth):
                yield (
                    f"x[{p * (self.depth + self.depth % 2) + n}] = "
                    f"(int16_t)tk_widen1(in[{p * self.depth + n}], {self.times});"
                )


@dataclass(frozen=True)
class Windows:
    """The union of the windows of neighbouring pixels of a row, with the padding around them."""

    layer: Layer
    times: int

    @property
    def in_fours(self) -> bool:
        return self.layer.in_hwc[2] % 4 == 0

    def columns(self, pixels: int) -> int:
        _, width = self.layer.window
        return (pixels - 1) * self.layer.strides[1] + (width - 1) * self.layer.dilations[1] + 1

    def pitch(self, pixels: int) -> int:
        """Halfwords from row to row."""
        size = self.columns(pixels) * self.layer.in_hwc[2]
        return size + size % 2

    def halfwords(self, pixels: int) -> int:
        return self.layer.window[0] * self.pitch(pixels) + 2

    def walk(self, pixels: int) -> Walk:
        (h, w), c = self.layer.window, self.layer.in_hwc[2]
        dilation = self.layer.dilations[1]
        levels = [(h, self.pitch(pixels))]
        run = w * c
        if dilation > 1 and w > 1:
            levels.append((w, dilation * c))
            run = c
        order = _by_fours(run) if self.in_fours else tuple(range(run))
        return Walk(tuple(levels), run, order, self.layer.strides[1] * c)

    def leads(self, pixels: int) -> int:
        """See `Needs.lead`: all inputs of a block are read before its outputs are written."""
        return lead(self.layer, pixels, copied=True)

    def function(self, pixels: int, ctx: OpContext) -> str:
        """Name of the C function ``(in, row, column, x)``."""
        ctx.use("dsp_widen")
        return ctx.function(
            f"window{pixels}",
            "const int8_t *in, int32_t row, int32_t column, int16_t *x",
            "\n".join(self._lines(pixels)) + "\n",
            f"the windows of {pixels} pixel{'s' * (pixels > 1)}, from row and column on, to "
            "halfwords",
        )

    def _lines(self, pixels: int) -> Iterator[str]:
        layer, columns, pitch = self.layer, self.columns(pixels), self.pitch(pixels)
        in_h, in_w, c = layer.in_hwc
        dilation = layer.dilations[0]
        zero = (layer.in_zero + 128) << self.times
        times_c = f" * {c}" if c > 1 else ""
        move = f"row += {dilation}, x += {pitch}"
        yield f"for (int32_t r = 0; r < {layer.window[0]}; r++, {move}) {{"
        yield "    int16_t *to = x;"
        yield f"    int32_t before = column < 0 ? -column : 0, after = column - {in_w - columns};"
        yield f"    if (row < 0 || row >= {in_h} || before > {columns})"
        yield f"        before = {columns};"
        yield f"    const int32_t most = {columns} - before;"
        yield "    after = after < 0 ? 0 : after > most ? most : after;"
        yield "    int32_t inside = most - after;"
        at = f"(row * {in_w} + column + before){times_c}"
        yield f"    const int8_t *from = in + (inside > 0 ? {at} : 0);"
        yield f"    for (int32_t n = before{times_c}; n > 0; n--)"
        yield f"        *to++ = {zero};"
        if self.in_fours:
            written = math.gcd(c // 4, WRITTEN_OUT)
            turns = f" * {c // 4 // written}" if c > 4 * written else ""
            yield f"    for (int32_t n = inside{turns}; n > 0; n--) {{"
            for n in range(written):
                at = f" + {4 * n}" if n else ""
                yield f"        tk_widen4(from{at}, to{at}, {self.times});"
            yield f"        from += {4 * written}, to += {4 * written};"
            yield "    }"
        else:
            first = f"inside *= {c}" if c > 1 else ""
            yield f"    for ({first}; inside >= 4; inside -= 4) {{"
            yield f"        tk_widen4_in_order(from, to, {self.times});"
            yield "        from += 4, to += 4;"
            yield "    }"
            yield "    for (; inside > 0; inside--)"
            yield f"        *to++ = (int16_t)tk_widen1(*from++, {self.times});"
        yield f"    for (int32_t n = after{times_c}; n > 0; n--)"
        yield f"        *to++ = {zero};"
        yield "}"


def words(source: str, target: str, count: int, times: int) -> Iterator[str]:
    """C statements that widen `count` words; a loop where they are many."""
    if count <= WRITTEN_OUT:
        for n in range(count):
            at = f" + {4 * n}" if n else ""
            yield f"tk_widen4({source}{at}, {target}{at}, {times});"
        return
    written = max(n for n in range(1, WRITTEN_OUT + 1) if count % n == 0)
    yield "{"
    yield f"    const int8_t *from = {source}, *const end = from + {4 * count};"
    yield f"    int16_t *to = {target};"
    yield "    do {"
    for n in range(written):
        at = f" + {4 * n}" if n else ""
        yield f"        tk_widen4(from{at}, to{at}, {times});"
    yield f"        from += {4 * written}, to += {4 * written};"
    yield "    } while (from != end);"
    yield "}"

"""conv_2d and fully_connected on cores without DSP instructions, or without their use.

Two filters for two pixels at a time: four loads for four products. On a Cortex-M0+ that is all that
its registers hold. Windows that do not lie in one piece are copied first.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tinykit.engine.codegen import OpContext
from tinykit.engine.cores import Core
from tinykit.engine.kernel import Kernel, Layers, Needs, register
from tinykit.engine.layer import Layer
from tinykit.engine.options import Options
from tinykit.engine.schedule import Schedule
from tinykit.engine.specialised.columns import Columns, ColumnsWriter
from tinykit.engine.specialised.plain_way import PlainWay

#: pixels that are computed before the next filters are taken
CHUNKS = (8, 2)


@register
class PlainConv(Kernel):
    """Knobs: ``pixels`` that are computed before the next filters are taken; ``step``, elements of
    a dot product that are written out; ``filters`` side by side."""

    name = "plain_conv"
    kinds = (frozenset({"conv_2d", "fully_connected"}),)

    def schedules(self, layers: Layers, core: Core | None, options: Options) -> list[Schedule]:
        (layer,) = layers
        way = PlainWay.of(layer, core, options.simd)
        if way is None:
            return []
        if layer.kind == "conv_2d" and (
            layer.in_hwc[2] != layer.weights.shape[3] or layer.batches != 1
        ):
            return []
        count = Columns.of(layer).count
        step = (4 if way.short else 8) if options.unroll else 1
        filters = (2,) if way.short else FILTERS
        return [
            Schedule.of(self.name, pixels=min(n, count), step=step, filters=many)
            for n in dict.fromkeys(min(n, count) for n in CHUNKS)
            for many in filters
        ]

    def needs(self, layers: Layers, schedule: Schedule) -> Needs:
        return Columns.of(layers[0]).needs(layers[0], schedule["pixels"])

    def write(self, layers: Layers, schedule: Schedule, ctx: OpContext) -> str:
        (layer,) = layers
        ctx.use("plain")
        return "\n".join(_Writer(layer, schedule, ctx).lines()) + "\n"


#: filters side by side where there are registers for them
FILTERS = (3, 2, 4)


class _Writer(ColumnsWriter):
    copy, fill = "tk_copy_bytes", "tk_fill_bytes"

    def __init__(self, layer: Layer, schedule: Schedule, ctx: OpContext) -> None:
        super().__init__(layer, ctx, schedule["pixels"])
        way = PlainWay.of(layer, ctx.core)
        assert way is not None
        self.way, self.step, self.filters = way, schedule["step"], schedule["filters"]

    def tables(self) -> tuple[str, str]:
        channels, length = self.layer.channels, self.columns.length
        padded = -(-channels // self.filters) * self.filters
        weights = np.zeros((padded, length), np.int8)
        weights[:channels] = self.layer.weights.reshape(channels, length)
        return self.ctx.array(weights, "int8_t", "weights"), self.way.table(self.ctx, padded)

    def function(self) -> Iterator[str]:
        length = self.columns.length
        blocks, rest = divmod(self.layer.channels, self.filters)
        if blocks:
            yield f"for (int32_t block = 0; block < {blocks}; block++) {{"
            yield from ("    " + line for line in self._block(self.filters))
            yield f"    w += {self.filters * length};"
            yield f"    k += {self.filters * self.way.words};"
            yield f"    to += {self.filters};"
            yield "}"
        if rest:
            yield "{"
            yield from ("    " + line for line in self._block(rest))
            yield "}"

    def _block(self, stored: int) -> Iterator[str]:
        """Some filters, of which `stored` exist, for all pixels."""
        channels, pitch = self.layer.channels, self.columns.pitch
        yield "const int8_t *x = from;"
        yield "int8_t *y = to;"
        if self.pixels > 1:
            yield "for (int32_t n = pixels >> 1; n > 0; n--) {"
            yield from ("    " + line for line in self._sums(2))
            yield from ("    " + line for line in self._leave(stored, 2))
            yield f"    x += {2 * pitch};"
            yield f"    y += {2 * channels};"
            yield "}"
        yield "if ((pixels & 1) != 0) {"
        yield from ("    " + line for line in self._sums(1))
        yield from ("    " + line for line in self._leave(stored, 1))
        yield "}"

    def _sums(self, pixels: int) -> Iterator[str]:
        length, pitch = self.columns.length, self.columns.pitch
        if self.way.short:
            yield f"int32_t sums[{2 * pixels}];"
            if pixels == 2:
                both = f"x, x + {pitch}, w, w + {length}"
                yield f"tk_two_by_two(sums, {both}, {length}, {self.step});"
            else:
                yield f"tk_one_by_two(sums, x, w, w + {length}, {length}, {self.step});"
            return
        names = [f"s{p}{f}" for p in range(pixels) for f in range(self.filters)]
        yield f"int32_t {', '.join(f'{name} = 0' for name in names)};"
        yield "const int8_t *u = x, *v = w;"
        whole, rest = divmod(length, self.step)

        def taps(count: int) -> Iterator[str]:
            for i in range(count):
                yield "tk_in_order();"
                for p in range(pixels):
                    yield f"const int32_t x{i}{p} = u[{p * pitch + i}];"
                for f in range(self.filters):
                    yield f"const int32_t w{i}{f} = v[{f * length + i}];"
                    for p in range(pixels):
                        yield f"s{p}{f} += x{i}{p} * w{i}{f};"
                    yield "tk_in_order();"

        if whole:
            yield f"for (const int8_t *end = u + {whole * self.step}; u < end;) {{"
            yield from ("    " + line for line in taps(self.step))
            yield f"    u += {self.step};"
            yield f"    v += {self.step};"
            yield "}"
        if rest:
            yield "{"
            yield from ("    " + line for line in taps(rest))
            yield "}"
        yield f"const int32_t sums[{len(names)}] = {{{', '.join(names)}}};"

    def _leave(self, stored: int, pixels: int) -> Iterator[str]:
        words = self.way.words
        many = 2 if self.way.short else self.filters
        for p in range(pixels):
            for f in range(stored):
                row = f"(k + {f * words})" if f else "k"
                name = f"y{p}{f}"
                yield from self.way.lines(f"sums[{many * p + f}]", row, name)
                yield f"y[{p * self.layer.channels + f}] = (int8_t){name};"

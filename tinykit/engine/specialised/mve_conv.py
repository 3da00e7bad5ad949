"""conv_2d and fully_connected with Helium.

VMLADAVA multiplies 16 inputs with 16 weights and adds the products to a register. Two pixels meet
four filters: six loads for eight such instructions. The pixels' inputs must lie in one piece, as
they do for 1x1 filters; for others each window is copied into a column of the scratch memory, a few
pixels at a time.
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
from tinykit.engine.specialised import mve_way as way
from tinykit.engine.specialised.columns import LANES, Columns, ColumnsWriter

#: at most so many vectors of a dot product are written out
WRITTEN_OUT = 8
#: pixels that are computed before the next weights are taken: more of them are a little faster, and
#: keep the output further away from the input whose memory it shares
CHUNKS = (8, 32, 2)


@register
class MveConv(Kernel):
    """Knobs: ``pixels`` that are computed before the next weights are taken; ``rolled``, a loop
    over the vectors of a dot product."""

    name = "mve_conv"
    kinds = (frozenset({"conv_2d", "fully_connected"}),)
    priority = way.PRIORITY

    def schedules(self, layers: Layers, core: Core | None, options: Options) -> list[Schedule]:
        (layer,) = layers
        if not way.served(layer, core, options):
            return []
        if layer.kind == "conv_2d" and (
            layer.in_hwc[2] != layer.weights.shape[3] or layer.batches != 1
        ):
            return []
        columns = Columns.of(layer)
        long = columns.full > WRITTEN_OUT or (not options.unroll and columns.full > 4)
        sizes = dict.fromkeys(min(n, columns.count) for n in CHUNKS)
        return [Schedule.of(self.name, pixels=n, rolled=int(long)) for n in sizes]

    def needs(self, layers: Layers, schedule: Schedule) -> Needs:
        return Columns.of(layers[0]).needs(layers[0], schedule["pixels"])

    def write(self, layers: Layers, schedule: Schedule, ctx: OpContext) -> str:
        (layer,) = layers
        ctx.use("mve")
        return "\n".join(_Writer(layer, schedule, ctx).lines()) + "\n"


class _Writer(ColumnsWriter):
    def __init__(self, layer: Layer, schedule: Schedule, ctx: OpContext) -> None:
        super().__init__(layer, ctx, schedule["pixels"])
        rounds = (self.columns.full - 1) // 4 if schedule["rolled"] else 0
        self.dot = f"{rounds}, {self.columns.full}, {self.columns.left}"

    def tables(self) -> tuple[str, str]:
        return self._weights(), way.table(self.layer, self.ctx)

    def function(self) -> Iterator[str]:
        """All channels of some pixels."""
        channels = self.layer.channels
        blocks, rest = divmod(channels, way.BLOCK)
        yield from way.limits(self.layer)
        size = 4 * LANES * (self.columns.full + (self.columns.left > 0))
        if blocks:
            yield f"for (int32_t c = 0; c < {4 * blocks}; c += 4) {{"
            yield from ("    " + line for line in self._block("tk_store_4({y}, {v});"))
            yield f"    w += {size};"
            yield "    k += 12;"
            yield "    to += 4;"
            yield "}"
        if rest:
            yield "{"
            store = f"tk_store_some({{y}}, {{v}}, {rest});"
            yield from ("    " + line for line in self._block(store))
            yield "}"

    def _block(self, store: str) -> Iterator[str]:
        """Four channels, or the last few, of some pixels."""
        channels, pitch = self.layer.channels, self.columns.pitch
        yield "const tk_q32 bias = tk_load_q32(k), multiplier = tk_load_q32(k + 4);"
        yield "const tk_q32 shift = tk_load_q32(k + 8);"
        yield "const int8_t *x = from;"
        yield "int8_t *y = to;"
        if self.pixels > 1:
            yield "for (int32_t n = pixels >> 1; n > 0; n--) {"
            yield "    tk_q32 a, b;"
            yield f"    tk_mve_dots(a, b, x, x + {pitch}, w, {self.dot});"
            for name, at in (("a", "y"), ("b", f"y + {channels}")):
                yield f"    {name} += bias;"
                for line in way.lines(self.layer, name, "multiplier", "shift"):
                    yield "    " + line
                yield "    " + store.format(y=at, v=name)
            yield f"    x += {2 * pitch};"
            yield f"    y += {2 * channels};"
            yield "}"
        yield "if (pixels & 1) {"
        yield "    tk_q32 a;"
        yield f"    tk_mve_dot(a, x, w, {self.dot});"
        yield "    a += bias;"
        for line in way.lines(self.layer, "a", "multiplier", "shift"):
            yield "    " + line
        yield "    " + store.format(y="y", v="a")
        yield "}"

    def _weights(self) -> str:
        """Name of the array: for each four channels and each vector of inputs, 16 of each."""
        layer, columns = self.layer, self.columns
        own = layer.weights.reshape(layer.channels, -1)
        padded = np.zeros((-(-layer.channels // 4) * 4, columns.length), np.int8)
        padded[: layer.channels] = own
        steps = -(-columns.length // LANES)
        made = np.zeros((len(padded), steps * LANES), np.int8)
        made[:, : columns.length] = padded
        if columns.left and columns.full:
            last = np.zeros((len(padded), LANES), np.int8)
            last[:, LANES - columns.left :] = padded[:, columns.length - columns.left :]
            made[:, -LANES:] = last
        blocks = made.reshape(-1, 4, steps, LANES).transpose(0, 2, 1, 3)
        return self.ctx.array(blocks, "int8_t", "weights: four channels, 16 inputs at a time")

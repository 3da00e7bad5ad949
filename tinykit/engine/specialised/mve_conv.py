"""conv_2d and fully_connected with Helium.

VMLADAVA multiplies 16 inputs with 16 weights and adds the products to a register. Two pixels meet
four filters: six loads for eight such instructions. The pixels' inputs must lie in one piece, as
they do for 1x1 filters; for others each window is copied into a column of the scratch memory, a few
pixels at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tinykit.engine.codegen import OpContext
from tinykit.engine.cores import Core
from tinykit.engine.kernel import Kernel, Layers, Needs, register
from tinykit.engine.layer import Layer
from tinykit.engine.options import Options
from tinykit.engine.schedule import Schedule
from tinykit.engine.specialised import mve_way as way
from tinykit.engine.specialised.streams import lead

#: inputs of a vector
LANES = 16
#: at most so many vectors of a dot product are written out
WRITTEN_OUT = 8
#: pixels that are computed before the next weights are taken: more of them are a little faster, and
#: keep the output further away from the input whose memory it shares
CHUNKS = (8, 32, 2)


@dataclass(frozen=True)
class Columns:
    """How the inputs of a pixel lie: `length` of them, `pitch` bytes from pixel to pixel.

    Attributes
    ----------
    direct : they are read where the layer's input lies; otherwise copied
    rows, count : of rows of output pixels, and pixels in a row
    """

    direct: bool
    length: int
    pitch: int
    rows: int
    count: int

    @classmethod
    def of(cls, layer: Layer) -> Columns:
        if layer.kind == "fully_connected":
            depth = layer.weights.shape[1]
            return cls(True, depth, depth, 1, layer.data.size // depth)
        out_h, out_w, _ = layer.out_hwc
        length = layer.window[0] * layer.window[1] * layer.in_hwc[2]
        if layer.window == layer.strides == (1, 1):
            return cls(True, length, length, 1, out_h * out_w)
        return cls(False, length, -(-length // LANES) * LANES, out_h, out_w)

    @property
    def full(self) -> int:
        """Whole vectors of a pixel."""
        return (self.length if self.direct else self.pitch) // LANES

    @property
    def left(self) -> int:
        """Inputs beyond them."""
        return (self.length if self.direct else self.pitch) % LANES


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
        (layer,) = layers
        columns, pixels = Columns.of(layer), schedule["pixels"]
        if layer.kind == "fully_connected":
            room = pixels * layer.channels
            more = max(layer.channels - columns.length, 0) * columns.count
            return Needs(lead={0: room + more})
        return Needs(
            0 if columns.direct else pixels * columns.pitch,
            {0: lead(layer, pixels, not columns.direct, columns.direct)},
        )

    def write(self, layers: Layers, schedule: Schedule, ctx: OpContext) -> str:
        (layer,) = layers
        ctx.use("mve")
        return "\n".join(_Writer(layer, schedule, ctx).lines()) + "\n"


class _Writer:
    def __init__(self, layer: Layer, schedule: Schedule, ctx: OpContext) -> None:
        self.layer, self.ctx = layer, ctx
        self.columns = Columns.of(layer)
        self.pixels = schedule["pixels"]
        rounds = (self.columns.full - 1) // 4 if schedule["rolled"] else 0
        self.dot = f"{rounds}, {self.columns.full}, {self.columns.left}"
        self.block = ctx.function(
            "pixels",
            "const int8_t *from, int8_t *to, int32_t pixels",
            "\n".join(self._pixels()) + "\n",
            f"{layer.channels} channels of pixels of {self.columns.length} inputs",
        )

    def lines(self) -> Iterator[str]:
        columns, channels = self.columns, self.layer.channels
        whole, rest = divmod(columns.count, self.pixels)
        if columns.direct:
            if whole > 1:
                yield f"for (int32_t n = 0; n < {whole}; n++) {{"
                yield f"    {self.block}(in, out, {self.pixels});"
                yield f"    in += {self.pixels * columns.pitch};"
                yield f"    out += {self.pixels * channels};"
                yield "}"
            else:
                yield f"{self.block}(in, out, {self.pixels});"
            if rest:
                move = f" + {self.pixels * columns.pitch}" if whole == 1 else ""
                out = f" + {self.pixels * channels}" if whole == 1 else ""
                yield f"{self.block}(in{move}, out{out}, {rest});"
            return
        yield "int8_t *const columns = (int8_t *)scratch;"
        yield f"for (int32_t row = 0; row < {columns.rows}; row++) {{"
        yield f"    for (int32_t first = 0; first < {columns.count}; first += {self.pixels}) {{"
        if rest:
            yield f"        const int32_t left = {columns.count} - first;"
            yield f"        const int32_t pixels = left < {self.pixels} ? left : {self.pixels};"
        else:
            yield f"        const int32_t pixels = {self.pixels};"
        yield "        int8_t *to = columns;"
        yield f"        for (int32_t n = first; n < first + pixels; n++, to += {columns.pitch}) {{"
        yield from ("            " + line for line in self._copy())
        yield "        }"
        yield f"        {self.block}(columns, out, pixels);"
        yield f"        out += pixels * {channels};"
        yield "    }"
        yield "}"

    def _copy(self) -> Iterator[str]:
        """The window of pixel ``n`` of ``row``, to ``to``."""
        layer = self.layer
        (h, w), (in_h, in_w, c) = layer.window, layer.in_hwc
        (stride_h, stride_w), (dilation_h, dilation_w) = layer.strides, layer.dilations
        top, bottom, left, right = layer.pads
        line, zero = in_w * c, layer.in_zero
        yield f"const int32_t y = row * {stride_h} - {top}, x = n * {stride_w} - {left};"
        whole = dilation_w == 1 or w == 1
        reach_h, reach_w = (h - 1) * dilation_h + 1, (w - 1) * dilation_w + 1
        outside = []
        outside += ["y < 0"] if top else []
        outside += [f"y > {in_h - reach_h}"] if bottom else []
        outside += ["x < 0"] if left else []
        outside += [f"x > {in_w - reach_w}"] if right else []
        inside = []
        inside.append(f"const int8_t *from = in + (y * {in_w} + x) * {c};")
        copies = [(i, 0, w * c) for i in range(h)] if whole else [
            (i, j, c) for i in range(h) for j in range(w)
        ]  # fmt: skip
        at = 0
        for i, j, count in copies:
            source = i * dilation_h * line + j * dilation_w * c
            inside.append(f"tk_copy(to + {at}, from + {source}, {count});")
            at += count
        if len(copies) > 6:
            inner = [f"tk_copy(to + i * {w * c}, from + i * {dilation_h * line}, {w * c});"]
            if not whole:
                inner = [
                    f"for (int32_t j = 0; j < {w}; j++)",
                    f"    tk_copy(to + (i * {w} + j) * {c}, "
                    f"from + i * {dilation_h * line} + j * {dilation_w * c}, {c});",
                ]
            inside[1:] = [
                f"for (int32_t i = 0; i < {h}; i++) {{",
                *("    " + x for x in inner),
                "}",
            ]
        if not outside:
            yield from inside
            return
        yield f"if ({' || '.join(outside)}) {{"
        yield "    /* the window reaches into the padding */"
        yield f"    tk_fill(to, {zero}, {self.columns.length});"
        yield f"    for (int32_t i = 0; i < {h}; i++) {{"
        yield f"        const int32_t from_y = y + i * {dilation_h};"
        yield f"        if (from_y < 0 || from_y >= {in_h})"
        yield "            continue;"
        if whole:
            yield "        const int32_t begin = x < 0 ? -x : 0;"
            yield f"        const int32_t end = x > {in_w - w} ? {in_w} - x : {w};"
            yield "        if (end > begin)"
            yield f"            tk_copy(to + (i * {w} + begin) * {c},"
            yield f"                    in + (from_y * {in_w} + x + begin) * {c},"
            yield f"                    (end - begin) * {c});"
        else:
            yield f"        for (int32_t j = 0; j < {w}; j++) {{"
            yield f"            const int32_t from_x = x + j * {dilation_w};"
            yield f"            if (from_x >= 0 && from_x < {in_w})"
            yield f"                tk_copy(to + (i * {w} + j) * {c},"
            yield f"                        in + (from_y * {in_w} + from_x) * {c}, {c});"
            yield "        }"
        yield "    }"
        yield "} else {"
        yield from ("    " + text for text in inside)
        yield "}"

    def _pixels(self) -> Iterator[str]:
        """All channels of some pixels."""
        channels = self.layer.channels
        blocks, rest = divmod(channels, way.BLOCK)
        yield f"const int8_t *w = {self._weights()};"
        yield f"const int32_t *k = {way.table(self.layer, self.ctx)};"
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

"""Pixels whose inputs lie in one piece: as they are, for 1x1 filters, or copied window by window.

What the convolutions of several cores share: how inputs lie, the loop over output pixels a few at a
time, and the copy of their windows with the padding around the image.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tinykit.engine.codegen import OpContext
from tinykit.engine.kernel import Needs
from tinykit.engine.layer import Layer
from tinykit.engine.specialised.streams import lead

#: columns begin at multiples of this many bytes
LANES = 16


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

    def needs(self, layer: Layer, pixels: int) -> Needs:
        """Memory of a kernel that computes `pixels` of a row at a time."""
        if layer.kind == "fully_connected":
            more = max(layer.channels - self.length, 0) * self.count
            return Needs(lead={0: pixels * layer.channels + more})
        scratch = 0 if self.direct else pixels * self.pitch
        return Needs(scratch, {0: lead(layer, pixels, not self.direct, self.direct)})


class ColumnsWriter:
    """C of a convolution or fully connected layer, `pixels` at a time.

    Subclasses write the function that computes all channels of some pixels, with parameters
    ``from`` (the inputs, `Columns.pitch` apart), ``to``, ``pixels``, ``w`` and ``k`` (`tables`);
    layers of one shape share it.
    """

    #: functions that copy and fill bytes
    copy, fill = "tk_vcopy", "tk_vfill"

    def __init__(self, layer: Layer, ctx: OpContext, pixels: int) -> None:
        self.layer, self.ctx, self.pixels = layer, ctx, pixels
        self.columns = Columns.of(layer)

    def function(self) -> Iterator[str]:
        """The body of that function."""
        raise NotImplementedError

    def tables(self) -> tuple[str, str]:
        """Names of the arrays with the weights (int8) and with what else channels need (int32)."""
        raise NotImplementedError

    def lines(self) -> Iterator[str]:
        columns, channels = self.columns, self.layer.channels
        block = self.ctx.function(
            "pixels",
            "const int8_t *from, int8_t *to, int32_t pixels, const int8_t *w, const int32_t *k",
            "\n".join(self.function()) + "\n",
            f"{channels} channels of pixels of {columns.length} inputs",
        )
        tables = ", ".join(self.tables())
        whole, rest = divmod(columns.count, self.pixels)
        if columns.direct:
            if whole > 1:
                yield f"for (int32_t n = 0; n < {whole}; n++) {{"
                yield f"    {block}(in, out, {self.pixels}, {tables});"
                yield f"    in += {self.pixels * columns.pitch};"
                yield f"    out += {self.pixels * channels};"
                yield "}"
            else:
                yield f"{block}(in, out, {self.pixels}, {tables});"
            if rest:
                move = f" + {self.pixels * columns.pitch}" if whole == 1 else ""
                out = f" + {self.pixels * channels}" if whole == 1 else ""
                yield f"{block}(in{move}, out{out}, {rest}, {tables});"
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
        yield f"        {block}(columns, out, pixels, {tables});"
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
            inside.append(f"{self.copy}(to + {at}, from + {source}, {count});")
            at += count
        if len(copies) > 6:
            inner = [f"{self.copy}(to + i * {w * c}, from + i * {dilation_h * line}, {w * c});"]
            if not whole:
                inner = [
                    f"for (int32_t j = 0; j < {w}; j++)",
                    f"    {self.copy}(to + (i * {w} + j) * {c}, "
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
        yield f"    {self.fill}(to, {zero}, {self.columns.length});"
        yield f"    for (int32_t i = 0; i < {h}; i++) {{"
        yield f"        const int32_t from_y = y + i * {dilation_h};"
        yield f"        if (from_y < 0 || from_y >= {in_h})"
        yield "            continue;"
        if whole:
            yield "        const int32_t begin = x < 0 ? -x : 0;"
            yield f"        const int32_t end = x > {in_w - w} ? {in_w} - x : {w};"
            yield "        if (end > begin)"
            yield f"            {self.copy}(to + (i * {w} + begin) * {c},"
            yield f"                    in + (from_y * {in_w} + x + begin) * {c},"
            yield f"                    (end - begin) * {c});"
        else:
            yield f"        for (int32_t j = 0; j < {w}; j++) {{"
            yield f"            const int32_t from_x = x + j * {dilation_w};"
            yield f"            if (from_x >= 0 && from_x < {in_w})"
            yield f"                {self.copy}(to + (i * {w} + j) * {c},"
            yield f"                        in + (from_y * {in_w} + from_x) * {c}, {c});"
            yield "        }"
        yield "    }"
        yield "} else {"
        yield from ("    " + text for text in inside)
        yield "}"

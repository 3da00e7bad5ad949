"""Depthwise convolution on cores without DSP instructions, one channel at a time.

The channel's plane is copied out with the padding around it, so that inputs are neighbours and no
window has a border. A few outputs are computed side by side. A Cortex-M3 keeps each input for all
outputs that want it. A Cortex-M0+ destroys a factor with each multiplication, so it keeps the
weight, and its inputs are stored as ``x + 128``: only bytes without a sign load in one instruction
(the bias takes ``128 * sum(w)`` off again).

As a channel is copied before its outputs are written, the output may lie over the input.
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
from tinykit.engine.specialised.depthwise_plane import Plane
from tinykit.engine.specialised.plain_way import PlainWay

#: outputs side by side
SIDE = (4, 2)
#: larger filters are not written out
MANY_TAPS = 50


@register
class PlainDepthwise(Kernel):
    """Knobs: ``axis`` (runs along the width, 0, or the height, 1); ``side``, outputs side by side;
    ``rolled``, a loop over the filter's rows."""

    name = "plain_depthwise"
    kinds = (frozenset({"depthwise_conv_2d"}),)

    def schedules(self, layers: Layers, core: Core | None, options: Options) -> list[Schedule]:
        (layer,) = layers
        if (
            PlainWay.of(layer, core, options.simd) is None
            or layer.batches != 1
            or layer.channels % layer.in_hwc[2]
        ):
            return []
        rolled = int(not options.unroll or layer.window[0] * layer.window[1] > MANY_TAPS)
        found = [(Plane(layer, axis), side) for axis in (0, 1) for side in SIDE]
        found.sort(key=lambda each: _cost(*each))
        return [
            Schedule.of(self.name, axis=plane.axis, side=side, rolled=rolled)
            for plane, side in found
        ]

    def needs(self, layers: Layers, schedule: Schedule) -> Needs:
        (layer,) = layers
        plane = Plane(layer, schedule["axis"])
        lead = {0: 0} if plane.multiplier == 1 else {}
        return Needs(plane.halfwords, lead, layer.channels if lead else 1)

    def write(self, layers: Layers, schedule: Schedule, ctx: OpContext) -> str:
        (layer,) = layers
        ctx.use("plain", "simd")
        writer = _Writer(layer, schedule, ctx)
        function = ctx.function(
            "planes",
            "const int8_t *in, int8_t *out, uint8_t *scratch, const int8_t *w, const int32_t *k",
            "\n".join(writer.lines()) + "\n",
        )
        return f"{function}(in, out, scratch, {', '.join(writer.tables())});\n"


def _cost(plane: Plane, side: int) -> float:
    """Rough number of instructions a channel."""
    run, lines = plane.outputs
    taps = plane.taps[0] * plane.taps[1]
    groups = -(-run // side)
    return lines * (groups * (taps * (1 + 2 * side) + 6) + run * 20 + 8) + 8 * plane.copied[1]


class _Writer:
    def __init__(self, layer: Layer, schedule: Schedule, ctx: OpContext) -> None:
        self.layer, self.ctx = layer, ctx
        self.plane = Plane(layer, schedule["axis"])
        self.side, self.rolled = schedule["side"], bool(schedule["rolled"])
        way = PlainWay.of(layer, ctx.core)
        assert way is not None
        assert ctx.core is not None
        self.weights = layer.weights[0].astype(np.int64)
        if way.short:
            extra = -128 * self.weights.sum(axis=(0, 1))
            way = PlainWay(layer, way.requant, ctx.core, extra)
        self.way = way
        self.type = "uint8_t" if way.short else "int8_t"

    def tables(self) -> tuple[str, str]:
        weights = self.weights if self.plane.axis == 0 else self.weights.transpose(1, 0, 2)
        rows = weights.reshape(-1, self.layer.channels).T  # a channel a row, its taps in order
        name = self.ctx.array(rows.astype(np.int8), "int8_t", "weights: a channel a row")
        return name, self.way.table(self.ctx, self.layer.channels)

    def lines(self) -> Iterator[str]:
        plane, layer = self.plane, self.layer
        taps = plane.taps[0] * plane.taps[1]
        yield f"{self.type} *const plane = ({self.type} *)scratch;"
        if plane.padded:
            zero = layer.in_zero + 128 * self.way.short
            yield "/* the padding around the plane is the same for every channel */"
            yield f"tk_fill_bytes((int8_t *)scratch, {zero}, {plane.halfwords});"
        yield f"for (int32_t channel = 0; channel < {layer.in_hwc[2]}; channel++) {{"
        yield from _in(self._copy())
        if plane.multiplier == 1:
            yield from _in(self._channel("channel"))
            yield f"    w += {taps};"
            yield f"    k += {self.way.words};"
        else:
            count = plane.multiplier
            yield f"    for (int32_t part = 0; part < {count}; part++) {{"
            yield from _in(_in(self._channel(f"channel * {count} + part")))
            yield f"        w += {taps};"
            yield f"        k += {self.way.words};"
            yield "    }"
        yield "}"

    def _copy(self) -> Iterator[str]:
        plane = self.plane
        along, across = plane.copied
        step, line = plane.steps(self.layer.in_hwc[1], self.layer.in_hwc[2])
        change = " ^ 0x80" if self.way.short else ""
        yield "const int8_t *from = in + channel;"
        yield f"{self.type} *to = plane + {plane.before[1] * plane.pitch + plane.before[0]};"
        yield f"for (int32_t line = 0; line < {across}; line++) {{"
        yield f"    for (const {self.type} *end = to + {along}; to < end; from += {step})"
        yield f"        *to++ = ({self.type})(*(const {self.type} *)from{change});"
        yield f"    from += {line - along * step};"
        yield f"    to += {plane.pitch - along};"
        yield "}"

    def _channel(self, number: str) -> Iterator[str]:
        """All outputs of one channel."""
        plane = self.plane
        run, lines = plane.outputs
        step, line = plane.steps(self.layer.out_hwc[1], self.layer.channels)
        taps = plane.taps[0] * plane.taps[1]
        if not self.rolled:
            yield f"int32_t t[{taps}];"
            yield f"for (int32_t i = 0; i < {taps}; i++)"
            yield "    t[i] = w[i];"
        yield f"const {self.type} *x = plane;"
        yield f"int8_t *y = out + {number};"
        yield f"for (int32_t line = 0; line < {lines}; line++) {{"
        groups, rest = divmod(run, self.side)
        if groups:
            yield f"    for (int32_t n = 0; n < {groups}; n++) {{"
            yield from _in(_in(self._outputs(self.side, step)))
            yield f"        x += {self.side * plane.strides[0]};"
            yield f"        y += {self.side * step};"
            yield "    }"
        if rest:
            yield "    {"
            yield from _in(_in(self._outputs(rest, step)))
            yield "    }"
        yield f"    x += {plane.pitch * plane.strides[1] - groups * self.side * plane.strides[0]};"
        yield f"    y += {line - groups * self.side * step};"
        yield "}"

    def _outputs(self, count: int, step: int) -> Iterator[str]:
        plane = self.plane
        pitch = plane.pitch * plane.dilations[1]
        yield f"int32_t {', '.join(f'a{n} = 0' for n in range(count))};"
        yield f"const {self.type} *u = x;"
        if self.rolled:
            yield "const int8_t *t = w;"
            yield f"for (int32_t row = 0; row < {plane.taps[1]}; row++) {{"
            yield from _in(self._row(0, count))
            yield f"    u += {pitch};"
            yield f"    t += {plane.taps[0]};"
            yield "}"
        else:
            for row in range(plane.taps[1]):
                yield "{"
                yield from _in(self._row(row * plane.taps[0], count))
                yield "}"
                yield "tk_in_order();"
                if row + 1 < plane.taps[1]:
                    yield f"u += {pitch};"
        for n in range(count):
            yield from self.way.lines(f"a{n}", "k", f"y{n}")
            yield f"y[{n * step}] = (int8_t)y{n};"

    def _row(self, first: int, count: int) -> Iterator[str]:
        """Products of a row of taps."""
        (taps, _), (stride, _), (dilation, _) = (
            self.plane.taps, self.plane.strides, self.plane.dilations,
        )  # fmt: skip
        if self.way.short:
            for tap in range(taps):
                yield f"const int32_t t{tap} = t[{first + tap}];"
                for n in range(count):
                    yield f"a{n} += u[{n * stride + tap * dilation}] * t{tap};"
                yield "tk_in_order();"
            return
        for tap in range(taps):
            yield f"const int32_t t{tap} = t[{first + tap}];"
        uses: dict[int, list[tuple[int, int]]] = {}
        for n in range(count):
            for tap in range(taps):
                uses.setdefault(n * stride + tap * dilation, []).append((n, tap))
        for at in sorted(uses):
            yield f"const int32_t x{at} = u[{at}];"
            yield from (f"a{n} += x{at} * t{tap};" for n, tap in uses[at])


def _in(lines: Iterator[str]) -> Iterator[str]:
    return ("    " + line if line else line for line in lines)

"""Depthwise convolution for cores with DSP instructions, one channel at a time.

A channel of an HWC image is scattered: neighbouring pixels lie as many bytes apart as there are
channels. So the channel's plane is first copied out, as halfwords with the padding around it; then
one load brings two neighbouring inputs and one SMLAD multiplies both. Two neighbouring outputs are
computed together: with a 3-tap row and stride 1 the inputs are A = (x0, x1) and B = (x2, x3), and

    y0 += A·(w0, w1) + B.low·w2        y1 += A.high·w0 + B·(w1, w2)

is four instructions for six products; B is the A of the next two outputs. What is constant in a
channel (weights, bias, way out) is read once and stays in registers.

As a channel is copied before its outputs are written, and outputs go to bytes of that channel only,
the output may lie over the input.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tinykit.engine.codegen import OpContext
from tinykit.engine.cores import Core
from tinykit.engine.kernel import Kernel, Layers, Needs, register
from tinykit.engine.layer import Layer
from tinykit.engine.options import Options
from tinykit.engine.requant import Requant, exact
from tinykit.engine.schedule import Schedule
from tinykit.engine.specialised.depthwise_plane import Plane, Row
from tinykit.engine.specialised.leaving import has_dsp

#: loads and stores reach this many bytes beyond a pointer
REACH = 4095
#: runs of at most this many outputs are written out
SHORT_RUN = 8
#: larger filters are not written out
MANY_TAPS = 50


class Way:
    """What a channel's weights are multiplied by, and how its sums leave.

    Where negative sums all end at the lower limit, the weights of each channel are scaled by a
    power of two so that the last shift is the same for all channels, and so part of the saturation.
    """

    def __init__(self, layer: Layer, requant: Requant) -> None:
        self.requant = requant
        times = requant.right.max() - requant.right + 2
        raised = requant.raised(times) if times.max() <= 8 else None
        if raised is None:
            self.scale, self.add, self.shift = np.ones_like(times), requant.add, requant.shift
        else:
            self.scale, self.add = times, raised
            self.shift = int(requant.right.max()) + 1
        self.raised = raised is not None

    def lines(self, acc: str) -> tuple[list[str], str]:
        """C statements from accumulator `acc` to a stored int8, and the variable that holds it."""
        shift = "shift" if self.shift is None else self.shift
        if self.raised:
            scaled = self.requant.limited(f"tk_smmla({acc}, multiplier, add)", shift)
            return [f"{acc} = {scaled};", *self.requant.clips(acc)], acc
        out = acc.replace("a", "y")
        return self.requant.text(acc, "multiplier", "add", shift, out), out


@register
class DepthwisePlane(Kernel):
    """Knobs: ``axis`` (runs along the width, 0, or the height, 1); ``pairs`` (pairs of outputs
    written out in the loop along a run; 0: the whole run); ``keep`` (words that the next pair reads
    too stay in registers); ``rolled`` (a loop over the filter's rows)."""

    name = "depthwise_plane"
    kinds = (frozenset({"depthwise_conv_2d"}),)

    def schedules(self, layers: Layers, core: Core | None, options: Options) -> list[Schedule]:
        (layer,) = layers
        if not options.simd or not has_dsp(core) or not serves(layer):
            return []
        found = [
            schedule
            for axis in (0, 1)
            for schedule in self._along(Plane(layer, axis), options.unroll)
        ]
        return sorted(found, key=lambda s: cost(layer, s))

    def _along(self, plane: Plane, unroll: bool) -> Iterator[Schedule]:
        run = plane.outputs[0]
        lengths = [n for n in (0, 2, 1) if (run <= SHORT_RUN if n == 0 else run >= 4 * n)]
        if unroll and plane.taps[0] * plane.taps[1] <= MANY_TAPS:
            keeps = run > 2 and len(plane.row().loads) == plane.strides[0] + 1
            for pairs in lengths:
                for keep in range(1 + (keeps and plane.taps[1] <= 4)):
                    yield Schedule.of(self.name, axis=plane.axis, pairs=pairs, keep=keep, rolled=0)
        for pairs in lengths[-1:]:
            yield Schedule.of(self.name, axis=plane.axis, pairs=pairs, keep=0, rolled=1)

    def needs(self, layers: Layers, schedule: Schedule) -> Needs:
        (layer,) = layers
        plane = Plane(layer, schedule["axis"])
        lead = {0: 0} if plane.multiplier == 1 else {}
        return Needs(2 * plane.halfwords, lead, layer.channels)

    def write(self, layers: Layers, schedule: Schedule, ctx: OpContext) -> str:
        (layer,) = layers
        ctx.use("simd")
        return "\n".join(Writer(layer, schedule, ctx).lines()) + "\n"


def serves(layer: Layer) -> bool:
    """Whether the kernel computes this layer exactly."""
    if not layer.constant_int8 or layer.batches != 1 or layer.channels % layer.in_hwc[2]:
        return False
    return exact(layer) is not None


def cost(layer: Layer, schedule: Schedule) -> float:
    """Rough number of instructions a channel."""
    plane = Plane(layer, schedule["axis"])
    run, lines = plane.outputs
    rows = plane.taps[1]
    row, last = plane.row(), plane.row(1)
    pairs, odd = divmod(run, 2)
    pair = 16 + rows * (sum(map(len, row.terms)) + len(row.loads) / 2)
    single = 8 + rows * (len(last.terms[0]) + len(last.loads))
    looped = 0 if schedule["pairs"] == 0 else 3 * pairs / schedule["pairs"]
    rolled = schedule["rolled"] * (4 + 5 * rows) * (pairs + odd)
    return lines * (pairs * pair + odd * single + looped + rolled + 8)


class Writer:
    """The C of one layer.

    Attributes
    ----------
    target : C declaration of the pointer to a channel's first output, from ``out`` or elsewhere
    """

    target = "int8_t *y = out"

    def __init__(self, layer: Layer, schedule: Schedule, ctx: OpContext) -> None:
        self.layer, self.ctx = layer, ctx
        self.plane = Plane(layer, schedule["axis"])
        self.pairs = schedule["pairs"]
        self.keep, self.rolled = bool(schedule["keep"]), bool(schedule["rolled"])
        requant = exact(layer)
        assert requant is not None
        self.way = Way(layer, requant)
        self.row = self.plane.row(2 if self.plane.outputs[0] > 1 else 1)
        self.in_steps = self.plane.steps(layer.in_hwc[1], layer.in_hwc[2])
        self.out_steps = self.plane.steps(layer.out_hwc[1], layer.channels)
        self.words = len(self.row.words) * self.plane.taps[1]

    def table(self) -> tuple[str, int]:
        """Name of the array with what a channel needs, and its words a channel."""
        weights = self.layer.weights[0].astype(np.int64) << self.way.scale
        if self.plane.axis == 1:
            weights = weights.transpose(1, 0, 2)  # across, along, channel
        pad = np.zeros_like(weights[:, :1])
        weights = np.concatenate([weights, pad], axis=1)  # tap -1 is zero
        columns = [
            (weights[row, low] & 0xFFFF) | ((weights[row, high] & 0xFFFF) << 16)
            for row in range(len(weights))
            for low, high in self.row.words
        ]
        columns += [self.layer.bias << self.way.scale, self.way.requant.mantissa, self.way.add]
        if self.way.shift is None:
            columns.append(self.way.requant.right)
        values = np.stack(columns, axis=1) & 0xFFFFFFFF
        note = "a channel a row: weights in pairs, scaled; bias, scaled; multiplier; addend"
        if self.way.shift is None:
            note += "; shift"
        return self.ctx.array(values.astype(np.uint32), "uint32_t", note), values.shape[1]

    def lines(self) -> Iterator[str]:
        plane, layer = self.plane, self.layer
        table, width = self.table()
        yield f"const uint32_t *k = {table};"
        yield "int16_t *const plane = (int16_t *)scratch;"
        yield ""
        if plane.padded:
            zero = layer.in_zero & 0xFFFF
            yield "/* the padding around the plane is the same for every channel */"
            yield f"for (int32_t i = 0; i < {plane.halfwords // 2}; i++)"
            yield f"    tk_store32(plane + 2 * i, 0x{zero | zero << 16:08x}u);"
        yield f"for (int32_t channel = 0; channel < {layer.in_hwc[2]}; channel++) {{"
        yield from _in(self.copy())
        if plane.multiplier == 1:
            yield from _in(self.channel("channel", width))
        else:
            count = plane.multiplier
            yield f"    for (int32_t output = 0; output < {count}; output++) {{"
            yield from _in(_in(self.channel(f"channel * {count} + output", width)))
            yield "    }"
        yield "}"

    def copy(self) -> Iterator[str]:
        """The channel's inputs, into the plane."""
        plane = self.plane
        along, across = plane.copied
        step, line = self.in_steps
        start = plane.before[1] * plane.pitch + plane.before[0]
        yield "const int8_t *from = in + channel;"
        yield f"int16_t *to = plane + {start};" if start else "int16_t *to = plane;"
        yield f"for (int32_t line = 0; line < {across}; line++) {{"
        block = max(1, min(SHORT_RUN, REACH // step))
        blocks = along // block
        done = 0
        if blocks > 1:
            yield f"    for (int32_t i = 0; i < {blocks}; i++) {{"
            yield from (f"        to[{i}] = from[{i * step}];" for i in range(block))
            yield f"        from += {block * step};"
            yield f"        to += {block};"
            yield "    }"
            done = blocks * block
        yield from (f"    to[{i}] = from[{i * step}];" for i in range(along - done))
        yield f"    from += {line - done * step};"
        yield f"    to += {plane.pitch - done};"
        yield "}"

    def channel(self, number: str, width: int) -> Iterator[str]:
        """All outputs of one channel."""
        plane = self.plane
        run, lines = plane.outputs
        step, line = self.out_steps
        if not self.rolled:
            yield from (f"const uint32_t w{i} = k[{i}];" for i in range(self.words))
        names = ["bias", "multiplier", "add"] + ["shift"] * (self.way.shift is None)
        for i, name in enumerate(names):
            yield f"const int32_t {name} = (int32_t)k[{self.words + i}];"
        yield "const int16_t *x = plane;"
        yield f"{self.target} + {number};"
        yield f"for (int32_t line = 0; line < {lines}; line++) {{"
        if self.keep:
            for across in range(plane.taps[1]):
                offset = across * plane.dilations[1] * plane.pitch
                yield f"    uint32_t kept{across} = tk_load32(x + {offset});"
        pairs, odd = divmod(run, 2)
        written = self.pairs or pairs
        loops = pairs // written if self.pairs and pairs else 0
        moved = 0
        stride = plane.strides[0]
        if loops > 1:
            yield f"    for (int32_t i = 0; i < {loops}; i++) {{"
            for n in range(written):
                yield from _in(_in(self.outputs(2 * n, 2)))
            yield f"        x += {2 * written * stride};"
            yield f"        y += {2 * written * step};"
            yield "    }"
            moved = 2 * written * loops
        for n in range(moved, run - odd, 2):
            yield from _in(self.outputs(n - moved, 2))
        if odd:
            yield from _in(self.outputs(run - 1 - moved, 1))
        yield f"    x += {plane.pitch * plane.strides[1] - moved * stride};"
        yield f"    y += {line - moved * step};"
        yield "}"
        yield f"k += {width};"

    def outputs(self, first: int, count: int) -> Iterator[str]:
        """One output or two, the first of them number `first` from ``x`` and ``y``."""
        plane = self.plane
        step = self.out_steps[0]
        row = self.row if count == len(self.row.terms) else _first(self.row)
        accs = [f"a{n}" for n in range(count)]
        base = first * plane.strides[0]  # even: outputs come in pairs
        pitch, rows = plane.pitch * plane.dilations[1], plane.taps[1]
        yield "{"
        yield f"    int32_t {', '.join(f'{a} = bias' for a in accs)};"
        if self.rolled:
            words = len(row.words)
            yield (
                f"    const int16_t *taps = x + {base};" if base else "    const int16_t *taps = x;"
            )
            yield "    const uint32_t *w = k;"
            yield f"    for (int32_t row = 0; row < {rows}; row++) {{"
            yield from _in(
                _in(self.products(row, accs, "taps", 0, [f"w[{i}]" for i in range(words)]))
            )
            yield f"        taps += {pitch};"
            yield f"        w += {words};"
            yield "    }"
        else:
            for across in range(rows):
                named = [f"w{across * len(row.words) + i}" for i in range(len(row.words))]
                yield from _in(self.products(row, accs, "x", across * pitch + base, named, across))
        yield "    tk_in_order();"
        for n, acc in enumerate(accs):
            lines, value = self.way.lines(acc)
            yield from (f"    {line}" for line in lines)
            yield f"    y[{(first + n) * step}] = {self.stored(value)};"
        yield "}"

    def stored(self, value: str) -> str:
        """C expression: what is written of an output."""
        return f"(int8_t){value}"

    def products(
        self,
        row: Row,
        accs: list[str],
        source: str,
        offset: int,
        weights: list[str],
        number: int = 0,
    ) -> Iterator[str]:
        """One row of taps: every word of inputs is read once."""
        for word in row.loads:
            used = [
                (acc, name, weights[index])
                for acc, terms in zip(accs, row.terms, strict=True)
                for at, name, index in terms
                if at == word
            ]
            if not used:
                continue
            x, declared = f"x{number}_{word}", "const uint32_t "
            if self.keep and word in (0, self.plane.strides[0]):
                x, declared = f"kept{number}", ""
            if not (self.keep and word == 0):
                yield "tk_in_order();"
                yield f"{declared}{x} = tk_load32({source} + {offset + 2 * word});"
            for acc, name, weight in used:
                yield f"{acc} = tk_{name}({x}, {weight}, {acc});"


def _first(row: Row) -> Row:
    """The first output alone."""
    return Row(row.words, row.terms[:1])


def _in(lines: Iterator[str]) -> Iterator[str]:
    return ("    " + line if line else line for line in lines)

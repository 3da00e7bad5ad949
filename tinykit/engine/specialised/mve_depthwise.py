"""Depthwise convolution with Helium, one channel at a time, a whole window in one instruction.

A channel of an HWC image is scattered. Its lines are gathered into a strip in which a column of the
window's lines lies together: byte ``columns * ring + line % ring``. The bytes that a window wants
are then neighbours, 12 of them for 3 x 3 in a ring of four, and one VMLADAVA multiplies them with
their weights. A new line takes the place of the oldest; the weights turn with it, which a gathering
load from a table of turned places does.

Outputs along a line come in fours, all of one channel, so that bias, multiplier and shift are
scalars.
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
from tinykit.engine.specialised.depthwise_plane import Plane

#: bytes of a vector
LANES = 16
#: the greatest distance of a load with an immediate offset
REACH = 127
#: the greatest distance of a 16-bit lane
FAR = 0xFFFF
#: moves of eight bytes that are written out
WRITTEN_OUT = 4


class Strip(Plane):
    """The geometry of the strip."""

    @property
    def ring(self) -> int:
        """Lines that are kept, a power of two."""
        lines = (self.taps[1] - 1) * self.dilations[1] + 1
        return max(4, 1 << (lines - 1).bit_length())

    @property
    def span(self) -> int:
        """Columns of a window."""
        return (self.taps[0] - 1) * self.dilations[0] + 1

    @property
    def vectors(self) -> int:
        """Loads that bring a window."""
        return -(-self.span * self.ring // LANES)

    @property
    def step(self) -> int:
        """Bytes from a window to the next."""
        return self.strides[0] * self.ring

    @property
    def bytes(self) -> int:
        """Of the strip, with what loads of the last four outputs touch beyond it."""
        outputs = -(-self.outputs[0] // 4) * 4
        last = (outputs - 1) * self.step + self.vectors * LANES
        blank = (self.before[0] + -(-self.copied[0] // 4) * 4) * self.ring
        return -(-max(last, blank) // LANES) * LANES

    @property
    def lines_needed(self) -> int:
        """Lines of the window, dilation included."""
        return (self.taps[1] - 1) * self.dilations[1] + 1

    def read(self, line: int) -> int:
        """Lines of the input that are read before line `line` of the output is written."""
        end = line * self.strides[1] + self.lines_needed - self.before[1]
        return min(max(end, 0), self.inputs[1])

    @property
    def possible(self) -> bool:
        steps = self.steps(self.layer.in_hwc[1], self.layer.in_hwc[2])
        outs = self.steps(self.layer.out_hwc[1], self.layer.channels)
        return (
            self.ring <= 8
            and self.vectors <= 4
            and 3 * self.step + LANES * (self.vectors - 1) <= REACH
            and 7 * steps[0] <= FAR
            and 3 * outs[0] <= FAR
        )

    @property
    def cost(self) -> int:
        """Rough number of instructions a channel."""
        run, lines = self.outputs
        fours = -(-run // 4) * (8 * self.vectors + 13) + self.vectors + 12
        moves = 8 + 3 * -(-self.copied[0] // 8)
        return lines * fours + self.inputs[1] * moves + self.bytes // 8


@register
class MveDepthwise(Kernel):
    """Knob ``axis``: lines run along the width, 0, or the height, 1."""

    name = "mve_depthwise"
    kinds = (frozenset({"depthwise_conv_2d"}),)
    priority = way.PRIORITY

    def schedules(self, layers: Layers, core: Core | None, options: Options) -> list[Schedule]:
        (layer,) = layers
        if (
            not way.served(layer, core, options)
            or layer.batches != 1
            or layer.channels % layer.in_hwc[2]
        ):
            return []
        strips = [s for s in (Strip(layer, 0), Strip(layer, 1)) if s.possible]
        strips.sort(key=lambda strip: strip.cost)
        return [Schedule.of(self.name, axis=strip.axis) for strip in strips]

    def needs(self, layers: Layers, schedule: Schedule) -> Needs:
        (layer,) = layers
        strip = Strip(layer, schedule["axis"])
        (_, in_w, c), (_, out_w, _) = layer.in_hwc, layer.out_hwc
        lead, grain = {}, 1
        lines = range(strip.outputs[1])
        if strip.multiplier == 1 and strip.axis == 0:
            # no line is written over before it is read
            grain = c
            if all(
                strip.read(n) == strip.inputs[1] or (n + 1) * out_w <= strip.read(n) * in_w
                for n in lines
            ):
                lead = {0: 0}
        elif strip.multiplier == 1 and in_w == out_w:
            # columns are written over columns, if whole rows lie between input and output
            grain = in_w * c
            if all(strip.read(n) > n for n in lines):
                lead = {0: 0}
        return Needs(strip.bytes, lead, grain if lead else 1)

    def write(self, layers: Layers, schedule: Schedule, ctx: OpContext) -> str:
        (layer,) = layers
        ctx.use("mve")
        return "\n".join(_lines(layer, Strip(layer, schedule["axis"]), ctx)) + "\n"


def _weights(strip: Strip, ctx: OpContext) -> str:
    """Name of the array: each channel's window as it lies in a strip that starts with its first
    line."""
    layer = strip.layer
    own = layer.weights[0] if strip.axis == 0 else layer.weights[0].transpose(1, 0, 2)
    made = np.zeros((layer.channels, strip.vectors * LANES), np.int8)
    for across in range(strip.taps[1]):
        for along in range(strip.taps[0]):
            place = along * strip.dilations[0] * strip.ring + across * strip.dilations[1]
            made[:, place] = own[across, along]
    return ctx.array(made, "int8_t", "weights: a channel's window as it lies in the strip")


def _turns(strip: Strip, ctx: OpContext) -> str:
    """Name of the array: where a vector's weights stand when the window starts at each line."""
    lanes = np.arange(LANES)
    rows = [
        lanes // strip.ring * strip.ring + (lanes - first) % strip.ring
        for first in range(strip.ring)
    ]
    return ctx.array(np.array(rows, np.int8), "int8_t", "places of weights, by the first line")


def _lines(layer: Layer, strip: Strip, ctx: OpContext) -> Iterator[str]:
    in_step, in_line = strip.steps(layer.in_hwc[1], layer.in_hwc[2])
    out_step, out_line = strip.steps(layer.out_hwc[1], layer.channels)
    run, lines = strip.outputs
    ring, count = strip.ring, strip.vectors
    requant = way.requant_of(layer)
    constants = np.stack([layer.bias, requant.mantissa, -requant.right], axis=1)
    words = ctx.array(constants.astype(np.int32), "int32_t", "bias, multiplier and shift")
    more = strip.lines_needed - strip.before[1]
    yield f"const int8_t *weights = {_weights(strip, ctx)};"
    yield f"const int32_t *k = {words};"
    yield "int8_t *const strip = (int8_t *)scratch;"
    yield f"const tk_q16 from_at = tk_steps_q16({in_step}), to_at = tk_steps_q16({ring});"
    yield f"const tk_q32 out_at = tk_steps_q32({out_step});"
    blank = any(
        n * strip.strides[1] + more > strip.inputs[1] for n in range(lines)
    )  # lines of padding below
    if blank:
        yield f"const tk_q32 blank_at = tk_steps_q32({ring}), blank = tk_all_q32({layer.in_zero});"
    yield from way.limits(layer)
    yield f"for (int32_t channel = 0; channel < {layer.channels}; channel++) {{"
    yield "    const int32_t bias = k[0], multiplier = k[1], shift = k[2];"
    of = f" / {strip.multiplier}" if strip.multiplier > 1 else ""
    yield f"    const int8_t *x = in + channel{of};"
    yield f"    int32_t ready = 0, slot = {strip.before[1] % ring}, turn = 0;"
    yield f"    tk_vfill(strip, {layer.in_zero}, {strip.bytes});"
    yield f"    for (int32_t line = 0; line < {lines}; line++) {{"
    yield "        int8_t *y = out + channel;"
    yield f"        for (; ready < line * {strip.strides[1]} + {more}; ready++) {{"
    yield f"            int8_t *to = strip + {strip.before[0] * ring} + slot;"
    yield f"            slot = (slot + 1) & {ring - 1};"
    indent = " " * 12
    if blank:
        yield f"            if (ready >= {strip.inputs[1]}) {{"
        yield f"                for (int32_t i = 0; i < {strip.copied[0]}; i += 4)"
        yield f"                    tk_scatter_4(to + i * {ring}, blank_at, blank);"
        yield "                continue;"
        yield "            }"
    yield from (indent + text for text in _move(strip, in_step, in_line))
    yield "        }"
    yield "        {"
    yield f"            const tk_q8 places = tk_load_q8({_turns(strip, ctx)} + turn);"
    yield f"            const tk_q8 w[{count}] = {{"
    for n in range(count):
        yield f"                tk_gather_16(weights + {LANES * n}, places),"
    yield "            };"
    yield "            const int8_t *s = strip;"
    yield f"            turn = (turn + {LANES * (strip.strides[1] % ring)}) & {LANES * ring - 1};"
    whole, rest = divmod(run, 4)

    def four(store: str) -> Iterator[str]:
        yield "tk_q32 a;"
        yield f"tk_strip_{count}(a, s, {strip.step}, w);"
        yield "a += bias;"
        yield from way.lines(layer, "a", "multiplier", "shift", "_all")
        yield store

    if whole:
        yield f"            for (int32_t n = 0; n < {whole}; n++) {{"
        yield from (" " * 16 + text for text in four("tk_scatter_4(y, out_at, a);"))
        yield f"                s += {4 * strip.step};"
        yield f"                y += {4 * out_step};"
        yield "            }"
    if rest:
        yield "            {"
        yield from (" " * 16 + text for text in four(f"tk_scatter_some(y, out_at, a, {rest});"))
        yield "            }"
    yield "        }"
    yield f"        out += {out_line};"
    yield "    }"
    yield f"    out -= {lines * out_line};"
    yield f"    weights += {LANES * count};"
    yield "    k += 3;"
    yield "}"


def _move(strip: Strip, step: int, line: int) -> Iterator[str]:
    """A line of the input into the strip."""
    whole, rest = divmod(strip.copied[0], 8)
    if whole <= WRITTEN_OUT:
        for n in range(whole):
            yield f"tk_move_8(to + {8 * n * strip.ring}, to_at, x + {8 * n * step}, from_at);"
        if rest:
            at, to = 8 * whole * step, 8 * whole * strip.ring
            yield f"tk_move_some(to + {to}, to_at, x + {at}, from_at, {rest});"
        yield f"x += {line};"
        return
    yield f"for (int32_t n = 0; n < {whole}; n++) {{"
    yield "    tk_move_8(to, to_at, x, from_at);"
    yield f"    to += {8 * strip.ring};"
    yield f"    x += {8 * step};"
    yield "}"
    if rest:
        yield f"tk_move_some(to, to_at, x, from_at, {rest});"
    yield f"x += {line - 8 * whole * step};"

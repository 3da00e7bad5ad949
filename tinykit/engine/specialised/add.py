"""add and sub of int8 tensors of one shape.

TFLite shifts each input left by 20, scales it to twice the larger of the two scales, adds, and
scales the sum: three multiplications with two roundings each. The input of the larger scale is
scaled by exactly one half, which leaves nothing to round: ``x << 19``. What the other input becomes
is a function of one byte, a table of 256 words made here.
"""

from __future__ import annotations

import numpy as np

from tinykit.engine.codegen import OpContext
from tinykit.engine.cores import Core
from tinykit.engine.kernel import Kernel, Layers, Needs, register
from tinykit.engine.layer import Layer
from tinykit.engine.options import Options
from tinykit.engine.schedule import Schedule
from tinykit.engine.specialised.leaving import Leaving
from tinykit.engine.specialised.plain_way import RAISE, narrow
from tinykit.graph.fixedpoint import multiply_by_quantized_multiplier
from tinykit.graph.ops.elementwise import add_params
from tinykit.graph.ops.pointwise import zero_of

#: the stored values, in the order of a table's entries
BYTES = np.arange(-128, 128)


@register
class Add(Kernel):
    """Knob table: 1 for a table of what one input becomes (1 KB of flash), 0 to compute that."""

    name = "add"
    kinds = (frozenset({"add", "sub"}),)

    def schedules(self, layers: Layers, core: Core | None, options: Options) -> list[Schedule]:
        (layer,) = layers
        tensors = [*layer.ins, layer.out]
        if any(
            t is None or t.is_const or t.dtype != "int8" or t.shape != layer.out.shape
            for t in tensors
        ):
            return []
        if not layer.out.size or not _leaving(layer).exact(1 << 28):
            return []
        return [Schedule.of(self.name, table=1), Schedule.of(self.name, table=0)]

    def needs(self, layers: Layers, schedule: Schedule) -> Needs:
        return Needs(lead={0: 0, 1: 0})  # an element is read before it is written

    def write(self, layers: Layers, schedule: Schedule, ctx: OpContext) -> str:
        (layer,) = layers
        ctx.use("simd")
        p = add_params(layer.op, layer.ins, layer.out)  # type: ignore[arg-type]
        exact, other = (0, 1) if p.inputs[0] == (1 << 30, 0) else (1, 0)
        signs = (1, -1 if layer.kind == "sub" else 1)
        zero = zero_of(layer.ins[exact])  # type: ignore[arg-type]
        # doubled, as the way out wants it, and with the exact input's zero point
        shift = signs[exact] * zero * -(1 << 20)
        names = ("a", "b")
        leaving = _leaving(layer)
        if schedule["table"] and leaving.right and _short(ctx.core):
            return self._short(layer, other, shift // 2, signs, ctx)
        step = f"{'-' if signs[exact] < 0 else '+'} ((int32_t){names[exact]}[N] * (1 << 20))"
        lines = []
        if schedule["table"]:
            what = f"what {layer.ins[other].name} adds to the sum, doubled"  # type: ignore[union-attr]
            table = ctx.array(
                2 * signs[other] * scaled(layer, other) + shift, "int32_t", what + "; -128 first"
            )
            lines.append(f"const int32_t *table = {table} + 128;")
            one = [f"sum = table[{names[other]}[N]] {step};"]
        else:
            mantissa, left = p.inputs[other]
            half = 1 << -left >> 1
            own = zero_of(layer.ins[other])  # type: ignore[arg-type]
            minus = "-" if signs[other] < 0 else ""
            one = [
                f"sum = ({names[other]}[N] - {own}) * (1 << 21);" if own
                else f"sum = {names[other]}[N] * (1 << 21);",
                f"x = tk_smmlar(sum, {mantissa}, {half}){' + (sum >> 31)' if left else ''};",
                f"sum = {minus}(x >> {-left}) * 2 + {shift} {step};",
            ]  # fmt: skip
        one += [*_leaving(layer).lines("sum", "x"), "out[N] = (int8_t)x;"]
        return "\n".join([*lines, *unrolled(one, layer.out.size)]) + "\n"

    def _short(
        self, layer: Layer, other: int, shift: int, signs: tuple[int, int], ctx: OpContext
    ) -> str:
        """For a core without a long multiplication; both inputs' parts of the sum in 2**-20."""
        ctx.use("plain")
        exact, leaving = 1 - other, _leaving(layer)
        values = signs[other] * scaled(layer, other) + shift + RAISE
        table = ctx.array(values, "int32_t", "what one input adds to the sum; -128 first")
        high, low = narrow(leaving.mantissa, leaving.constant, leaving.signed)
        of_sign = " + ((uint32_t)sum >> 30 << 15)" if leaving.signed else ""
        names, sign = ("a", "b"), "-" if signs[exact] < 0 else "+"
        scale = f"(uint32_t)sum, {leaving.mantissa}u, {high}, {low}u{of_sign}, {leaving.right - 1}"
        one = [
            f"sum = table[{names[other]}[N]] {sign} (int32_t){names[exact]}[N] * (1 << 19);",
            f"x = tk_scale_narrow({scale});",
            f"x = x < {leaving.low} ? {leaving.low} : x > {leaving.high} ? {leaving.high} : x;",
            "out[N] = (int8_t)x;",
        ]
        start = f"const int32_t *table = {table} + 128;"
        return "\n".join([start, *unrolled(one, layer.out.size)]) + "\n"


def _short(core: Core | None) -> bool:
    return core is not None and core.name == "cortex-m0plus"


def scaled(layer: Layer, number: int) -> np.ndarray:
    """int64 (256,): each stored value of input `number` at the common scale."""
    tensor = layer.ins[number]
    assert tensor is not None
    p = add_params(layer.op, layer.ins, layer.out)  # type: ignore[arg-type]
    centred = (BYTES - zero_of(tensor)).astype(np.int64) << p.left_shift
    return multiply_by_quantized_multiplier(centred, *p.inputs[number]).astype(np.int64)


def _leaving(layer: Layer) -> Leaving:
    p = add_params(layer.op, layer.ins, layer.out)  # type: ignore[arg-type]
    return Leaving(p.output[0], -p.output[1], zero_of(layer.out), *p.bounds)


def unrolled(one: list[str], count: int, step: int = 4) -> list[str]:
    """A loop over elements a[N], b[N], out[N], `step` at a time, from the statements for one."""

    def times(n: int) -> list[str]:
        return [line.replace("[N]", f"[{i}]") for i in range(n) for line in one]

    rounds, rest = divmod(count, step)
    lines = ["const int8_t *a = in, *b = in1;", "int32_t sum, x;"]
    if rounds:
        lines.append(f"for (const int8_t *end = a + {rounds * step}; a < end;) {{")
        lines += [f"    {line}" for line in times(step)]
        lines += [f"    a += {step}, b += {step}, out += {step};", "}"]
    return lines + times(rest)

"""mul of int8 tensors of one shape: a product of two bytes, and the way out of small sums."""

from __future__ import annotations

from tinykit.engine.codegen import OpContext
from tinykit.engine.cores import Core
from tinykit.engine.kernel import Kernel, Layers, Needs, register
from tinykit.engine.layer import Layer
from tinykit.engine.options import Options
from tinykit.engine.schedule import Schedule
from tinykit.engine.specialised.add import unrolled
from tinykit.engine.specialised.leaving import Leaving, has_dsp
from tinykit.graph.ops.elementwise import mul_params
from tinykit.graph.ops.pointwise import zero_of

#: no product of two centred bytes is larger
REACH = 255 * 255


@register
class Mul(Kernel):
    """Knob step: elements written out in a loop."""

    name = "mul"
    kinds = (frozenset({"mul"}),)

    def schedules(self, layers: Layers, core: Core | None, options: Options) -> list[Schedule]:
        (layer,) = layers
        if not has_dsp(core) or not options.simd or not _fits(layer):
            return []
        return [Schedule.of(self.name, step=n) for n in ((4, 2) if options.unroll else (1,))]

    def needs(self, layers: Layers, schedule: Schedule) -> Needs:
        return Needs(lead={0: 0, 1: 0})  # an element is read before it is written

    def write(self, layers: Layers, schedule: Schedule, ctx: OpContext) -> str:
        (layer,) = layers
        ctx.use("simd")
        a, b = (_centred(name, zero_of(t)) for name, t in zip("ab", layer.ins, strict=True))  # type: ignore[arg-type]
        one = [
            f"sum = {a} * {b} * 2;",
            *_leaving(layer).lines("sum", "x"),
            "out[N] = (int8_t)x;",
        ]
        return "\n".join(unrolled(one, layer.out.size, schedule["step"])) + "\n"


def _centred(name: str, zero: int) -> str:
    return f"({name}[N] - {zero})" if zero else f"{name}[N]"


def _leaving(layer: Layer) -> Leaving:
    mantissa, shift = mul_params(layer.op, layer.ins, layer.out)  # type: ignore[arg-type]
    return Leaving(mantissa, -shift, zero_of(layer.out), *layer.limits)


def _fits(layer: Layer) -> bool:
    tensors = [*layer.ins, layer.out]
    if any(
        t is None or t.is_const or t.dtype != "int8" or t.shape != layer.out.shape for t in tensors
    ):
        return False
    return layer.out.size > 0 and _leaving(layer).exact(REACH)

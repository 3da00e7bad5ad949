"""add and sub of int8 tensors of one shape with Helium, four elements at a time.

As in `tinykit.engine.specialised.add`, the input of the larger scale is halved exactly; the other
one is scaled with TFLite's two roundings, as VQRDMULH and VRSHL do them (`mve_way`).
"""

from __future__ import annotations

from collections.abc import Iterator

from tinykit.engine.codegen import OpContext
from tinykit.engine.cores import Core
from tinykit.engine.kernel import Kernel, Layers, Needs, register
from tinykit.engine.layer import Layer
from tinykit.engine.options import Options
from tinykit.engine.schedule import Schedule
from tinykit.engine.specialised import mve_way as way
from tinykit.engine.specialised.leaving import Leaving
from tinykit.graph.ops.elementwise import add_params
from tinykit.graph.ops.pointwise import zero_of

#: elements of a vector
LANES = 4
#: vectors that are written out in the loop
STEP = 4


@register
class MveAdd(Kernel):
    """Knob step: vectors that are written out in the loop."""

    name = "mve_add"
    kinds = (frozenset({"add", "sub"}),)
    priority = way.PRIORITY

    def schedules(self, layers: Layers, core: Core | None, options: Options) -> list[Schedule]:
        (layer,) = layers
        if core is None or not core.mve or not options.simd or not layer.out.size:
            return []
        if any(
            t is None or t.is_const or t.dtype != "int8" or t.shape != layer.out.shape
            for t in [*layer.ins, layer.out]
        ):
            return []
        return [Schedule.of(self.name, step=STEP if options.unroll else 1)] if _exact(layer) else []

    def needs(self, layers: Layers, schedule: Schedule) -> Needs:
        return Needs(lead={0: 0, 1: 0})  # elements are read before they are written

    def write(self, layers: Layers, schedule: Schedule, ctx: OpContext) -> str:
        (layer,) = layers
        ctx.use("mve")
        step = schedule["step"]
        vectors, rest = divmod(layer.out.size, LANES)
        loops, more = divmod(vectors, step)
        lines = list(_limits(layer))
        if loops:
            lines.append(f"for (int32_t n = 0; n < {loops}; n++) {{")
            for v in range(step):
                lines += ["    " + line for line in _vector(layer, v * LANES, LANES)]
            moved = step * LANES
            lines += [f"    in += {moved};", f"    in1 += {moved};", f"    out += {moved};", "}"]
        for v in range(more):
            lines += _vector(layer, v * LANES, LANES)
        if rest:
            lines += _vector(layer, more * LANES, rest)
        return "\n".join(lines) + "\n"


def _leaving(layer: Layer) -> Leaving:
    p = add_params(layer.op, layer.ins, layer.out)  # type: ignore[arg-type]
    return Leaving(p.output[0], -p.output[1], zero_of(layer.out), *p.bounds)


def _exact(layer: Layer) -> bool:
    p = add_params(layer.op, layer.ins, layer.out)  # type: ignore[arg-type]
    # one input halved, neither nor the sum shifted to the left
    halved = (1 << 30, 0) in p.inputs
    return halved and all(shift <= 0 for _, shift in p.inputs) and _leaving(layer).exact(1 << 28)


def _limits(layer: Layer) -> Iterator[str]:
    leaving = _leaving(layer)
    if leaving.low > -128:
        yield f"const tk_q32 low = tk_all_q32({leaving.low});"
    if leaving.high < 127:
        yield f"const tk_q32 high = tk_all_q32({leaving.high});"


def _vector(layer: Layer, at: int, count: int) -> Iterator[str]:
    """C statements for some elements, a block of their own."""
    p = add_params(layer.op, layer.ins, layer.out)  # type: ignore[arg-type]
    leaving = _leaving(layer)
    half, other = (0, 1) if p.inputs[0] == (1 << 30, 0) else (1, 0)
    signs = (1, -1 if layer.kind == "sub" else 1)
    zeros = [zero_of(t) for t in layer.ins]  # type: ignore[arg-type]
    names = [f"in + {at}" if at else "in", f"in1 + {at}" if at else "in1"]
    load = "tk_load_4({})" if count == LANES else f"tk_load_some({{}}, {count})"
    mantissa, shift = p.inputs[other]
    yield "{"
    yield f"    tk_q32 x = (({load.format(names[other])} - {zeros[other]}) << 20);"
    yield f"    const tk_q32 y = ({load.format(names[half])} - {zeros[half]}) << 19;"
    yield f"    x = tk_vqrdmulh_all(x, {mantissa});"
    if shift:
        yield "    x += x >> 31;"
        yield f"    x = tk_vrshl_all(x, {shift});"
    first, second = ("x", "y") if other == 0 else ("y", "x")
    yield f"    x = {first} {'-' if signs[1] < 0 else '+'} {second};"
    yield f"    x = tk_vqrdmulh_all(x, {leaving.mantissa});"
    if leaving.signed:
        yield "    x += x >> 31;"
    yield f"    x = tk_vrshl_all(x, {-leaving.right}) + {leaving.zero};"
    if leaving.low > -128:
        yield "    x = tk_vmax(x, low);"
    if leaving.high < 127:
        yield "    x = tk_vmin(x, high);"
    if leaving.low == -128 or leaving.high == 127:
        yield "    x = tk_saturated(x);"
    to = f"out + {at}" if at else "out"
    yield f"    tk_store_4({to}, x);" if count == LANES else f"    tk_store_some({to}, x, {count});"
    yield "}"

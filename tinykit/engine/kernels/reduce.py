"""mean, sum and reduce_max in C."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinykit.engine.codegen import OpContext, codegen
from tinykit.engine.kernels.elementwise import SUFFIX, merged
from tinykit.graph.ir import Op, Tensor
from tinykit.graph.ops.pointwise import zero_of
from tinykit.graph.ops.reduce import axes_of, check, rescale_params


def reduce_fields(data: Tensor, axes: Sequence[int], ctx: OpContext) -> dict[str, list[int]]:
    """The sizes and steps of ``struct tk_reduce``: dimensions that stay, and that go."""
    steps, step = [0] * len(data.shape), 1
    for i in reversed(range(len(data.shape))):
        steps[i] = step
        step *= data.shape[i]
    fields: dict[str, list[int]] = {}
    for name, dims in (
        ("kept", [i for i in range(len(data.shape)) if i not in axes]),
        ("gone", list(axes)),
    ):
        size, (walk,) = merged([data.shape[i] for i in dims], [steps[i] for i in dims])
        if len(size) > 4:
            ctx.unsupported(f"more than 4 dimensions {name}")
        fill = 4 - len(size)
        fields |= {name: [1] * fill + size, f"{name}_step": [0] * fill + walk}
    return fields


@codegen.register("mean", "sum", "reduce_max")
def reduce(op: Op, ins: Sequence[Tensor], outs: Sequence[Tensor], ctx: OpContext) -> str:
    data, output = ins[0], outs[0]
    check(op, ins, output, codegen.name)
    axes = axes_of(data, ins[1])
    count = 1
    for i in axes:
        count *= data.shape[i]
    if not data.size:
        ctx.unsupported("an empty input")
    ctx.use("reduce")
    fields: dict[str, Any] = dict(reduce_fields(data, axes, ctx))
    if op.kind == "reduce_max":
        function = "max"
    elif output.dtype == "float32":
        function = "sum"
        fields["divisor"] = float(count if op.kind == "mean" else 1)
    else:
        function = "sum"
        mantissa, shift = rescale_params(op, data, output, count)
        fields |= {
            "offset": -zero_of(data) * count,
            "mantissa": mantissa,
            "shift": shift,
            "out_offset": zero_of(output),
        }
    params = ctx.struct("tk_reduce", **fields)
    suffix = SUFFIX[output.dtype]
    return f"tk_{function}_{suffix}({params}, {ctx.input(0)}, {ctx.output()});"

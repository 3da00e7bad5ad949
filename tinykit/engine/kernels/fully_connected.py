"""fully_connected in C."""

from __future__ import annotations

from collections.abc import Sequence

from tinykit.engine.codegen import OpContext, codegen
from tinykit.engine.kernels.conv import bias_field, optional, output_fields, suffix_for
from tinykit.graph.ir import Op, Tensor


@codegen.register("fully_connected")
def fully_connected(op: Op, ins: Sequence[Tensor], outs: Sequence[Tensor], ctx: OpContext) -> str:
    data, weights, output = ins[0], ins[1], outs[0]
    bias = optional(ins, 2)
    suffix = suffix_for(data, weights, bias, output, ctx)
    channels, depth = weights.shape
    offset = 0
    if weights.quant is not None and weights.quant.scale.size == 1:
        offset = -int(weights.quant.zero_point[0])
    activation = op.attrs["fused_activation_function"]
    ctx.use("fully_connected")
    params = ctx.struct(
        "tk_conv",
        window={"batches": data.size // depth, "out_c": channels},
        depth=depth,
        filter_offset=offset,
        weights=ctx.input(1),
        bias=bias_field(bias, suffix, ctx),
        **output_fields(data, weights, output, activation, ctx),
    )
    return f"tk_fully_connected_{suffix}({params}, {ctx.input(0)}, {ctx.output()});"

"""average_pool_2d and max_pool_2d in C."""

from __future__ import annotations

from collections.abc import Sequence

from tinykit.engine.codegen import OpContext, codegen
from tinykit.engine.kernels.conv import window_fields
from tinykit.graph.fixedpoint import activation_range
from tinykit.graph.ir import Op, Tensor


@codegen.register("average_pool_2d", "max_pool_2d")
def pool(op: Op, ins: Sequence[Tensor], outs: Sequence[Tensor], ctx: OpContext) -> str:
    data, output = ins[0], outs[0]
    suffix = {"int8": "s8", "int16": "s16", "float32": "f32"}.get(data.dtype)
    if suffix is None or output.dtype != data.dtype:
        ctx.unsupported(f"{data.dtype} inputs with {output.dtype} outputs")
    if data.quant is not None and output.quant is not None:
        apart = abs(float(data.quant.scale[0]) - float(output.quant.scale[0]))
        if apart > 1e-6 or data.quant.zero_point[0] != output.quant.zero_point[0]:
            ctx.unsupported("an output that is quantized otherwise than the input")
    low, high = activation_range(op.attrs["fused_activation_function"], output.dtype, output.quant)
    limits = {"low_real": float(low), "high_real": float(high)}
    if suffix != "f32":
        limits = {"low": int(low), "high": int(high)}
    size = (op.attrs["filter_height"], op.attrs["filter_width"])
    ctx.use("pool")
    params = ctx.struct("tk_pool", window=window_fields(data, output, size, op), **limits)
    kind = op.kind.removesuffix("_2d")
    return f"tk_{kind}_{suffix}({params}, {ctx.input(0)}, {ctx.output()});"

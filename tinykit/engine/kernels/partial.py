"""pixel_sum and pixel_mean in C: a mean over an image that arrives a few rows at a time."""

from __future__ import annotations

from collections.abc import Sequence

from tinykit.engine.codegen import OpContext, codegen
from tinykit.graph.fixedpoint import activation_range
from tinykit.graph.ir import Op, Tensor
from tinykit.graph.ops.pointwise import zero_of
from tinykit.graph.ops.reduce import rescale_params


@codegen.register("pixel_sum", internal=True)
def pixel_sum(op: Op, ins: Sequence[Tensor], outs: Sequence[Tensor], ctx: OpContext) -> str:
    data = ins[0]
    if data.dtype != "int8" or data.shape[0] != 1:
        ctx.unsupported(f"{data.dtype} inputs of shape {data.shape}")
    ctx.use("partial")
    _, height, width, channels = data.shape
    before = ctx.input(1) if len(ins) > 1 else "0"
    return (
        f"tk_pixel_sum_s8({ctx.input(0)}, {height * width}, {channels}, {before}, {ctx.output()});"
    )


@codegen.register("pixel_mean", internal=True)
def pixel_mean(op: Op, ins: Sequence[Tensor], outs: Sequence[Tensor], ctx: OpContext) -> str:
    sums, output, count = ins[0], outs[0], op.attrs["count"]
    if output.dtype != "int8":
        ctx.unsupported(f"{output.dtype} outputs")
    ctx.use("partial")
    if op.attrs["stands_for"] == "mean":
        mantissa, shift = rescale_params(Op("mean", (), ()), sums, output, count)
        return (
            f"tk_pixel_scale_s8({ctx.input(0)}, {sums.size}, {zero_of(sums) * count}, {mantissa}, "
            f"{shift}, {zero_of(output)}, {ctx.output()});"
        )
    low, high = activation_range(op.attrs["fused_activation_function"], output.dtype, output.quant)
    return f"tk_pixel_mean_s8({ctx.input(0)}, {sums.size}, {count}, {low}, {high}, {ctx.output()});"

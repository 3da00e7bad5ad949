"""transpose_conv in C."""

from __future__ import annotations

from collections.abc import Sequence

from tinykit.engine.codegen import OpContext, codegen
from tinykit.engine.kernels.conv import bias_field, optional, output_fields, suffix_for
from tinykit.graph.fixedpoint import pad_before
from tinykit.graph.ir import Op, Tensor


@codegen.register("transpose_conv")
def transpose_conv(op: Op, ins: Sequence[Tensor], outs: Sequence[Tensor], ctx: OpContext) -> str:
    """Inputs: output shape, filter, data, bias."""
    weights, data, output = ins[1], ins[2], outs[0]
    bias = optional(ins, 3)
    suffix = suffix_for(data, weights, bias, output, ctx)
    if suffix == "s4":
        ctx.unsupported("int4 weights")
    if suffix == "s16_narrow":
        ctx.unsupported("an int32 bias for int16 inputs (int64 is meant)")
    window = {"batches": data.shape[0], "out_c": output.shape[3]}
    for i, axis in ((1, "h"), (2, "w")):
        stride, taps = op.attrs[f"stride_{axis}"], weights.shape[i]
        pad = 0
        if op.attrs["padding"] == "same":  # the padding of the convolution that this undoes
            pad = pad_before(output.shape[i], taps, stride, data.shape[i])
        window |= {
            f"in_{axis}": data.shape[i],
            f"out_{axis}": output.shape[i],
            f"filter_{axis}": taps,
            f"stride_{axis}": stride,
            f"pad_{axis}": pad,
        }
    ctx.use("transpose_conv")
    params = ctx.struct(
        "tk_conv",
        window=window,
        depth=data.shape[3],
        weights=ctx.input(1),
        bias=bias_field(bias, suffix, ctx),
        **output_fields(data, weights, output, op.attrs["fused_activation_function"], ctx),
    )
    return f"tk_transpose_conv_{suffix}({params}, {ctx.input(2)}, {ctx.output()});"

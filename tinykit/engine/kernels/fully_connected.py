"""fully_connected in C."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinykit.engine.codegen import OpContext, codegen
from tinykit.engine.kernels.conv import bias_field, output_fields, suffix_for
from tinykit.graph.fixedpoint import quantize_multiplier
from tinykit.graph.ir import Op, Tensor


def _multipliers(
    data: Tensor, weights: Tensor, output: Tensor
) -> tuple[np.ndarray, np.ndarray] | None:
    """TFLite rounds the product of two per-tensor scales to float32 before it divides."""
    if data.quant is None or weights.quant is None or output.quant is None:
        return None
    scale, scales = data.quant.scale[0], weights.quant.scale
    product = np.float64(scale) * scales.astype(np.float64)
    if scales.size == 1:
        product = np.float64(scale * scales)
    return quantize_multiplier(product / np.float64(output.quant.scale[0]))


@codegen.register("fully_connected")
def fully_connected(op: Op, ins: Sequence[Tensor], outs: Sequence[Tensor], ctx: OpContext) -> str:
    data, weights, output = ins[0], ins[1], outs[0]
    suffix = suffix_for(data, weights, output, ctx)
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
        bias=bias_field(ins, 2, suffix, ctx),
        **output_fields(
            data, weights, output, activation, ctx, _multipliers(data, weights, output)
        ),
    )
    return f"tk_fully_connected_{suffix}({params}, {ctx.input(0)}, {ctx.output()});"

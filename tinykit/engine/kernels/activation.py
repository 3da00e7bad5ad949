"""relu and its kin, logistic, tanh and hard_swish in C."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinykit.engine import ctext
from tinykit.engine.codegen import OpContext, codegen
from tinykit.engine.kernels import lookup
from tinykit.graph.fixedpoint import quantize_multiplier, quantize_value
from tinykit.graph.fixedpoint_math import sigmoid_table
from tinykit.graph.ir import Op, Tensor, integer_range
from tinykit.graph.ops.activation import TYPES, sigmoidal_int16_params
from tinykit.graph.ops.pointwise import check_types, quant_of, scale_of, zero_of

FLOAT_LIMITS = {"relu": (0.0, np.inf), "relu6": (0.0, 6.0), "relu_n1_to_1": (-1.0, 1.0)}


@codegen.register(*TYPES)
def activation(op: Op, ins: Sequence[Tensor], outs: Sequence[Tensor], ctx: OpContext) -> str:
    data, output = ins[0], outs[0]
    check_types(op, data, output, TYPES[op.kind], codegen.name)
    if data.dtype == "float32":
        return _float(op, data, ctx)
    if data.dtype == "int8":
        return lookup.write(op, data, output, ctx)
    if op.kind in ("logistic", "tanh"):
        return _sigmoid_int16(op, data, output, ctx)
    return _rescaled_int16(op, data, output, ctx)


def _float(op: Op, data: Tensor, ctx: OpContext) -> str:
    ctx.use("activation")
    operands = f"{ctx.input(0)}, {ctx.output()}, {data.size}"
    if op.kind in FLOAT_LIMITS:
        low, high = map(ctext.number, FLOAT_LIMITS[op.kind])
        return f"tk_limit_f32({operands}, {low}, {high});"
    if op.kind == "leaky_relu":
        return f"tk_leaky_relu_f32({operands}, {ctext.number(np.float32(op.attrs['alpha']))});"
    return f"tk_{op.kind}_f32({operands});"


def _sigmoid_int16(op: Op, data: Tensor, output: Tensor, ctx: OpContext) -> str:
    multiplier, shift = sigmoidal_int16_params(op, data, output)
    ctx.use("sigmoid")
    params = ctx.struct(
        "tk_sigmoid",
        table=ctx.array(sigmoid_table(), "uint16_t", "65536 / (1 + exp(-i / 24))"),
        multiplier=multiplier,
        shift=shift,
    )
    return f"tk_{op.kind}_s16({params}, {ctx.input(0)}, {ctx.output()}, {data.size});"


def _rescaled_int16(op: Op, data: Tensor, output: Tensor, ctx: OpContext) -> str:
    """relu, relu6, relu_n1_to_1 and leaky_relu: a change of scale and limits."""
    low, high = integer_range("int16")
    slope = scale_of(data) / scale_of(output)
    below, zero = slope, zero_of(output)
    if op.kind == "relu6":  # which, as in TFLite Micro, keeps its input's scale
        low, high = zero_of(data), min(high, quantize_value(6.0, quant_of(data)))
        slope = below = 1.0
        zero = zero_of(data)
    elif op.kind == "leaky_relu":
        below = scale_of(data) * float(np.float32(op.attrs["alpha"])) / scale_of(output)
    else:
        floor, ceiling = FLOAT_LIMITS[op.kind]
        low = max(low, quantize_value(floor, quant_of(output)))
        if np.isfinite(ceiling):
            high = min(high, quantize_value(ceiling, quant_of(output)))
    above_scale, below_scale = quantize_multiplier(slope), quantize_multiplier(below)
    ctx.use("rescale")
    params = ctx.struct(
        "tk_rescale",
        in_offset=-zero_of(data),
        out_offset=zero,
        low=low,
        high=high,
        mantissa=above_scale[0],
        shift=above_scale[1],
        below_mantissa=below_scale[0],
        below_shift=below_scale[1],
    )
    return f"tk_rescale_s16_s16({params}, {ctx.input(0)}, {ctx.output()}, {data.size});"

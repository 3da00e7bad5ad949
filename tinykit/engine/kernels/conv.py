"""conv_2d and depthwise_conv_2d in C."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinykit.engine import ctext
from tinykit.engine.codegen import OpContext, codegen
from tinykit.graph.fixedpoint import activation_range, conv_multipliers, pad_first
from tinykit.graph.ir import Op, Tensor


def window_fields(data: Tensor, output: Tensor, size: tuple[int, int], op: Op) -> dict[str, Any]:
    """The fields of ``struct tk_window`` for a window of `size` over `data`."""
    fields: dict[str, Any] = {"batches": data.shape[0]}
    for i, axis in enumerate("hw"):
        stride = op.attrs[f"stride_{axis}"]
        dilation = op.attrs.get(f"dilation_{axis}_factor", 1)
        length, made = data.shape[1 + i], output.shape[1 + i]
        fields |= {
            f"in_{axis}": length,
            f"out_{axis}": made,
            f"filter_{axis}": size[i],
            f"stride_{axis}": stride,
            f"dilation_{axis}": dilation,
            f"pad_{axis}": pad_first(
                op.attrs["padding"], i, length, size[i], stride, made, dilation
            ),
        }
    return fields | {"in_c": data.shape[3], "out_c": output.shape[3]}


def output_fields(
    data: Tensor,
    weights: Tensor,
    output: Tensor,
    activation: str,
    ctx: OpContext,
) -> dict[str, Any]:
    """The fields of ``struct tk_conv`` that take an accumulator to a stored output."""
    low, high = activation_range(activation, output.dtype, output.quant)
    if output.dtype == "float32":
        return {"low_real": float(low), "high_real": float(high)}
    if data.quant is None or weights.quant is None or output.quant is None:
        ctx.unsupported("integer tensors without quantization")
    mantissa, shift = conv_multipliers(data.quant, weights.quant, output.quant)
    narrow = output.dtype == "int8"
    return {
        "in_offset": -int(data.quant.zero_point[0]) if narrow else 0,
        "out_offset": int(output.quant.zero_point[0]) if narrow else 0,
        "low": int(low),
        "high": int(high),
        "per_channel": int(mantissa.size > 1),
        "mantissa": ctx.array(mantissa, "int32_t", "multipliers"),
        "shift": ctx.array(shift.astype(np.int8), "int8_t", "shifts"),
    }


def suffix_for(
    data: Tensor, weights: Tensor, bias: Tensor | None, output: Tensor, ctx: OpContext
) -> str:
    """The type suffix of the C kernel: s8, s4, s16, s16_narrow or f32.

    TFLite Micro accumulates int16 products in 64 bits, with an int32 bias in 32.
    """
    types = {
        ("int8", "int8"): "s8",
        ("int8", "int4"): "s4",
        ("int16", "int8"): "s16",
        ("float32", "float32"): "f32",
    }
    found = types.get((data.dtype, weights.dtype))
    if found is None or output.dtype != data.dtype:
        ctx.unsupported(
            f"{data.dtype} inputs with {weights.dtype} weights and {output.dtype} outputs"
        )
    if not weights.is_const:
        ctx.unsupported("weights that are computed; they must be constants")
    narrow = found == "s16" and bias is not None and bias.dtype == "int32"
    return "s16_narrow" if narrow else found


def optional(ins: Sequence[Tensor | None], number: int) -> Tensor | None:
    return ins[number] if len(ins) > number else None


def bias_field(bias: Tensor | None, suffix: str, ctx: OpContext) -> str:
    """C expression: the bias as the kernel reads it, or a null pointer when there is none."""
    if bias is None:
        return "0"
    dtype = {"f32": "float32", "s16": "int64"}.get(suffix, "int32")
    if bias.data is None:
        ctx.unsupported("a bias that is computed; it must be constant")
    if bias.dtype != dtype:
        ctx.unsupported(f"{bias.dtype} bias where the {suffix} kernel takes {dtype}")
    return ctx.array(bias.data, ctext.C_TYPES[dtype], ctext.describe(bias))


@codegen.register("conv_2d")
def conv_2d(op: Op, ins: Sequence[Tensor], outs: Sequence[Tensor], ctx: OpContext) -> str:
    data, weights, output = ins[0], ins[1], outs[0]
    bias = optional(ins, 2)
    suffix = suffix_for(data, weights, bias, output, ctx)
    _, height, width, depth = weights.shape
    ctx.use("conv")
    params = ctx.struct(
        "tk_conv",
        window=window_fields(data, output, (height, width), op),
        groups=data.shape[3] // depth,
        depth=depth,
        weights=ctx.input(1),
        bias=bias_field(bias, suffix, ctx),
        **output_fields(data, weights, output, op.attrs["fused_activation_function"], ctx),
    )
    return f"tk_conv_{suffix}({params}, {ctx.input(0)}, {ctx.output()});"


@codegen.register("depthwise_conv_2d")
def depthwise_conv_2d(op: Op, ins: Sequence[Tensor], outs: Sequence[Tensor], ctx: OpContext) -> str:
    data, weights, output = ins[0], ins[1], outs[0]
    bias = optional(ins, 2)
    suffix = suffix_for(data, weights, bias, output, ctx)
    if suffix == "s16_narrow":
        ctx.unsupported("an int32 bias for int16 inputs (int64 is meant)")
    ctx.use("depthwise")
    params = ctx.struct(
        "tk_conv",
        window=window_fields(data, output, (weights.shape[1], weights.shape[2]), op),
        multiplier=op.attrs["depth_multiplier"],
        weights=ctx.input(1),
        bias=bias_field(bias, suffix, ctx),
        **output_fields(data, weights, output, op.attrs["fused_activation_function"], ctx),
    )
    return f"tk_depthwise_{suffix}({params}, {ctx.input(0)}, {ctx.output()});"

"""quantize and dequantize in C."""

from __future__ import annotations

from collections.abc import Sequence

from tinykit.engine.codegen import OpContext, codegen
from tinykit.engine.kernels import lookup
from tinykit.engine.kernels.elementwise import SUFFIX
from tinykit.graph.ir import Op, Tensor, integer_range
from tinykit.graph.ops.pointwise import check_types, quant_of, zero_of
from tinykit.graph.ops.quantize import DEQUANTIZE_TYPES, QUANTIZE_TYPES, requantize_params


@codegen.register("quantize")
def quantize(op: Op, ins: Sequence[Tensor], outs: Sequence[Tensor], ctx: OpContext) -> str:
    data, output = ins[0], outs[0]
    check_types(op, data, output, QUANTIZE_TYPES, codegen.name)
    low, high = integer_range(output.dtype)
    operands = f"{ctx.input(0)}, {ctx.output()}, {data.size}"
    if data.dtype == "float32":
        ctx.use("quantize")
        params = ctx.struct(
            "tk_quantize",
            scale=float(quant_of(output).scale[0]),
            zero=zero_of(output),
            low=low,
            high=high,
        )
        return f"tk_quantize_{SUFFIX[output.dtype]}({params}, {operands});"
    if data.numpy_dtype.itemsize == output.numpy_dtype.itemsize == 1:
        return lookup.write(op, data, output, ctx)
    mantissa, shift = requantize_params(data, output)
    ctx.use("rescale")
    params = ctx.struct(
        "tk_rescale",
        in_offset=-zero_of(data),
        out_offset=zero_of(output),
        low=low,
        high=high,
        mantissa=mantissa,
        shift=shift,
        below_mantissa=mantissa,
        below_shift=shift,
    )
    name = f"tk_rescale_{SUFFIX[data.dtype]}_{SUFFIX[output.dtype]}"
    return f"{name}({params}, {operands});"


@codegen.register("dequantize")
def dequantize(op: Op, ins: Sequence[Tensor], outs: Sequence[Tensor], ctx: OpContext) -> str:
    data, output = ins[0], outs[0]
    check_types(op, data, output, DEQUANTIZE_TYPES, codegen.name)
    ctx.use("quantize")
    params = ctx.struct("tk_quantize", scale=float(quant_of(data).scale[0]), zero=zero_of(data))
    suffix = {"int8": "s8", "uint8": "u8", "int16": "s16"}[data.dtype]
    return f"tk_dequantize_{suffix}({params}, {ctx.input(0)}, {ctx.output()}, {data.size});"

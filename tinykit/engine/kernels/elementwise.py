"""add, sub and mul in C."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinykit.engine.codegen import OpContext, codegen
from tinykit.graph.fixedpoint import activation_range
from tinykit.graph.ir import Op, Tensor
from tinykit.graph.ops.elementwise import add_params, check, mul_params, plain_bounds
from tinykit.graph.ops.pointwise import zero_of

SUFFIX = {"int8": "s8", "int16": "s16", "int32": "s32", "float32": "f32"}


def strides(shape: Sequence[int], rank: int) -> list[int]:
    """Element steps along each of `rank` dimensions; 0 where `shape` is repeated."""
    steps, step = [], 1
    for size in reversed(shape):
        steps.append(step if size > 1 else 0)
        step *= size
    return [0] * (rank - len(shape)) + steps[::-1]


def merged(size: Sequence[int], *steps: Sequence[int]) -> tuple[list[int], list[list[int]]]:
    """The same walk over fewer dimensions.

    Dimensions of one element go; neighbours that every array walks as one become one.
    """
    made: list[int] = []
    kept: list[list[int]] = [[] for _ in steps]
    for i, length in enumerate(size):
        if length == 1:
            continue
        if made and all(k[-1] == s[i] * length for k, s in zip(kept, steps, strict=True)):
            made[-1] *= length
            for k, s in zip(kept, steps, strict=True):
                k[-1] = s[i]
            continue
        made.append(length)
        for k, s in zip(kept, steps, strict=True):
            k.append(s[i])
    return made, kept


def broadcast_fields(
    a: Tensor, b: Tensor, output: Tensor, ctx: OpContext
) -> dict[str, Sequence[int]]:
    """The fields of ``struct tk_broadcast``."""
    rank = len(output.shape)
    size, (a_step, b_step) = merged(output.shape, strides(a.shape, rank), strides(b.shape, rank))
    if len(size) > 4:
        ctx.unsupported("broadcasting over more than 4 dimensions")
    fill = 4 - len(size)
    return {
        "size": [1] * fill + size,
        "a_step": [0] * fill + a_step,
        "b_step": [0] * fill + b_step,
    }


def plain(op: Op, ins: Sequence[Tensor], output: Tensor, what: str, ctx: OpContext) -> str:
    low, high = plain_bounds(op, output)
    limits: dict[str, Any] = {"low": int(low), "high": int(high)}
    if output.dtype == "float32":
        limits = {"low_real": float(low), "high_real": float(high)}
    params = ctx.struct(
        "tk_plain",
        shape=broadcast_fields(ins[0], ins[1], output, ctx),
        what=f"'{what}'",
        **limits,
    )
    return call(f"tk_plain_{SUFFIX[output.dtype]}", params, ctx)


def call(function: str, params: str, ctx: OpContext) -> str:
    return f"{function}({params}, {ctx.input(0)}, {ctx.input(1)}, {ctx.output()});"


@codegen.register("add", "sub")
def add(op: Op, ins: Sequence[Tensor], outs: Sequence[Tensor], ctx: OpContext) -> str:
    output = outs[0]
    check(op, ins, output, codegen.name)
    ctx.use("elementwise")
    if output.dtype in ("float32", "int32"):
        return plain(op, ins, output, "+" if op.kind == "add" else "-", ctx)
    p = add_params(op, ins, output)
    (a_mantissa, a_shift), (b_mantissa, b_shift) = p.inputs
    params = ctx.struct(
        "tk_add",
        shape=broadcast_fields(ins[0], ins[1], output, ctx),
        subtract=int(op.kind == "sub"),
        left_shift=p.left_shift,
        a_offset=-zero_of(ins[0]),
        a_mantissa=a_mantissa,
        a_shift=a_shift,
        b_offset=-zero_of(ins[1]),
        b_mantissa=b_mantissa,
        b_shift=b_shift,
        out_offset=zero_of(output),
        out_mantissa=p.output[0],
        out_shift=p.output[1],
        low=p.bounds[0],
        high=p.bounds[1],
    )
    return call(f"tk_add_{SUFFIX[output.dtype]}", params, ctx)


@codegen.register("mul")
def mul(op: Op, ins: Sequence[Tensor], outs: Sequence[Tensor], ctx: OpContext) -> str:
    output = outs[0]
    check(op, ins, output, codegen.name)
    ctx.use("elementwise")
    if output.dtype in ("float32", "int32"):
        return plain(op, ins, output, "*", ctx)
    mantissa, shift = mul_params(op, ins, output)
    low, high = activation_range(op.attrs["fused_activation_function"], output.dtype, output.quant)
    params = ctx.struct(
        "tk_mul",
        shape=broadcast_fields(ins[0], ins[1], output, ctx),
        a_offset=-zero_of(ins[0]),
        b_offset=-zero_of(ins[1]),
        out_offset=zero_of(output),
        mantissa=mantissa,
        shift=shift,
        low=int(low),
        high=int(high),
    )
    return call(f"tk_mul_{SUFFIX[output.dtype]}", params, ctx)

"""Ops that only rearrange elements, in C: pads, slices, joins, transposes, blocks, shapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinykit.engine.codegen import OpContext, codegen
from tinykit.engine.copies import block_positions, constant, copy_op, fill, whole
from tinykit.engine.ctext import C_TYPES
from tinykit.graph.ir import Op, Tensor
from tinykit.graph.ops.slice import numpy_index

Ins = Sequence[Tensor]


@codegen.register("reshape", "squeeze", "expand_dims")
def reshape(op: Op, ins: Ins, outs: Ins, ctx: OpContext) -> str:
    """Only called where input and output do not share memory."""
    return copy_op(ctx, lambda source: source.reshape(outs[0].shape), whole)


@codegen.register("transpose")
def transpose(op: Op, ins: Ins, outs: Ins, ctx: OpContext) -> str:
    order = [int(a) for a in constant(ctx, 1, "a permutation")]
    return copy_op(ctx, lambda source: source.transpose(order), whole)


@codegen.register("strided_slice")
def strided_slice(op: Op, ins: Ins, outs: Ins, ctx: OpContext) -> str:
    begin, end, strides = (
        [int(v) for v in constant(ctx, n, what)]
        for n, what in ((1, "a begin"), (2, "an end"), (3, "a stride"))
    )
    index = numpy_index(ins[0].shape, begin, end, strides, op.attrs)
    if Ellipsis not in index:
        index = (*index, Ellipsis)  # a view even of a single element
    return copy_op(ctx, lambda source: source[index], whole)


@codegen.register("split")
def split(op: Op, ins: Ins, outs: Ins, ctx: OpContext) -> str:
    """Inputs: the axis, then the data."""
    axis, parts = int(constant(ctx, 0, "an axis").ravel()[0]), op.attrs["num_splits"]

    def part(n: int) -> Any:
        return lambda source: np.split(source, parts, axis)[n]

    return "\n".join(copy_op(ctx, part(n), whole, 1, n) for n in range(parts))


@codegen.register("pack")
def pack(op: Op, ins: Ins, outs: Ins, ctx: OpContext) -> str:
    def part(n: int) -> Any:
        return lambda sink: np.moveaxis(sink, op.attrs["axis"], 0)[n, ...]

    return "\n".join(copy_op(ctx, whole, part(n), n) for n in range(len(ins)))


@codegen.register("concatenation")
def concatenation(op: Op, ins: Ins, outs: Ins, ctx: OpContext) -> str:
    axis = op.attrs["axis"] % len(outs[0].shape)
    if op.attrs["fused_activation_function"] != "none":
        ctx.unsupported("a fused activation")
    lines, at = [], 0

    def part(start: int, stop: int) -> Any:
        return lambda sink: sink[(slice(None),) * axis + (slice(start, stop),)]

    for n, tensor in enumerate(ins):
        if tensor.dtype != outs[0].dtype:
            ctx.unsupported(f"{tensor.dtype} inputs with {outs[0].dtype} outputs")
        lines.append(copy_op(ctx, whole, part(at, at + tensor.shape[axis]), n))
        at += tensor.shape[axis]
    return "\n".join(lines)


@codegen.register("pad", "padv2")
def pad(op: Op, ins: Ins, outs: Ins, ctx: OpContext) -> str:
    pads = constant(ctx, 1, "a padding").reshape(-1, 2)
    value = constant(ctx, 2, "a value").ravel()[0] if len(ins) > 2 else _zero(outs[0])
    inner = tuple(slice(int(a), int(a) + d) for (a, _), d in zip(pads, ins[0].shape, strict=True))
    return fill(ctx, value) + "\n" + copy_op(ctx, whole, lambda sink: sink[inner])


@codegen.register("space_to_batch_nd")
def space_to_batch_nd(op: Op, ins: Ins, outs: Ins, ctx: OpContext) -> str:
    """One copy for each position in a block: every b-th row from there is an image of its own."""
    block = [int(b) for b in constant(ctx, 1, "a block shape")]
    before = [int(p[0]) for p in constant(ctx, 2, "a padding").reshape(-1, 2)]
    batch, size = ins[0].shape[0], ins[0].shape[1 : 1 + len(block)]
    made = outs[0].shape[1 : 1 + len(block)]
    lines = [fill(ctx, _zero(outs[0]))]
    for position in block_positions(block):
        source: list[slice] = [slice(None)]
        sink: list[slice] = [slice(None)]
        for at, b, pad, d, out in zip(position, block, before, size, made, strict=True):
            first = max(-(-(pad - at) // b), 0)  # output rows before this one are padding
            last = min((d - 1 + pad - at) // b + 1, out)
            start = first * b + at - pad
            source.append(slice(start, start + max(last - first, 0) * b, b))
            sink.append(slice(first, max(last, first)))
        lines.append(
            copy_op(ctx, _indexed(source), _in_blocks(position, block, batch, sink, outs[0].shape))
        )
    return "\n".join(lines)


@codegen.register("batch_to_space_nd")
def batch_to_space_nd(op: Op, ins: Ins, outs: Ins, ctx: OpContext) -> str:
    block = [int(b) for b in constant(ctx, 1, "a block shape")]
    before = [int(c[0]) for c in constant(ctx, 2, "a crop").reshape(-1, 2)]
    batch, size = outs[0].shape[0], outs[0].shape[1 : 1 + len(block)]
    lines = []
    for position in block_positions(block):
        source: list[slice] = [slice(None)]
        sink: list[slice] = [slice(None)]
        for at, b, crop, d in zip(position, block, before, size, strict=True):
            first = max(-(-(crop - at) // b), 0)
            last = max((d - 1 + crop - at) // b + 1, first)
            start = first * b + at - crop
            source.append(slice(first, last))
            sink.append(slice(start, start + (last - first) * b, b))
        lines.append(
            copy_op(ctx, _in_blocks(position, block, batch, source, ins[0].shape), _indexed(sink))
        )
    return "\n".join(lines)


@codegen.register("shape")
def shape(op: Op, ins: Ins, outs: Ins, ctx: OpContext) -> str:
    ctype = C_TYPES[outs[0].dtype]
    values = ctx.array(np.array(ins[0].shape, outs[0].numpy_dtype), ctype)
    return f"__builtin_memcpy({ctx.output()}, {values}, {outs[0].nbytes});"


def _zero(tensor: Tensor) -> int:
    return 0 if tensor.quant is None else int(tensor.quant.zero_point[0])


def _indexed(index: Sequence[slice]) -> Any:
    return lambda array: array[tuple(index)]


def _in_blocks(
    position: tuple[int, ...],
    block: list[int],
    batch: int,
    index: Sequence[slice],
    shape: Sequence[int],
) -> Any:
    """View: of the images that came from `position` in each block, what `index` takes."""
    return lambda array: array.reshape(*block, batch, *shape[1:])[(*position, *index)]

"""Ops that only rearrange, as strided copies.

What goes where is said in numpy: make a `stand_in` for each tensor, take views of the two (sliced,
transposed, reshaped), and `copy` reads from the views' strides what C has to do.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from tinykit.engine.codegen import OpContext
from tinykit.engine.ctext import C_TYPES
from tinykit.graph.ir import Tensor

MAX_RANK = 8


def stand_in(tensor: Tensor) -> np.ndarray:
    """An uninitialised array laid out as `tensor` is in the arena."""
    return np.empty(tensor.shape, tensor.numpy_dtype)


def copy(
    source: np.ndarray,
    source_view: np.ndarray,
    sink: np.ndarray,
    sink_view: np.ndarray,
    from_: str,
    to: str,
    ctx: OpContext,
) -> str:
    """The C statement that copies `source_view` to `sink_view`, views of equal shape.

    Parameters
    ----------
    source, sink : the arrays that the views look into
    from_, to : C expressions that point to them
    """
    if source_view.shape != sink_view.shape:
        raise ValueError(f"cannot copy {source_view.shape} to {sink_view.shape}")
    if source_view.size == 0:
        return ""
    axes, unit = _merge(source_view, sink_view)
    if len(axes) > MAX_RANK:
        ctx.unsupported(f"a rearrangement with {len(axes)} independent axes")
    rows = [{"size": size, "from_step": out, "to_step": into} for size, out, into in axes]
    ctx.use("copy")
    params = ctx.struct(
        "tk_copy",
        from_at=_address(source_view) - _address(source),
        to_at=_address(sink_view) - _address(sink),
        unit=unit,
        rank=len(axes),
        axes=ctx.structs("tk_axis", rows),
    )
    return f"tk_copy({params}, {from_}, {to});"


def copy_op(ctx: OpContext, source_view: Any, sink_view: Any, number: int = 0, out: int = 0) -> str:
    """Copy from input `number` to output `out`; each view is a function of its stand-in."""
    index = ctx.op.inputs[number]
    assert index is not None
    source = stand_in(ctx.graph.tensors[index])
    sink = stand_in(ctx.graph.tensors[ctx.op.outputs[out]])
    return copy(
        source, source_view(source), sink, sink_view(sink), ctx.input(number), ctx.output(out), ctx
    )


def whole(array: np.ndarray) -> np.ndarray:
    return array


def fill(ctx: OpContext, value: Any, out: int = 0) -> str:
    """The C statement that sets every element of output `out` to `value`."""
    tensor = ctx.graph.tensors[ctx.op.outputs[out]]
    element = np.asarray([value], tensor.numpy_dtype)
    name = ctx.array(element, C_TYPES[tensor.dtype])
    ctx.use("copy")
    return f"tk_fill({ctx.output(out)}, {name}, {element.itemsize}, {tensor.size});"


def constant(ctx: OpContext, number: int, what: str) -> np.ndarray:
    """The value of input `number`, which decides the shape of the code."""
    index = ctx.op.inputs[number]
    data = None if index is None else ctx.graph.tensors[index].data
    if data is None:
        ctx.unsupported(f"{what} that is computed; it must be constant")
    return data


def _address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def _merge(source: np.ndarray, sink: np.ndarray) -> tuple[list[tuple[int, int, int]], int]:
    """Axes (size, source step, sink step), outermost first, and bytes that lie together.

    Neighbouring axes that both sides cross in one even stride become one; innermost axes that both
    hold without gaps become part of the unit.
    """
    merged: list[tuple[int, int, int]] = []
    for size, out, into in zip(source.shape, source.strides, sink.strides, strict=True):
        if size == 1:
            continue
        if merged and merged[-1][1] == out * size and merged[-1][2] == into * size:
            merged[-1] = (merged[-1][0] * size, out, into)
        else:
            merged.append((size, out, into))
    unit = source.itemsize
    if merged and merged[-1][1] == unit and merged[-1][2] == unit:
        unit *= merged.pop()[0]
    return merged or [(1, 0, 0)], unit


def block_positions(block: list[int]) -> list[tuple[int, ...]]:
    return list(itertools.product(*map(range, block)))

"""Ops that only rename axes or read shapes: reshape, squeeze, expand_dims, transpose, shape."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tinykit.graph.errors import GraphError
from tinykit.graph.ir import Op, Tensor
from tinykit.graph.ops.constants import axis_of, given, values
from tinykit.graph.registry import Shape, define_op, reference

Ins = Sequence[Tensor | None]


@define_op("reshape", arity=(1, 2), attrs={"new_shape": None})
def reshape_shape(ins: Ins, attrs: Mapping[str, Any]) -> list[Shape | None]:
    data = given(ins[0])
    wanted: Sequence[int] | None = attrs["new_shape"]
    if len(ins) > 1 and ins[1] is not None:
        wanted = values(ins[1])
        if wanted is None:
            return [None]
    if wanted is None:
        raise GraphError("reshape needs a shape, as its second input or as new_shape")
    shape = [int(d) for d in wanted]
    if shape.count(-1) > 1 or any(d < -1 for d in shape):
        raise GraphError(f"{tuple(shape)} is no shape")
    rest = math.prod(d for d in shape if d != -1)
    if -1 in shape and rest:
        shape[shape.index(-1)] = data.size // rest
    if math.prod(shape) != data.size:
        raise GraphError(f"{data.shape} cannot be reshaped to {tuple(wanted)}")
    return [tuple(shape)]


@define_op("squeeze", arity=(1, 1), attrs={"squeeze_dims": ()})
def squeeze_shape(ins: Ins, attrs: Mapping[str, Any]) -> list[Shape]:
    shape = given(ins[0]).shape
    axes = {axis_of(a, len(shape)) for a in attrs["squeeze_dims"] or ()}
    if long := [a for a in sorted(axes) if shape[a] != 1]:
        raise GraphError(f"axis {long[0]} of {shape} cannot be squeezed")
    axes = axes or {a for a, d in enumerate(shape) if d == 1}
    return [tuple(d for a, d in enumerate(shape) if a not in axes)]


@define_op("expand_dims", arity=(2, 2))
def expand_dims_shape(ins: Ins, attrs: Mapping[str, Any]) -> list[Shape | None]:
    shape = given(ins[0]).shape
    axis = values(ins[1], 1)
    if axis is None:
        return [None]
    at = axis_of(axis[0], len(shape) + 1)
    return [(*shape[:at], 1, *shape[at:])]


@define_op("transpose", arity=(2, 2))
def transpose_shape(ins: Ins, attrs: Mapping[str, Any]) -> list[Shape | None]:
    shape = given(ins[0]).shape
    order = values(ins[1], len(shape))
    if order is None:
        return [None]
    order = [axis_of(a, len(shape)) for a in order]
    if sorted(order) != list(range(len(shape))):
        raise GraphError(f"{order} is no permutation of the axes of {shape}")
    return [tuple(shape[a] for a in order)]


@define_op("shape", arity=(1, 1))
def shape_shape(ins: Ins, attrs: Mapping[str, Any]) -> list[Shape]:
    return [(len(given(ins[0]).shape),)]


@reference.register("reshape", "squeeze", "expand_dims")
def reshape(
    op: Op, ins: Sequence[Tensor], outs: Sequence[Tensor], args: Sequence[np.ndarray]
) -> list[np.ndarray]:
    return [args[0].reshape(outs[0].shape)]


@reference.register("transpose")
def transpose(
    op: Op, ins: Sequence[Tensor], outs: Sequence[Tensor], args: Sequence[np.ndarray]
) -> list[np.ndarray]:
    return [np.ascontiguousarray(args[0].transpose([int(a) for a in args[1]]))]


@reference.register("shape")
def shape(
    op: Op, ins: Sequence[Tensor], outs: Sequence[Tensor], args: Sequence[np.ndarray]
) -> list[np.ndarray]:
    return [np.array(args[0].shape, outs[0].numpy_dtype)]

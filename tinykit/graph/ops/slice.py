"""Ops that cut and join: strided_slice, split, pack, concatenation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tinykit.graph.errors import GraphError
from tinykit.graph.ir import Op, Tensor
from tinykit.graph.ops.constants import axis_of, given, values
from tinykit.graph.registry import Shape, define_op, reference

Ins = Sequence[Tensor | None]
#: most parts of a split
MOST_PARTS = 1 << 16
MASKS = ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask")


def numpy_index(
    shape: Shape,
    begin: Sequence[int],
    end: Sequence[int],
    strides: Sequence[int],
    attrs: Mapping[str, Any],
) -> tuple[Any, ...]:
    """The numpy index that takes what strided_slice takes (masks as TensorFlow defines them)."""
    if not len(begin) == len(end) == len(strides):
        raise GraphError("begin, end and strides should have the same length")
    if 0 in strides:
        raise GraphError("a stride of 0")

    def masked(mask: str, i: int) -> bool:
        return bool(attrs[mask] >> i & 1)

    taken = sum(
        not masked("new_axis_mask", i) and not masked("ellipsis_mask", i) for i in range(len(begin))
    )
    if taken > len(shape):
        raise GraphError(f"{taken} slices of {len(shape)} axes")
    index: list[Any] = []
    axis = 0
    for i, (start, stop, stride) in enumerate(zip(begin, end, strides, strict=True)):
        if masked("ellipsis_mask", i):
            index.append(Ellipsis)
            axis += len(shape) - taken
            continue
        if masked("new_axis_mask", i):
            index.append(None)
            continue
        size = shape[axis]
        axis += 1
        first = slice(None if masked("begin_mask", i) else start, None, stride).indices(size)[0]
        if masked("shrink_axis_mask", i):
            if not 0 <= first < size:
                raise GraphError(f"element {start} of an axis of {size}")
            index.append(first)
            continue
        last: int | None = stop + (first if attrs["offset"] else 0)
        if masked("end_mask", i):
            last = None
        index.append(slice(None if masked("begin_mask", i) else start, last, stride))
    return tuple(index)


@define_op("strided_slice", arity=(4, 4), attrs={**dict.fromkeys(MASKS, 0), "offset": False})
def strided_slice_shape(ins: Ins, attrs: Mapping[str, Any]) -> list[Shape | None]:
    shape = given(ins[0]).shape
    begin, end, strides = (values(t) for t in ins[1:])
    if begin is None or end is None or strides is None:
        return [None]
    index = numpy_index(shape, begin, end, strides, attrs)
    return [np.broadcast_to(np.int8(0), shape)[index].shape]


@reference.register("strided_slice")
def strided_slice(
    op: Op, ins: Sequence[Tensor], outs: Sequence[Tensor], args: Sequence[np.ndarray]
) -> list[np.ndarray]:
    begin, end, strides = ([int(v) for v in a] for a in args[1:])
    index = numpy_index(ins[0].shape, begin, end, strides, op.attrs)
    return [np.array(args[0][index])]


@define_op("split", arity=(2, 2), attrs={"num_splits": 1})
def split_shape(ins: Ins, attrs: Mapping[str, Any]) -> list[Shape | None]:
    """Inputs: the axis, then the data."""
    shape, parts = given(ins[1]).shape, attrs["num_splits"]
    axes = values(ins[0], 1)
    if not 1 <= parts <= MOST_PARTS:
        raise GraphError(f"{parts} splits")
    if axes is None:
        return [None] * parts
    axis = axis_of(axes[0], len(shape))
    if shape[axis] % parts:
        raise GraphError(f"{shape[axis]} elements cannot be split into {parts} equal parts")
    return [(*shape[:axis], shape[axis] // parts, *shape[axis + 1 :])] * parts


@reference.register("split")
def split(
    op: Op, ins: Sequence[Tensor], outs: Sequence[Tensor], args: Sequence[np.ndarray]
) -> list[np.ndarray]:
    parts = np.split(args[1], op.attrs["num_splits"], axis=int(args[0].ravel()[0]))
    return [np.ascontiguousarray(p) for p in parts]


@define_op("pack", arity=(1, 1 << 16), attrs={"values_count": 1, "axis": 0})
def pack_shape(ins: Ins, attrs: Mapping[str, Any]) -> list[Shape]:
    shapes = [given(t).shape for t in ins]
    if len(shapes) != attrs["values_count"] or len(set(shapes)) != 1:
        raise GraphError(f"{attrs['values_count']} equal shapes to pack, got {shapes}")
    axis = axis_of(attrs["axis"], len(shapes[0]) + 1)
    return [(*shapes[0][:axis], len(shapes), *shapes[0][axis:])]


@reference.register("pack")
def pack(
    op: Op, ins: Sequence[Tensor], outs: Sequence[Tensor], args: Sequence[np.ndarray]
) -> list[np.ndarray]:
    return [np.stack(args, axis=op.attrs["axis"])]


@define_op(
    "concatenation",
    arity=(1, 1 << 16),
    attrs={"axis": 0, "fused_activation_function": "none"},
)
def concatenation_shape(ins: Ins, attrs: Mapping[str, Any]) -> list[Shape]:
    shapes = [given(t).shape for t in ins]
    axis = axis_of(attrs["axis"], len(shapes[0]))
    if len({(len(s), s[:axis], s[axis + 1 :]) for s in shapes}) != 1:
        raise GraphError(f"{shapes} cannot be joined along axis {axis}")
    if attrs["fused_activation_function"] != "none":
        raise GraphError("concatenation takes no fused activation")
    return [(*shapes[0][:axis], sum(s[axis] for s in shapes), *shapes[0][axis + 1 :])]


@reference.register("concatenation")
def concatenation(
    op: Op, ins: Sequence[Tensor], outs: Sequence[Tensor], args: Sequence[np.ndarray]
) -> list[np.ndarray]:
    # TFLite Micro copies stored values whatever the inputs' scales; converters make them equal
    return [np.concatenate(args, axis=op.attrs["axis"])]

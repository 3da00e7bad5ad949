"""Ops that move numbers and change none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinykit.formats.torch_ops.tracer import (
    NHWC,
    Call,
    Const,
    Tracer,
    Value,
    handles,
    stored_shape,
)
from tinykit.graph.ir import Tensor

#: where torch's axis is in a tensor stored as NHWC
STORED_AXIS = {0: 0, 1: 3, 2: 1, 3: 2}


@handles(
    "view.default",
    "reshape.default",
    "_unsafe_view.default",
    "flatten.using_ints",
    "squeeze.default",
    "squeeze.dim",
    "squeeze.dims",
    "unsqueeze.default",
)
def reshape(t: Tracer, call: Call, x: Value, *_: Any) -> Value:
    shape = call.shape
    if x.shape == shape:
        return x
    if x.layout == "nhwc":
        n, c, h, w = x.shape
        if c > 1 and h * w > 1:
            if shape == (n, c * h * w):
                return Value(t.reshape(x.index, shape, call), shape, "hwc", (c, h, w))
            return Value(t.reshape(t.plain(x, call), shape, call), shape)
        # one channel or one pixel: both orders are the same
        return Value(t.reshape(x.index, shape, call), shape)
    return Value(t.reshape(t.plain(x, call), shape, call), shape)


@handles("permute.default")
def permute(t: Tracer, call: Call, x: Value, order: Sequence[int]) -> Value:
    order = [a % len(x.shape) for a in order]
    if x.layout != "nhwc":
        return Value(t.transpose(t.plain(x, call), order, call), call.shape)
    stored = [STORED_AXIS[a] for a in order]
    index = x.index if stored == [0, 1, 2, 3] else t.transpose(x.index, stored, call)
    return Value(index, call.shape)


@handles("transpose.int", "transpose_.int")
def transpose(t: Tracer, call: Call, x: Value, a: int, b: int) -> Value:
    order = list(range(len(x.shape)))
    order[a], order[b] = order[b], order[a]
    return permute(t, call, x, order)


@handles("pad.default", "constant_pad_nd.default")
def pad(
    t: Tracer,
    call: Call,
    x: Value,
    pads: Sequence[int],
    mode: Any = "constant",
    value: float | None = None,
) -> Value:
    if isinstance(mode, int | float):  # constant_pad_nd has no mode
        mode, value = "constant", mode
    if mode != "constant" or any(p < 0 for p in pads):
        raise call.unsupported(f"{mode} padding by {list(pads)}; only constant padding outwards")
    rank = len(x.shape)
    rows = np.zeros((rank, 2), np.int32)
    for k in range(len(pads) // 2):  # torch counts from the last axis
        rows[rank - 1 - k] = pads[2 * k], pads[2 * k + 1]
    if not rows.any():
        return x
    if x.layout == "nhwc":
        rows, layout, index = rows[list(NHWC)], "nhwc", x.index
    else:
        layout, index = "plain", t.plain(x, call)
    shape = stored_shape(call.shape, layout)
    if value:
        filler = t.const(np.array([value], np.float32))
        made = t.op("padv2", [index, t.const(rows), filler], shape, call)
    else:
        made = t.op("pad", [index, t.const(rows)], shape, call)
        if index in t.activations:
            t.activations[made] = t.activations[index]
    return Value(made, call.shape, layout)


@handles("cat.default", "concat.default")
def cat(t: Tracer, call: Call, parts: Sequence[Value | Const], dim: int = 0) -> Value:
    axis = dim % len(call.shape)
    values = [p for p in parts if isinstance(p, Value)]
    nhwc = any(v.layout == "nhwc" for v in values)
    layout = "nhwc" if nhwc else "plain"

    def tensor(part: Value | Const) -> int:
        if isinstance(part, Const):
            data = part.data.astype(np.float32)
            return t.const(data.transpose(NHWC) if nhwc else data)
        return t.nhwc(part, call) if nhwc else t.plain(part, call)

    made = t.op(
        "concatenation",
        [tensor(p) for p in parts],
        stored_shape(call.shape, layout),
        call,
        axis=STORED_AXIS[axis] if nhwc else axis,
    )
    return Value(made, call.shape, layout)


@handles("chunk.default")
def chunk(t: Tracer, call: Call, x: Value, count: int, dim: int = 0) -> list[Value]:
    size = x.shape[dim]
    return _split(t, call, x, _pieces(size, -(-size // count)), dim)


@handles("split.Tensor")
def split(t: Tracer, call: Call, x: Value, size: int, dim: int = 0) -> list[Value]:
    return _split(t, call, x, _pieces(x.shape[dim], size), dim)


@handles("split_with_sizes.default", "split.sizes")
def split_sizes(t: Tracer, call: Call, x: Value, sizes: Sequence[int], dim: int = 0) -> list[Value]:
    return _split(t, call, x, sizes, dim)


def _pieces(size: int, piece: int) -> list[int]:
    return [min(piece, size - start) for start in range(0, size, piece)]


def _split(t: Tracer, call: Call, x: Value, sizes: Sequence[int], dim: int) -> list[Value]:
    axis = dim % len(x.shape)
    nhwc = x.layout == "nhwc"
    index = x.index if nhwc else t.plain(x, call)
    layout, at = ("nhwc", STORED_AXIS[axis]) if nhwc else ("plain", axis)
    shapes = [(*x.shape[:axis], s, *x.shape[axis + 1 :]) for s in sizes]
    stored = [stored_shape(s, layout) for s in shapes]
    if len(set(sizes)) == 1:
        made = t.build.op_multi(
            "split",
            [t.const(np.array(at, np.int32)), index],
            [Tensor(f"{call.name}/{k}", s, "float32") for k, s in enumerate(stored)],
            name=call.name,
            num_splits=len(sizes),
        )
    else:
        made, start = [], 0
        full = t.build.tensors[index].shape
        for shape in stored:
            begin, end = [0] * len(full), list(full)
            begin[at], end[at] = start, start + shape[at]
            start = end[at]
            args = [index, t.ints(begin), t.ints(end), t.ints([1] * len(full))]
            made.append(t.op("strided_slice", args, shape, call))
    if index in t.activations:
        t.activations.update(dict.fromkeys(made, t.activations[index]))
    return [Value(i, s, layout) for i, s in zip(made, shapes, strict=True)]


@handles("slice.Tensor")
def slice_tensor(
    t: Tracer,
    call: Call,
    x: Value,
    dim: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> Value:
    if call.shape == x.shape:
        return x
    axis = dim % len(x.shape)
    nhwc = x.layout == "nhwc"
    index = x.index if nhwc else t.plain(x, call)
    layout, at = ("nhwc", STORED_AXIS[axis]) if nhwc else ("plain", axis)
    full = t.build.tensors[index].shape
    first, last, _ = slice(start, end).indices(x.shape[axis])
    begin, stop, strides = [0] * len(full), list(full), [1] * len(full)
    begin[at], stop[at], strides[at] = first, last, step
    args = [index, t.ints(begin), t.ints(stop), t.ints(strides)]
    made = t.op("strided_slice", args, stored_shape(call.shape, layout), call)
    if index in t.activations:
        t.activations[made] = t.activations[index]
    return Value(made, call.shape, layout)

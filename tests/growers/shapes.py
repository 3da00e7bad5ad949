"""Ops that rename, cut, join, pad and resize."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tests.growers import grows, image

if TYPE_CHECKING:
    from tests.strategies import Grower


@grows("reshape", "int8 int16 float32 int32")
def reshape(g: Grower, kind: str) -> bool:
    x = g.pick()
    if x is None:
        return False
    rest, shape = g.t(x).size, []
    for _ in range(g.integer(0, 3)):
        shape.append(g.choose([d for d in range(1, rest + 1) if rest % d == 0]))
        rest //= shape[-1]
    shape.append(rest)
    if g.flag():
        shape[g.integer(0, len(shape) - 1)] = -1
    if g.flag():
        return g.add(kind, [x, g.ints(*shape)], g.like(x))
    return g.add(kind, [x], g.like(x), new_shape=tuple(shape))


@grows("squeeze", "int8 int16 float32 int32")
def squeeze(g: Grower, kind: str) -> bool:
    x = g.pick(lambda t: t.size > 1)
    if x is None:
        return False
    ones = [a for a, d in enumerate(g.t(x).shape) if d == 1]
    dims = tuple(a for a in ones if g.flag())
    return g.add(kind, [x], g.like(x), squeeze_dims=dims)


@grows("expand_dims", "int8 int16 float32")
def expand_dims(g: Grower, kind: str) -> bool:
    x = g.pick(lambda t: len(t.shape) < 4)
    if x is None:
        return False
    rank = len(g.t(x).shape)
    return g.add(kind, [x, g.ints(g.integer(-rank - 1, rank))], g.like(x))


@grows("transpose", "int8 int16 float32")
def transpose(g: Grower, kind: str) -> bool:
    x = g.pick()
    if x is None:
        return False
    order = list(range(len(g.t(x).shape)))
    for i in range(len(order) - 1):  # a shuffle that hypothesis can shrink
        j = g.integer(i, len(order) - 1)
        order[i], order[j] = order[j], order[i]
    return g.add(kind, [x, g.ints(*order)], g.like(x))


@grows("strided_slice", "int8 int16 float32 int32")
def strided_slice(g: Grower, kind: str) -> bool:
    x = g.pick()
    if x is None:
        return False
    begin, end, strides = [], [], []
    masks = {"begin_mask": 0, "end_mask": 0, "shrink_axis_mask": 0}
    for i, size in enumerate(g.t(x).shape):
        stride = g.choose([1, 1, 2, 3, -1, -2])
        first = g.integer(0, size - 1)
        last = g.integer(first + 1, size + 2) if stride > 0 else g.integer(-1, first - 1)
        if stride < 0 and last == -1:
            last = -size - 1  # before the first element; -1 itself would mean the last
        begin.append(first - size if g.flag() else first)
        end.append(last - size if last > 0 and last < size and g.flag() else last)
        strides.append(stride)
        for mask in ("begin_mask", "end_mask"):
            masks[mask] |= g.flag() << i
        if len(g.t(x).shape) > 1 and g.integer(0, 3) == 0:
            masks["shrink_axis_mask"] |= 1 << i
            strides[-1] = 1
            masks["begin_mask"] &= ~(1 << i)
    if masks["shrink_axis_mask"] == (1 << len(begin)) - 1:
        masks["shrink_axis_mask"] &= ~1
    tables = [g.ints(*begin), g.ints(*end), g.ints(*strides)]
    return g.add(kind, [x, *tables], g.like(x), **masks)


@grows("split", "int8 int16 float32 int32")
def split(g: Grower, kind: str) -> bool:
    x = g.pick()
    if x is None:
        return False
    shape = g.t(x).shape
    axis = g.integer(0, len(shape) - 1)
    parts = g.choose([n for n in range(1, min(shape[axis], 4) + 1) if shape[axis] % n == 0])
    axis -= len(shape) if g.flag() else 0
    return g.add(kind, [g.ints(axis), x], g.like(x), num_splits=parts)


def companions(g: Grower, x: int, fits: Any, shape: Any) -> list[int]:
    """`x` and one to three more of equal quantization: live tensors that fit, or constants."""
    found = [x]
    for _ in range(g.integer(1, 3)):
        other = g.pick(lambda t: fits(t) and (t.quant is None or t.quant.same_as(g.like(x))))
        if other is None or g.flag():
            other = g.const(g.values(shape(), g.dtype), g.like(x), dtype=g.dtype)
        found.insert(g.integer(0, len(found)), other)
    return found


@grows("pack", "int8 int16 float32 int32")
def pack(g: Grower, kind: str) -> bool:
    x = g.pick(lambda t: len(t.shape) < 4)
    if x is None:
        return False
    shape = g.t(x).shape
    parts = companions(g, x, lambda t: t.shape == shape, lambda: shape)
    axis = g.integer(-len(shape) - 1, len(shape))
    return g.add(kind, parts, g.like(x), values_count=len(parts), axis=axis)


@grows("concatenation", "int8 int16 float32 int32")
def concatenation(g: Grower, kind: str) -> bool:
    x = g.pick()
    if x is None:
        return False
    shape = g.t(x).shape
    axis = g.integer(0, len(shape) - 1)

    def without(s: tuple[int, ...]) -> tuple[int, ...]:
        return (len(s), *s[:axis], *s[axis + 1 :])

    def another() -> tuple[int, ...]:
        return (*shape[:axis], g.integer(1, 4), *shape[axis + 1 :])

    parts = companions(g, x, lambda t: without(t.shape) == without(shape), another)
    return g.add(kind, parts, g.like(x), axis=axis - (len(shape) if g.flag() else 0))


@grows("pad padv2", "int8 int16 float32 int32")
def pad(g: Grower, kind: str) -> bool:
    x = g.pick(largest=200)
    if x is None:
        return False
    pads = [[g.choose([0, 0, 1, 2]) for _ in range(2)] for _ in g.t(x).shape]
    inputs = [x, g.const(np.array(pads, np.int32))]
    if kind == "padv2":
        inputs.append(g.const(g.values((1,), g.dtype), g.like(x), dtype=g.dtype))
    return g.add(kind, inputs, g.like(x))


@grows("space_to_batch_nd", "int8 float32", images=True)
def space_to_batch_nd(g: Grower, kind: str) -> bool:
    x = g.pick(image, largest=300)
    if x is None:
        return False
    # no paddings: TFLite Micro fills them with whatever lies in its arena
    block = [g.choose([b for b in (1, 2, 3) if d % b == 0]) for d in g.t(x).shape[1:3]]
    return g.add(kind, [x, g.ints(*block), g.const(np.zeros((2, 2), np.int32))], g.like(x))


@grows("batch_to_space_nd", "int8 float32", images=True)
def batch_to_space_nd(g: Grower, kind: str) -> bool:
    x = g.pick(image)
    if x is None:
        return False
    batch, *size = g.t(x).shape[:3]
    high = g.choose([b for b in (1, 2, 3, 4) if batch % b == 0])
    wide = g.choose([b for b in (1, 2, 3, 4) if batch // high % b == 0])
    crops = []
    for s, b in zip(size, (high, wide), strict=True):
        first = g.integer(0, min(2, s * b - 1))
        crops.append([first, g.integer(0, min(2, s * b - 1 - first))])
    return g.add(kind, [x, g.ints(high, wide), g.const(np.array(crops, np.int32))], g.like(x))


@grows("resize_bilinear", "int8 float32", images=True)
def resize_bilinear(g: Grower, kind: str) -> bool:
    x = g.pick(image, largest=200)
    if x is None:
        return False
    size = g.ints(g.integer(1, 9), g.integer(1, 9))
    corners = g.flag()
    centres = g.flag() and (not corners or kind == "resize_nearest_neighbor")
    return g.add(kind, [x, size], g.like(x), align_corners=corners, half_pixel_centers=centres)


grows("resize_nearest_neighbor", "int8 int16 float32", images=True)(resize_bilinear)

"""space_to_batch_nd and batch_to_space_nd, by which TensorFlow expresses dilation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tinykit.graph.errors import GraphError
from tinykit.graph.ir import Op, Tensor
from tinykit.graph.ops.constants import given, pairs, values
from tinykit.graph.ops.padding import zero_of
from tinykit.graph.registry import Shape, define_op, reference

Ins = Sequence[Tensor | None]


def _read(ins: Ins) -> tuple[Shape, list[int], list[tuple[int, int]]] | None:
    """Input shape, block sizes, and the pair of paddings or crops of each block axis."""
    shape = given(ins[0]).shape
    block = values(ins[1])
    if block is None or (flat := values(ins[2], 2 * len(block))) is None:
        return None
    if not block or len(shape) < 1 + len(block) or min(block) < 1 or min(flat) < 0:
        raise GraphError(f"blocks {block} and paddings or crops {flat} do not fit {shape}")
    return shape, block, pairs(flat)


@define_op("space_to_batch_nd", arity=(3, 3))
def space_to_batch_nd_shape(ins: Ins, attrs: Mapping[str, Any]) -> list[Shape | None]:
    if (read := _read(ins)) is None:
        return [None]
    shape, block, pads = read
    space = [d + sum(p) for d, p in zip(shape[1:], pads, strict=False)]
    if any(d % b for d, b in zip(space, block, strict=True)):
        raise GraphError(f"{space} (padded) is no multiple of the blocks {block}")
    cut = [d // b for d, b in zip(space, block, strict=True)]
    return [(shape[0] * math.prod(block), *cut, *shape[1 + len(block) :])]


@define_op("batch_to_space_nd", arity=(3, 3))
def batch_to_space_nd_shape(ins: Ins, attrs: Mapping[str, Any]) -> list[Shape | None]:
    if (read := _read(ins)) is None:
        return [None]
    shape, block, crops = read
    if shape[0] % math.prod(block):
        raise GraphError(f"a batch of {shape[0]} is no multiple of the blocks {block}")
    space = [d * b - sum(c) for d, b, c in zip(shape[1:], block, crops, strict=False)]
    if min(space) < 0:
        raise GraphError(f"crops {crops} leave nothing of {shape}")
    return [(shape[0] // math.prod(block), *space, *shape[1 + len(block) :])]


@reference.register("space_to_batch_nd")
def space_to_batch_nd(
    op: Op, ins: Sequence[Tensor], outs: Sequence[Tensor], args: Sequence[np.ndarray]
) -> list[np.ndarray]:
    x, block = args[0], [int(b) for b in args[1]]
    rest = x.ndim - 1 - len(block)
    pads = [(0, 0), *pairs([int(v) for v in args[2].ravel()]), *[(0, 0)] * rest]
    x = np.pad(x, pads, constant_values=zero_of(outs[0]))
    split = [x.shape[0]]
    for d, b in zip(x.shape[1:], block, strict=False):
        split += [d // b, b]
    n = len(block)
    # batch grows by the blocks, outermost first: (block..., batch, space..., depth)
    order = [2 * i + 2 for i in range(n)] + [0] + [2 * i + 1 for i in range(n)]
    order += range(2 * n + 1, 2 * n + 1 + rest)
    x = x.reshape(*split, *x.shape[1 + n :]).transpose(order)
    return [x.reshape(outs[0].shape)]


@reference.register("batch_to_space_nd")
def batch_to_space_nd(
    op: Op, ins: Sequence[Tensor], outs: Sequence[Tensor], args: Sequence[np.ndarray]
) -> list[np.ndarray]:
    x, block = args[0], [int(b) for b in args[1]]
    n, batch = len(block), outs[0].shape[0]
    rest = x.ndim - 1 - n
    split = x.reshape(*block, batch, *x.shape[1:])
    order = [n]
    for i in range(n):
        order += [n + 1 + i, i]
    order += range(2 * n + 1, 2 * n + 1 + rest)
    space = [d * b for d, b in zip(x.shape[1:], block, strict=False)]
    x = split.transpose(order).reshape(batch, *space, *x.shape[1 + n :])
    index = [slice(None)]
    crops = pairs([int(v) for v in args[2].ravel()])
    index += [slice(a, d - b) for (a, b), d in zip(crops, space, strict=True)]
    return [np.ascontiguousarray(x[tuple(index)])]

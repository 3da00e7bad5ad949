"""Ops that cost nothing: their output is bytes that lie in the arena already.

Three kinds of them:

- an op that gives its input another shape (`ALIASES`);
- a slice or a split that takes bytes that lie together, a strip of rows say: its outputs are
  addresses inside its input;
- a concatenation along the outermost axis: its inputs are made inside its output.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np

from tinykit.graph.ir import Graph, Op, Tensor
from tinykit.graph.ops.slice import numpy_index

#: ops whose output is their first input under another shape
ALIASES = frozenset({"reshape", "squeeze", "expand_dims"})
#: a slice is a view only where it starts at a multiple of this many bytes, since kernels load words
WORD = 4


@dataclass
class Homes:
    """Which tensors share memory.

    Attributes
    ----------
    at : for each activation the tensor whose memory it lies in (often itself), and the offset there
    free : positions of the ops that cost nothing
    joins : positions of those among them whose inputs lie in the output
    """

    at: dict[int, tuple[int, int]] = field(default_factory=dict)
    free: set[int] = field(default_factory=set)
    joins: set[int] = field(default_factory=set)


def find_homes(
    graph: Graph, activations: Collection[int], plain: Collection[int], views: bool = True
) -> Homes:
    """Where tensors share memory.

    Parameters
    ----------
    activations : tensors that get memory at all
    plain : positions of the ops that no specialised kernel computes
    views : whether slices and concatenations are views too, not only ops of `ALIASES`
    """
    homes = Homes({i: (i, 0) for i in activations})
    groups = {i: [i] for i in activations}  # root -> everything that lies in it
    for position in sorted(plain):
        op = graph.ops[position]
        if views and op.kind == "concatenation":
            _join(graph, position, homes, groups)
            continue
        source, starts = _parts(graph, op, views)
        if source not in homes.at or not starts:
            continue
        root, base = homes.at[source]
        if any(i not in homes.at for i in op.outputs):
            continue
        for i, start in zip(op.outputs, starts, strict=True):
            homes.at[i] = (root, base + start)
            groups[root] += groups.pop(i)
        homes.free.add(position)
    return homes


def source_of(op: Op) -> int | None:
    """The input that a view lies in."""
    return op.inputs[1 if op.kind == "split" else 0]


def _parts(graph: Graph, op: Op, views: bool) -> tuple[int, list[int]]:
    """The tensor that the outputs lie in and the byte at which each starts; none: a copy."""
    source = source_of(op)
    if source is None or graph.tensors[source].is_const:
        return -1, []
    tensor, results = graph.tensors[source], [graph.tensors[i] for i in op.outputs]
    if any(t.is_const for t in results):
        return source, []
    if op.kind in ALIASES:
        return source, [0] if results[0].nbytes == tensor.nbytes else []
    if not views or tensor.size == 0 or tensor.nbytes != tensor.size * tensor.numpy_dtype.itemsize:
        return source, []
    if op.kind == "split":
        return source, _split(graph, op, tensor)
    if op.kind == "strided_slice":
        return source, _slice(graph, op, tensor, results[0])
    return source, []


def _slice(graph: Graph, op: Op, tensor: Tensor, result: Tensor) -> list[int]:
    limits = [None if i is None else graph.tensors[i].data for i in op.inputs[1:]]
    if any(d is None for d in limits) or result.size == 0:
        return []
    begin, end, strides = ([int(v) for v in d] for d in limits if d is not None)
    index = numpy_index(tensor.shape, begin, end, strides, op.attrs)
    # which elements: as numpy would take them from the tensor, without making it
    whole = np.lib.stride_tricks.as_strided(
        np.zeros(1, tensor.numpy_dtype), tensor.shape, _strides(tensor)
    )
    taken = whole[index if Ellipsis in index else (*index, Ellipsis)]
    start = taken.__array_interface__["data"][0] - whole.__array_interface__["data"][0]
    contiguous = taken.flags["C_CONTIGUOUS"] and taken.nbytes == result.nbytes
    return [start] if contiguous and start % WORD == 0 else []


def _split(graph: Graph, op: Op, tensor: Tensor) -> list[int]:
    axis = None if op.inputs[0] is None else graph.tensors[op.inputs[0]].data
    if axis is None or math.prod(tensor.shape[: int(axis.ravel()[0]) % len(tensor.shape)]) != 1:
        return []
    step = tensor.nbytes // len(op.outputs)
    return [] if step % WORD else [step * n for n in range(len(op.outputs))]


def _join(graph: Graph, position: int, homes: Homes, groups: dict[int, list[int]]) -> None:
    """Put the inputs of a concatenation into its output, where that is possible for all."""
    op = graph.ops[position]
    (out,) = op.outputs
    tensor = graph.tensors[out]
    axis = op.attrs["axis"] % len(tensor.shape)
    if out not in homes.at or math.prod(tensor.shape[:axis]) != 1:
        return
    starts, roots, at = [], [], 0
    given = set(graph.inputs)
    for i in op.inputs:
        if i is None or i not in homes.at or graph.tensors[i].dtype != tensor.dtype or at % WORD:
            return
        root, base = homes.at[i]
        size = graph.tensors[i].nbytes
        # a group moves as a whole, so nothing in it may reach beyond this input
        if base or root in roots or graph.tensors[root].nbytes != size or given & {*groups[root]}:
            return
        starts.append(at)
        roots.append(root)
        at += size
    if at != tensor.nbytes:
        return
    for root, start in zip(roots, starts, strict=True):
        for member in groups.pop(root):
            homes.at[member] = (out, homes.at[member][1] + start)
            groups[out].append(member)
    homes.free.add(position)
    homes.joins.add(position)


def _strides(tensor: Tensor) -> tuple[int, ...]:
    steps = [tensor.numpy_dtype.itemsize]
    for size in reversed(tensor.shape[1:]):
        steps.append(steps[-1] * size)
    return tuple(reversed(steps)) if tensor.shape else ()

"""The memory planner: where in the arena each activation lives, and when.

Planning is offline dynamic storage allocation: every activation is an interval in time (the ops
between which it lives) with a size, and overlapping intervals must not overlap in memory. The
problem is NP-hard; greedy placement by size with best fit (Lee and Pisarchyk, 2020, "Efficient
Memory Management for Deep Neural Net Inference") is optimal or near on most networks, and the lower
bound (the largest sum of sizes alive at one op) says how near.

Graph inputs and outputs live in the arena as well. Ops that only give their input another shape
(`ALIASES`) share its memory and cost nothing.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tinykit.graph.ir import Graph

if TYPE_CHECKING:
    from tinykit.engine.arrange import Step

#: every offset and the arena's size are multiples of this many bytes
ALIGNMENT = 16
#: ops whose output is their first input under another shape
ALIASES = frozenset({"reshape", "squeeze", "expand_dims"})


@dataclass(frozen=True)
class MemoryPlan:
    """The layout of one graph's arena.

    Attributes
    ----------
    arena_bytes : size of the arena
    offsets : byte offset in the arena, by tensor index; every activation has one
    lifetimes : first and last op (positions, inclusive) between which each tensor must be kept;
        graph inputs live from op 0, graph outputs to the last op
    live_bytes : for each op, bytes of the distinct buffers alive while it runs
    peak_op : position of the op at which most is alive; None in a graph without ops
    scratch : byte offset of the scratch memory of a step, by the position of its last op
    """

    arena_bytes: int
    offsets: dict[int, int]
    lifetimes: dict[int, tuple[int, int]]
    live_bytes: list[int]
    peak_op: int | None
    scratch: dict[int, int] = field(default_factory=dict)

    @property
    def lower_bound(self) -> int:
        """No layout of these lifetimes can be smaller than this many bytes."""
        return max(self.live_bytes, default=0)


@dataclass(frozen=True)
class Buffer:
    """One or more tensors that share memory, alive from op `first` to op `last`."""

    tensors: tuple[int, ...]
    size: int
    first: int
    last: int

    def meets(self, other: Buffer) -> bool:
        return self.first <= other.last and other.first <= self.last


def plan(graph: Graph, steps: Sequence[Step] | None = None, in_place: bool = True) -> MemoryPlan:
    """Lay out the activations of `graph`; deterministic.

    Parameters
    ----------
    steps : what computes it, with the memory that takes; by default one plain step an op
    in_place : whether outputs may lie over inputs that are read for the last time, where the
        kernels allow it
    """
    lifetimes = find_lifetimes(graph)
    inner: set[int] = set()
    scratch_of: dict[int, int] = {}  # negative buffer name -> step's last op
    for step in steps or ():
        first, last = step.positions[0], step.positions[-1]
        for position in step.positions[:-1]:
            inner.update(graph.ops[position].outputs)
        for position in step.positions:  # a chain reads its inputs and writes its output throughout
            for i in (*graph.ops[position].inputs, *graph.ops[position].outputs):
                if i in lifetimes:
                    start, end = lifetimes[i]
                    lifetimes[i] = (
                        min(start, first) if i in graph.ops[last].outputs else start,
                        max(end, last),
                    )
    lifetimes = {i: span for i, span in lifetimes.items() if i not in inner}
    buffers = _share(graph, lifetimes)
    for step in steps or ():
        if step.needs.scratch:
            first, last = step.positions[0], step.positions[-1]
            name = -1 - last
            scratch_of[name] = last
            buffers.append(Buffer((name,), _round_up(step.needs.scratch), first, last))
    live = [sum(b.size for b in buffers if b.first <= i <= b.last) for i in range(len(graph.ops))]
    places = place(buffers)
    offsets = {i: at for b, at in zip(buffers, places, strict=True) for i in b.tensors}
    total = max((at + b.size for b, at in zip(buffers, places, strict=True)), default=0)
    peak = max(range(len(live)), key=live.__getitem__) if live else None
    scratch = {last: offsets.pop(name) for name, last in scratch_of.items()}
    return MemoryPlan(total, offsets, lifetimes, live, peak, scratch)


def find_lifetimes(graph: Graph) -> dict[int, tuple[int, int]]:
    """First and last op for which each activation must be kept."""
    end = max(len(graph.ops) - 1, 0)
    span: dict[int, tuple[int, int]] = dict.fromkeys(graph.inputs, (0, 0))
    for position, op in enumerate(graph.ops):
        for i in (*op.inputs, *op.outputs):
            if i is not None and not graph.tensors[i].is_const:
                span[i] = (span.get(i, (position, 0))[0], position)
    for i in graph.outputs:
        if i in span:
            span[i] = (span[i][0], end)
    return span


def aliased(graph: Graph, position: int) -> bool:
    """Whether op `position` merely renames its first input's memory."""
    op = graph.ops[position]
    if op.kind not in ALIASES or op.inputs[0] is None:
        return False
    source, result = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]]
    return not source.is_const and source.nbytes == result.nbytes


def _share(graph: Graph, lifetimes: dict[int, tuple[int, int]]) -> list[Buffer]:
    home = {i: i for i in lifetimes}
    for position, op in enumerate(graph.ops):
        if aliased(graph, position):
            home[op.outputs[0]] = home[op.inputs[0]]  # type: ignore[index]
    groups: dict[int, list[int]] = {}
    for i, root in home.items():
        groups.setdefault(root, []).append(i)
    return [
        Buffer(
            tuple(members),
            _round_up(max(graph.tensors[i].nbytes for i in members)),
            min(lifetimes[i][0] for i in members),
            max(lifetimes[i][1] for i in members),
        )
        for members in groups.values()
    ]


def place(buffers: Sequence[Buffer]) -> list[int]:
    """An offset for each buffer so that no two that live at once overlap.

    Tries several greedy orders, and random changes of the best, until the lower bound is met or a
    fixed number of tries is spent.
    """
    if not buffers:
        return []
    ends = {b.last for b in buffers}
    bound = max(sum(b.size for b in buffers if b.first <= t <= b.last) for t in ends)
    neighbours = [
        [j for j, other in enumerate(buffers) if j != i and b.meets(other)]
        for i, b in enumerate(buffers)
    ]
    indices = range(len(buffers))
    orders = [
        sorted(indices, key=key)
        for key in (
            lambda i: (-buffers[i].size, buffers[i].first),
            lambda i: (-buffers[i].size * (buffers[i].last - buffers[i].first + 1), i),
            lambda i: (buffers[i].first, -buffers[i].size),
            lambda i: (-buffers[i].last, -buffers[i].size),
            lambda i: (buffers[i].first - buffers[i].last, -buffers[i].size),
        )
    ]
    tried = [(_fit(buffers, neighbours, order), order) for order in orders]
    (best, best_order) = min(tried, key=lambda t: t[0][1])
    rng = random.Random(0)
    tries = min(2000, 200_000 // len(buffers) ** 2)
    while best[1] > bound and tries > 0 and len(buffers) > 2:
        tries -= 1
        order = list(best_order)
        moved = order.pop(rng.randrange(len(order)))
        order.insert(rng.randrange(len(order) + 1), moved)
        attempt = _fit(buffers, neighbours, order)
        if attempt[1] <= best[1]:
            best, best_order = attempt, order
    return best[0]


def _fit(
    buffers: Sequence[Buffer], neighbours: list[list[int]], order: Sequence[int]
) -> tuple[list[int], int]:
    """Place in `order`, each in the smallest gap that holds it; (offsets, total size)."""
    at: list[int | None] = [None] * len(buffers)
    total = 0
    for i in order:
        size = buffers[i].size
        taken = sorted(
            (start, start + buffers[j].size) for j in neighbours[i] if (start := at[j]) is not None
        )
        spot, gap, reach = None, None, 0
        for start, end in taken:
            room = start - reach
            if room >= size and (gap is None or room < gap):
                spot, gap = reach, room
            reach = max(reach, end)
        at[i] = reach if spot is None else spot
        total = max(total, at[i] + size)  # type: ignore[operator]
    return [a for a in at if a is not None], total


def _round_up(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT

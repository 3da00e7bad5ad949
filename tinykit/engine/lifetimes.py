"""When each byte of an activation is needed: from the step that writes it to its last reader.

Time is counted in steps of the program (an op, or a chain of ops that one function computes). What
lies in the same memory (`tinykit.engine.views`) forms one `Body`, a rigid arrangement of `Part`\\ s
each with a life of its own: rows of a strip are free as soon as the last strip that needs them is
done, and rows of an output are taken only from when they are made.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tinykit.engine.views import WORD, Homes, source_of
from tinykit.graph.ir import Graph

if TYPE_CHECKING:
    from tinykit.engine.arrange import Step

#: graph inputs and outputs, the scratch memory and the arena itself are aligned to this many bytes
ALIGNMENT = 16


@dataclass(frozen=True)
class Part:
    """Bytes of a body that are needed from step `first` to step `last` (inclusive)."""

    tensors: tuple[int, ...]
    offset: int
    size: int
    first: int
    last: int


@dataclass(frozen=True)
class Body:
    """What has to be placed as one: an activation and all that lies in it, or scratch memory.

    Attributes
    ----------
    tensors : byte offset in the body by tensor
    align : its address is a multiple of this
    """

    tensors: dict[int, int]
    parts: tuple[Part, ...]
    align: int = WORD

    @property
    def size(self) -> int:
        return max(part.offset + part.size for part in self.parts)

    @property
    def first(self) -> int:
        return min(part.first for part in self.parts)

    @property
    def last(self) -> int:
        return max(part.last for part in self.parts)


def find_lifetimes(graph: Graph) -> dict[int, tuple[int, int]]:
    """First and last op for which each activation must be kept, if every op is a step and no two
    activations share memory."""
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


def reads_of(graph: Graph, step: Step) -> list[int]:
    """The activations that a step's function takes, in order, repeated ones repeated."""
    inner = {i for position in step.positions[:-1] for i in graph.ops[position].outputs}
    return [
        i
        for position in step.positions
        for i in graph.ops[position].inputs
        if i is not None and i not in inner and not graph.tensors[i].is_const
    ]


def spans(graph: Graph, steps: Sequence[Step], homes: Homes) -> dict[int, tuple[int, int]]:
    """First and last step that need each activation; the last of a graph output is beyond all."""
    first = {i: 0 for i in graph.inputs if i in homes.at}
    last = dict(first)
    for t, step in enumerate(steps):
        position = step.positions[-1]
        op = graph.ops[position]
        view = position in homes.free and position not in homes.joins
        source = source_of(op) if view else None
        for i in reads_of(graph, step):
            first.setdefault(i, t)  # nothing writes it: a graph that is not valid
            last.setdefault(i, t)
            if i != source:  # a view's outputs are these very bytes and keep them
                last[i] = max(last[i], t)
        for i in op.outputs:
            if i in homes.at:
                first[i] = last[i] = t if source is None else first[source]
    for i in graph.outputs:
        if i in last:
            last[i] = len(steps)
    return {i: (first[i], last[i]) for i in first}


def bodies_of(
    graph: Graph, steps: Sequence[Step], homes: Homes, life: dict[int, tuple[int, int]]
) -> list[Body]:
    """Everything that needs a place: activations first, then the scratch memory of steps, which is
    called ``-1 - t`` for step t."""
    members: dict[int, dict[int, int]] = {}
    for i in life:
        root, offset = homes.at[i]
        members.setdefault(root, {})[i] = offset
    seen = {*graph.inputs, *graph.outputs}
    bodies = []
    for inside in members.values():
        align = WORD
        for i in inside:
            if i in seen:
                align = ALIGNMENT
            elif graph.tensors[i].dtype == "int64":
                align = max(align, 8)
        bodies.append(Body(inside, tuple(_parts(graph, inside, life)), align))
    for t, step in enumerate(steps):
        if step.needs.scratch:
            name, size = -1 - t, round_up(step.needs.scratch)
            bodies.append(Body({name: 0}, (Part((name,), 0, size, t, t),), ALIGNMENT))
    return bodies


def round_up(size: int, unit: int = WORD) -> int:
    return -(-size // unit) * unit


def _parts(
    graph: Graph, inside: dict[int, int], life: dict[int, tuple[int, int]]
) -> Iterable[Part]:
    """Tensors of equal bytes are one part; their lives touch, as one is made of the other."""
    same: dict[tuple[int, int], list[int]] = {}
    for i, offset in inside.items():
        same.setdefault((offset, round_up(graph.tensors[i].nbytes)), []).append(i)
    for (offset, size), tensors in same.items():
        first, last = min(life[i][0] for i in tensors), max(life[i][1] for i in tensors)
        yield Part(tuple(tensors), offset, size, first, last)

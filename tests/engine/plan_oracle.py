"""A check of memory plans that shares nothing with the planner: the program run on labels.

Every byte of every activation gets a label of its own, ops that cost nothing pass labels on, and
the arena holds the label that was written to each byte last. Whatever a step reads must still be
there.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinykit.engine.arrange import Program, Step
from tinykit.engine.plan import MemoryPlan
from tinykit.graph import Graph
from tinykit.graph.ir import Op
from tinykit.graph.ops.slice import numpy_index

#: what scratch memory holds when a step is done
GARBAGE = -1


def check_plan(program: Program) -> None:
    """AssertionError where a step would read what another has written over."""
    check_layout(program.graph, program.steps, program.plan)


def check_layout(graph: Graph, steps: Sequence[Step], plan: MemoryPlan) -> None:
    arena = np.full(plan.arena_bytes, GARBAGE, np.int64)
    labels: dict[int, np.ndarray] = {}
    fresh = 0

    def place_of(i: int) -> slice:
        start, size = plan.offsets[i], graph.tensors[i].nbytes
        assert start >= 0, i
        assert start + size <= plan.arena_bytes, i
        return slice(start, start + size)

    def make(i: int) -> np.ndarray:
        nonlocal fresh
        tensor = graph.tensors[i]
        shape = (*tensor.shape, tensor.numpy_dtype.itemsize)
        made = np.arange(fresh, fresh + tensor.nbytes).reshape(shape)
        fresh += tensor.nbytes
        return made

    def intact(i: int) -> None:
        assert np.array_equal(arena[place_of(i)], labels[i].ravel()), graph.tensors[i].name

    for i in graph.inputs:
        labels[i] = make(i)
        arena[place_of(i)] = labels[i].ravel()
        assert plan.offsets[i] % 16 == 0
    for step in steps:
        last = step.positions[-1]
        op = graph.ops[last]
        reads = activations_read(graph, step)
        if last in plan.free:  # nothing is read: what of an input is not passed on may be gone
            assert len(step.positions) == 1
            for i, passed in zip(op.outputs, _passed_on(graph, op, labels), strict=True):
                labels[i] = passed
                intact(i)
            continue
        for i in reads:
            intact(i)
        busy = [place_of(i) for i in op.outputs]
        if step.needs.scratch:
            start = plan.scratch[last]
            assert start % 16 == 0
            assert start + step.needs.scratch <= plan.arena_bytes
            busy.append(slice(start, start + step.needs.scratch))
            assert all(_apart(busy[-1], place_of(i)) for i in reads)
        assert all(_apart(a, b) for n, a in enumerate(busy) for b in busy[:n])
        for i in op.outputs:
            for number, source in enumerate(reads):
                if not _apart(place_of(i), place_of(source)):
                    ahead = plan.offsets[source] - plan.offsets[i]
                    assert len(op.outputs) == 1
                    assert ahead >= step.needs.lead[number], (graph.op_name(last), number)
                    assert ahead % step.needs.grain == 0, (graph.op_name(last), number)
        if step.needs.scratch:
            arena[busy.pop()] = GARBAGE
        for i, place in zip(op.outputs, busy, strict=True):
            labels[i] = make(i)
            arena[place] = labels[i].ravel()
            assert plan.offsets[i] % 4 == 0
    for i in graph.outputs:
        if not graph.tensors[i].is_const:
            intact(i)
            assert plan.offsets[i] % 16 == 0 or any(i in graph.ops[p].outputs for p in plan.free)
    assert plan.arena_bytes % 16 == 0
    assert plan.arena_bytes >= plan.lower_bound >= max(plan.live_bytes, default=0)


def activations_read(graph: Graph, step: Step) -> list[int]:
    """The inputs of a step's function, in the order that `Needs.lead` numbers them."""
    made = {i for p in step.positions[:-1] for i in graph.ops[p].outputs}
    every = [i for p in step.positions for i in graph.ops[p].inputs]
    return [i for i in every if i is not None and i not in made and not graph.tensors[i].is_const]


def _apart(a: slice, b: slice) -> bool:
    return a.stop <= b.start or b.stop <= a.start


def _passed_on(graph: Graph, op: Op, labels: dict[int, np.ndarray]) -> list[np.ndarray]:
    if op.kind == "concatenation":
        axis = op.attrs["axis"] % len(graph.tensors[op.outputs[0]].shape)
        return [np.concatenate([labels[i] for i in op.inputs], axis)]
    if op.kind == "split":
        axis = int(graph.tensors[op.inputs[0]].data.ravel()[0])
        source = labels[op.inputs[1]]
        return np.split(source, len(op.outputs), axis % (source.ndim - 1))
    source = labels[op.inputs[0]]
    if op.kind == "strided_slice":
        limits = [[int(v) for v in graph.tensors[i].data] for i in op.inputs[1:]]
        index = numpy_index(source.shape[:-1], *limits, op.attrs)
        if Ellipsis not in index:
            index = (*index, Ellipsis)
        return [source[(*index, slice(None))]]
    tensor = graph.tensors[op.outputs[0]]
    return [source.reshape(*tensor.shape, source.shape[-1])]

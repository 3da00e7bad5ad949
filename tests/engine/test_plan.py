"""The memory planner against brute force and its lower bound."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.nets import collect, residual
from tinykit.engine.plan import ALIGNMENT, Buffer, _fit, aliased, place
from tinykit.engine.plan import plan as make_plan
from tinykit.graph import Graph, GraphBuilder


@st.composite
def intervals(draw: st.DrawFn, most: int = 12) -> list[Buffer]:
    """Buffers with sizes in multiples of the alignment and lifetimes over a few ops."""
    count = draw(st.integers(1, most))
    made = []
    for n in range(count):
        first = draw(st.integers(0, 8))
        last = draw(st.integers(first, 9))
        made.append(Buffer((n,), ALIGNMENT * draw(st.integers(0, 20)), first, last))
    return made


def size_of(buffers: list[Buffer], places: list[int]) -> int:
    return max((at + b.size for b, at in zip(buffers, places, strict=True)), default=0)


def bound_of(buffers: list[Buffer]) -> int:
    return max(sum(b.size for b in buffers if b.first <= t <= b.last) for t in range(10))


@given(intervals())
def test_what_lives_at_once_never_overlaps(buffers: list[Buffer]) -> None:
    places = place(buffers)
    for (a, at), (b, bt) in itertools.combinations(zip(buffers, places, strict=True), 2):
        if a.meets(b):
            assert at + a.size <= bt or bt + b.size <= at
    assert all(at >= 0 and at % ALIGNMENT == 0 for at in places)
    assert size_of(buffers, places) >= bound_of(buffers)


@given(intervals(most=6))
def test_as_small_as_the_best_order_of_placing(buffers: list[Buffer]) -> None:
    """Greedy placement in some order is optimal among greedy placements: try all orders."""
    neighbours = [
        [j for j, other in enumerate(buffers) if j != i and b.meets(other)]
        for i, b in enumerate(buffers)
    ]
    orders = itertools.permutations(range(len(buffers)))
    best = min(_fit(buffers, neighbours, order)[1] for order in orders)
    # five orders and random changes of the best, against 720: allow a small miss, never a large one
    assert size_of(buffers, place(buffers)) <= best * 1.1


def keeps(graph: Graph) -> None:
    """Run the ops on labels instead of values: nothing read was overwritten in between."""
    plan = make_plan(graph)
    arena: dict[int, int] = {}

    def write(i: int, label: int) -> None:
        for at in range(plan.offsets[i], plan.offsets[i] + graph.tensors[i].nbytes):
            assert at < plan.arena_bytes
            arena[at] = label

    def check(i: int, label: int) -> None:
        start = plan.offsets[i]
        assert all(arena[at] == label for at in range(start, start + graph.tensors[i].nbytes)), i

    labels = {}
    for i in graph.inputs:
        labels[i] = i
        write(i, i)
    for position, op in enumerate(graph.ops):
        for i in op.inputs:
            if i is not None and not graph.tensors[i].is_const:
                check(i, labels[i])
        for i in op.outputs:
            labels[i] = labels[op.inputs[0]] if aliased(graph, position) else i
            write(i, labels[i])
        for i in op.inputs:  # inputs are still whole when the last output is written
            if i is not None and not graph.tensors[i].is_const:
                check(i, labels[i])
    for i in graph.outputs:
        if not graph.tensors[i].is_const:
            check(i, labels[i])
    assert all(at % ALIGNMENT == 0 for at in plan.offsets.values())
    assert plan.arena_bytes >= plan.lower_bound
    if plan.peak_op is not None:
        assert plan.live_bytes[plan.peak_op] == plan.lower_bound


def test_random_graphs_keep_every_value() -> None:
    for graph in collect(150, max_ops=8):
        keeps(graph)


def test_residual_network_is_at_its_bound() -> None:
    keeps(residual())
    plan = make_plan(residual())
    assert plan.arena_bytes == plan.lower_bound
    # the peak is where both branches and the inner convolution's output are alive
    assert plan.lower_bound == 3 * 240


def test_reshape_costs_nothing() -> None:
    plan, graph = make_plan(residual()), residual()
    position = [op.kind for op in graph.ops].index("reshape")
    op = graph.ops[position]
    assert aliased(graph, position)
    assert plan.offsets[op.inputs[0]] == plan.offsets[op.outputs[0]]


def test_graph_without_ops() -> None:
    b = GraphBuilder()
    x = b.input("x", (2, 3), "float32")
    plan = make_plan(b.finish([x]))
    assert (plan.arena_bytes, plan.live_bytes, plan.peak_op) == (32, [], None)


@pytest.mark.parametrize(
    ("name", "bound"), [("kws_ref_model", 16000), ("pretrainedResnet_quant", 49152)]
)
def test_mlperf_models_are_at_their_bound(shared_models: Path, name: str, bound: int) -> None:
    from tinykit.formats import tflite

    plan = make_plan(tflite.read_file(str(shared_models / f"{name}.tflite")))
    assert plan.arena_bytes == plan.lower_bound == bound

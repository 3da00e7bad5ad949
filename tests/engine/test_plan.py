"""The memory planner: nothing needed is written over, and arenas are as small as can be."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.engine.nets import collect, floating, residual
from tests.engine.plan_oracle import activations_read, check_layout, check_plan
from tinykit.engine import Options
from tinykit.engine.arrange import Step, arrange, chains
from tinykit.engine.kernel import Needs
from tinykit.engine.plan import MemoryPlan
from tinykit.engine.plan import plan as make_plan
from tinykit.formats import tflite
from tinykit.graph import Graph, GraphBuilder, Quantization


def plain_steps(graph: Graph) -> list[Step]:
    return [Step((position,)) for position in range(len(graph.ops))]


def random_steps(graph: Graph, rng: random.Random) -> list[Step]:
    """Steps with made-up scratch memory and leads, chains among them."""
    steps: list[Step] = []
    position = 0
    while position < len(graph.ops):
        layers = rng.choice(list(chains(graph, position)))
        positions = tuple(layer.position for layer in layers)
        step = Step(positions)
        leads = {}
        for number, i in enumerate(activations_read(graph, step)):
            size = graph.tensors[i].nbytes
            if rng.random() < 0.7:
                leads[number] = rng.choice([0, 0, rng.randint(-2 * size, 2 * size)])
        scratch = rng.choice([0, 0, rng.randint(1, 300)])
        if len(positions) > 1 or graph.ops[position].kind not in ("concatenation", "split"):
            step = replace(step, needs=Needs(scratch, leads, rng.choice([1, 1, 4, 3, 10])))
        steps.append(step)
        position = positions[-1] + 1
    return steps


def test_random_graphs_keep_every_value() -> None:
    rng = random.Random(0)
    for graph in collect(150, max_ops=8):
        steps = plain_steps(graph)
        for in_place in (True, False):
            check_layout(graph, steps, make_plan(graph, steps, in_place))
        for _ in range(3):
            steps = random_steps(graph, rng)
            check_layout(graph, steps, make_plan(graph, steps))


def test_leads_only_ever_help() -> None:
    rng = random.Random(1)
    saved = 0
    for graph in collect(150, max_ops=8):
        steps = random_steps(graph, rng)
        without = make_plan(graph, steps, in_place=False)
        within = make_plan(graph, steps)
        assert within.lower_bound <= without.lower_bound
        assert within.arena_bytes <= without.arena_bytes
        saved += without.arena_bytes - within.arena_bytes
    assert saved > 0


def test_arranged_programs_keep_every_value() -> None:
    for graph in (residual(), floating(), *collect(60, dtype="int8", max_ops=8)):
        for options in (Options(), Options(fuse=False), Options(in_place=False)):
            check_plan(arrange(graph, "cortex-m4", options))


def test_residual_network_is_at_its_bound() -> None:
    plan = make_plan(residual())
    assert plan.arena_bytes == plan.lower_bound
    assert plan.proven
    assert plan.gap == 0
    # the peak is where both branches and the inner convolution's output are alive
    assert plan.lower_bound == 3 * 240


def test_reshape_costs_nothing() -> None:
    plan, graph = make_plan(residual()), residual()
    position = [op.kind for op in graph.ops].index("reshape")
    op = graph.ops[position]
    assert plan.free == {position}
    assert plan.offsets[op.inputs[0]] == plan.offsets[op.outputs[0]]


def test_graph_without_ops() -> None:
    b = GraphBuilder()
    x = b.input("x", (2, 3), "float32")
    plan = make_plan(b.finish([x]))
    assert (plan.arena_bytes, plan.live_bytes, plan.peak_op) == (32, [], None)


# -- outputs over inputs ---------------------------------------------------------------------------


def chain(*sizes: int) -> Graph:
    """Ops in a row, the last one's output classified; activation n has sizes[n] bytes."""
    b = GraphBuilder("chain")
    at = b.input("x", (1, sizes[0] // 4), "float32")
    for before, size in itertools.pairwise(sizes):
        weights = b.const(np.zeros((size // 4, before // 4), np.float32))
        at = b.op("fully_connected", [at, weights], (1, size // 4), "float32")
    return b.finish([at])


def with_leads(graph: Graph, lead: Callable[[int], dict[int, int]], scratch: int = 0) -> MemoryPlan:
    """Plan, checked, with the leads that `lead` gives for each op."""
    return with_needs(graph, lambda p: Needs(scratch, lead(p)))


def with_needs(graph: Graph, needs: Callable[[int], Needs]) -> MemoryPlan:
    steps = [Step((p,), None, needs(p)) for p in range(len(graph.ops))]
    plan = make_plan(graph, steps)
    check_layout(graph, steps, plan)
    return plan


def test_a_chain_in_place_takes_its_largest_tensor() -> None:
    graph = chain(64, 320, 320, 160, 256, 16)
    assert with_leads(graph, lambda p: {0: 0} if p else {}).arena_bytes == 64 + 320
    assert with_leads(graph, lambda p: {0: 0}).arena_bytes == 320
    assert with_leads(graph, lambda p: {}).arena_bytes == 640


@pytest.mark.parametrize(
    ("lead", "arena"),
    [
        (-64, 160),  # the output may start in the input's middle
        (0, 160),
        (16, 160),
        (48, 176),  # input 128 bytes, 48 after the output's start
        (-128, 160),
        (160, 288),  # that is apart
        (1000, 288),
    ],
)
def test_how_far_apart(lead: int, arena: int) -> None:
    plan = with_leads(chain(128, 160), lambda p: {0: lead})
    assert plan.arena_bytes == plan.lower_bound == arena
    assert plan.live_bytes == [arena]


@pytest.mark.parametrize(("lead", "grain"), [(0, 24), (4, 24), (40, 24), (0, 5), (4, 5), (-60, 12)])
def test_memory_is_shared_at_whole_pixels(lead: int, grain: int) -> None:
    graph = chain(16, 128, 160, 16)
    needs = {1: Needs(0, {0: lead}, grain)}
    plan = with_needs(graph, lambda p: needs.get(p, Needs()))
    op = graph.ops[1]
    ahead = plan.offsets[op.inputs[0]] - plan.offsets[op.outputs[0]]
    assert -128 < ahead < 160, "they share memory"
    assert ahead >= lead
    assert ahead % grain == 0


def test_an_input_that_is_needed_later_stays() -> None:
    graph = residual()
    positions = {op.kind: p for p, op in enumerate(graph.ops)}
    first = graph.ops[0].outputs[0]
    plan = with_leads(graph, lambda p: {0: 0, 1: 0})
    inner = graph.ops[positions["depthwise_conv_2d"]].outputs[0]
    assert plan.offsets[inner] != plan.offsets[first]  # the residual reads it again
    joined = graph.ops[positions["add"]].outputs[0]
    assert plan.offsets[joined] in (plan.offsets[first], plan.offsets[first] + 240)
    assert plan.arena_bytes == plan.proven * 2 * 240


def test_scratch_keeps_clear_of_inputs_and_outputs() -> None:
    plan = with_leads(chain(64, 64, 64), lambda p: {0: 0}, scratch=100)
    assert plan.arena_bytes == 64 + 112
    assert set(plan.scratch) == {0, 1}


def test_both_inputs_of_an_addition_may_be_written_over() -> None:
    b = GraphBuilder()
    x, y = b.input("x", (1, 16), "float32"), b.input("y", (1, 16), "float32")
    graph = b.finish([b.op("add", [x, y], (1, 16), "float32")])
    assert with_leads(graph, lambda p: {0: 0, 1: 0}).arena_bytes == 128
    assert with_leads(graph, lambda p: {0: 0}).arena_bytes == 128
    b = GraphBuilder()
    x = b.input("x", (1, 16), "float32")
    graph = b.finish([b.op("add", [x, x], (1, 16), "float32")])
    assert with_leads(graph, lambda p: {0: 0, 1: 0}).arena_bytes == 64
    assert with_leads(graph, lambda p: {0: 0}).arena_bytes == 128  # number 1 says no


# -- networks --------------------------------------------------------------------------------------


def line_buffer(graph: Graph, position: int) -> Needs:
    """What kernels need that copy input rows into a buffer of as many as the window has."""
    op = graph.ops[position]
    if op.kind == "add":
        return Needs(0, {0: 0, 1: 0})
    if op.kind not in ("conv_2d", "depthwise_conv_2d"):
        return Needs()
    source, kernel, out = (graph.tensors[i] for i in (op.inputs[0], op.inputs[1], op.outputs[0]))
    height, stride, rows = kernel.shape[1], op.attrs["stride_h"], source.shape[1]
    row, made = source.nbytes // rows, out.nbytes // out.shape[1]
    # when row n is written, the rows that its window reaches are in the buffer
    read = [min(n * stride + height // 2 + 1, rows) for n in range(out.shape[1])]
    lead = max((n + 1) * made - read[n] * row for n in range(out.shape[1]))
    return Needs(height * row, {0: lead})


@pytest.mark.parametrize(
    ("name", "plain", "least"),
    [("kws_ref_model", 16000, 11410), ("pretrainedResnet_quant", 49152, 35747)],
)
def test_mlperf_models(shared_models: Path, name: str, plain: int, least: int) -> None:
    graph = tflite.read_file(str(shared_models / f"{name}.tflite"))
    plan = make_plan(graph)
    assert plan.arena_bytes == plan.lower_bound == plain
    plan = with_needs(graph, lambda p: line_buffer(graph, p))
    assert plan.proven
    assert plan.arena_bytes <= least


def mobilenet() -> Graph:
    """The activations of MobileNetV1 0.25 at 96x96x3, as depthwise and pointwise pairs."""
    b = GraphBuilder("mobilenet")
    quant = Quantization.per_tensor(0.1)

    def conv(at: int, kind: str, channels: int, stride: int, size: int) -> int:
        _, height, _, depth = b.tensors[at].shape
        wide = (channels, size, size, depth) if kind == "conv_2d" else (1, size, size, depth)
        kernel = b.const(np.zeros(wide, np.int8), quant)
        side = -(-height // stride)
        shape, at = (1, side, side, channels), (at, kernel)
        attrs = {"padding": "same", "stride_h": stride, "stride_w": stride}
        return b.op(kind, at, shape, "int8", quant, **attrs)

    at = conv(b.input("image", (1, 96, 96, 3), "int8", quant), "conv_2d", 8, 2, 3)
    channels = 8
    for wider, stride in [(16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2), (256, 2)]:
        at = conv(at, "depthwise_conv_2d", channels, stride, 3)
        at = conv(at, "conv_2d", wider, 1, 1)
        channels = wider
    return b.finish([at])


def test_a_widening_pointwise_convolution_grows_over_its_input() -> None:
    graph = mobilenet()
    plan = with_needs(graph, lambda p: line_buffer(graph, p))
    assert plan.proven
    assert 36864 < plan.arena_bytes <= 50354


# -- large graphs ----------------------------------------------------------------------------------


def branches(count: int) -> Graph:
    b = GraphBuilder("branches")
    x = b.input("x", (1, 8), "float32")
    made = [b.op("tanh", [x], (1, 8), "float32") for _ in range(count)]
    made = [b.op("logistic", [i], (1, 8), "float32") for i in made]
    return b.finish([b.op("concatenation", made, (1, 8 * count), "float32", axis=1)])


def long(count: int) -> Graph:
    """A chain with a skip connection over every three ops, sizes all over the place."""
    rng = random.Random(0)
    b = GraphBuilder("long")
    at = b.input("x", (1, 64), "float32")
    while len(b.ops) < count:
        width = rng.randrange(4, 200)
        weights = b.const(np.zeros((width, b.tensors[at].shape[1]), np.float32))
        skip = at = b.op("fully_connected", [at, weights], (1, width), "float32")
        for kind in ("tanh", "logistic"):
            at = b.op(kind, [at], (1, width), "float32")
        at = b.op("add", [at, skip], (1, width), "float32")
    return b.finish([at])


@pytest.mark.parametrize(("grow", "count"), [(branches, 1000), (long, 2000)])
def test_large_graphs_plan_quickly(grow: Callable[[int], Graph], count: int) -> None:
    graph = grow(count)
    start = time.process_time()
    plan = make_plan(graph)
    assert time.process_time() - start < 10  # about a second; this machine may be a slow one
    check_layout(graph, plain_steps(graph), plan)
    assert plan.proven

"""The learned cost model: what it knows of a layer, that it learns, and what it never does."""

from __future__ import annotations

import numpy as np
import pytest

from tests.engine.nets import residual
from tests.search.conftest import Toy, relus
from tinykit.engine.cores import find_core
from tinykit.engine.layer import Layer
from tinykit.engine.options import Options
from tinykit.engine.schedule import Schedule
from tinykit.graph import Graph
from tinykit.search import CostModel, Trial, tune
from tinykit.search.cost_model import dimensions
from tinykit.search.store import Store

STEPS = (1, 2, 3, 4, 6, 8)


def law(columns: int, channels: int, step: int) -> int:
    """A cost as kernels have it: a loop's overhead a turn, work that a last turn wastes."""
    turns = -(-columns // step)
    return turns * (20 + 9 * step) * channels + 300 * step


def table(sizes: list[tuple[int, int]], seed: int | None = None) -> list[tuple[str, Trial]]:
    rng = np.random.default_rng(seed)
    rows = []
    for columns, channels in sizes:
        for step in STEPS:
            cost = law(columns, channels, step) * (1 if seed is None else rng.uniform(0.99, 1.01))
            trial = Trial(Schedule.of("k", step=step), int(cost), cycles=1000.0 * step)
            rows.append((key(columns, channels), trial))
    return rows


def key(columns: int, channels: int) -> str:
    shape = f"1x{columns}x{columns}x{channels}.int8"
    return f"conv_2d {shape} {channels}x1x1x{channels}.int8 {channels}.int32 to {shape} pad 0,0,0,0"


SIZES = [(c, n) for c in (5, 6, 8, 9, 12, 16, 24) for n in (8, 32, 64)]


@pytest.mark.parametrize("held", SIZES[::4])
def test_it_ranks_the_schedules_of_a_layer_that_it_never_saw(held: tuple[int, int]) -> None:
    model = CostModel.fit(table([size for size in SIZES if size != held], seed=1))
    schedules = [Schedule.of("k", step=step) for step in STEPS]
    cost = {s: law(*held, s["step"]) for s in schedules}
    first, second = model.rank(key(*held), schedules)[:2]
    assert min(cost[first], cost[second]) <= 1.01 * min(cost.values())
    predicted = model.predict(key(*held), schedules)
    true = np.array([cost[s] for s in schedules])
    error = np.log(predicted) - np.log(true / np.exp(np.log(true).mean()))
    assert np.abs(error).max() < 0.25


def test_what_it_predicts_is_relative_to_the_layers_mean() -> None:
    model = CostModel.fit(table(SIZES))
    schedules = [Schedule.of("k", step=step) for step in STEPS]
    assert np.log(model.predict(key(8, 8), schedules)).mean() == pytest.approx(0)
    assert model.predict(key(8, 8), []).shape == (0,)


def test_the_objective_is_learned() -> None:
    model = CostModel.fit(table(SIZES), "cycles")
    schedules = [Schedule.of("k", step=step) for step in STEPS]
    assert [s["step"] for s in model.rank(key(7, 16), schedules)] == sorted(STEPS)


def test_knowing_nothing_it_keeps_the_order() -> None:
    schedules = [Schedule.of("k", step=step) for step in (4, 1, 8)]
    failed = Trial(schedules[0], error="no")
    for trials in ([], [(key(8, 8), Trial(schedules[0], 10))], [(key(8, 8), failed)] * 2):
        assert CostModel.fit(trials).rank(key(8, 8), schedules) == schedules
    other = CostModel.fit(table(SIZES)).rank(key(8, 8), [Schedule.of("x", a=1), Schedule("y")])
    assert other == [Schedule.of("x", a=1), Schedule("y")]


def test_sizes_come_from_the_key() -> None:
    graph: Graph = residual()
    for position, op in enumerate(graph.ops):
        layer = Layer(graph, position)
        known = dimensions(layer.key)
        assert known["channels"] == layer.out.shape[-1]
        if len(layer.out.shape) == 4:
            assert (known["rows"], known["columns"]) == layer.out.shape[1:3]
        if op.kind in ("conv_2d", "depthwise_conv_2d", "average_pool_2d", "max_pool_2d"):
            height, width = layer.window
            assert known["taps"] == height * width
            assert known["stride"] == layer.strides[1]
        if op.kind == "conv_2d":
            assert known["depth"] == layer.in_hwc[2]
    assert {op.kind for op in graph.ops} >= {"conv_2d", "depthwise_conv_2d", "add"}
    chain = dimensions(f"{key(8, 16)} > {key(8, 4)}")
    assert (chain["depth"], chain["channels"]) == (16, 4)


def test_the_store_keeps_what_it_can_learn_from(toy: Toy) -> None:
    toy.knobs = [{"step": 1}, {"step": 4}]
    tuning = tune(relus(64, 32))
    core = find_core("cortex-m4")
    kept = Store(core, "zig", Options()).trials()
    assert sorted(kept, key=str) == sorted(tuning.trials, key=str)
    assert Store(core, "zig", Options(simd=False)).trials() == []

"""The schedule search: what a table gains, how long it takes, and what the cost model saves.

A schedule is found when it is within 1 % of the layer's best. The model has learned from all other
layers (leave one out), from as many of their trials as a seed draws; random order is the same over
as many seeds.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from unittest import mock

import numpy as np

from tests.benchmarks import Figure, at_least, at_most, plain
from tests.benchmarks._models import absent, find_models, load
from tinykit.engine import Options, emulate
from tinykit.engine.schedule import NONE, Schedule
from tinykit.graph import Graph
from tinykit.search import CostModel, Trial, Tuning, tune
from tinykit.search.schedules import SLACK

CORE = "cortex-m4"
SEEDS = 25
NEAR = 1.01
#: share of the other layers' trials that a seed draws to learn from
LEARNED = 0.7
#: schedules a layer that a search with a budget may try
BUDGET = 6


def run() -> list[Figure]:
    graphs = {name: load(name) for name in find_models(own=True)}
    figures = [plain(absent(name), None, "s") for name, graph in graphs.items() if graph is None]
    there = {name: graph for name, graph in graphs.items() if graph is not None}
    toolchain = "gcc" if shutil.which("arm-none-eabi-gcc") else "zig"
    with tempfile.TemporaryDirectory() as folder, fresh_store(Path(folder)):
        started = time.perf_counter()
        tuning = tune(list(there.values()), CORE, toolchain)
        first = time.perf_counter() - started
        started = time.perf_counter()
        again = tune(list(there.values()), CORE, toolchain)
        second = time.perf_counter() - started
    figures += [
        plain(f"schedules counted ({toolchain})", tuning.counted, "schedules"),
        at_most("schedules that do not work", len(tuning.rejected), "schedules", 0),
        plain("first search, what is compiled may be cached", first, "s"),
        at_most("second search, counts cached", second, "s", 2.0),
        at_most("schedules counted again in it", again.counted, "schedules", 0),
    ]
    figures += _trials(tuning)
    figures += [figure for n, g in there.items() for figure in _gain(n, g, tuning, toolchain)]
    return figures


def fresh_store(folder: Path) -> mock._patch[mock.MagicMock | mock.AsyncMock]:
    """An empty store of trials, so that everything is counted."""
    return mock.patch("tinykit.search.store.cache_dir", return_value=folder)


def layers_of(tuning: Tuning) -> dict[str, dict[Schedule, Trial]]:
    """Working trials of specialised kernels, of layers that have more than one."""
    found = {
        key: {t.schedule: t for t in choice.trials if t.ok and t.schedule != NONE}
        for key, choice in tuning.choices.items()
    }
    return {key: tried for key, tried in found.items() if len(tried) > 1}


def needed(order: Sequence[Schedule], tried: dict[Schedule, Trial]) -> int:
    """Trials in this order until one is within `NEAR` of the best."""
    limit = NEAR * min(trial.instructions for trial in tried.values())
    return next(n for n, s in enumerate(order, 1) if tried[s].instructions <= limit)


def trials_needed(tuning: Tuning, seeds: int = SEEDS) -> dict[str, np.ndarray]:
    """Trials over all layers by the way of ordering them, one figure a seed."""
    layers = layers_of(tuning)
    made: dict[str, list[int]] = {"model": [], "random": [], "offered": []}
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        total = dict.fromkeys(made, 0)
        for key, tried in layers.items():
            order = list(tried)
            others = [pair for pair in tuning.trials if pair[0] != key]
            drawn = rng.permutation(len(others))[: round(LEARNED * len(others))]
            model = CostModel.fit([others[i] for i in drawn])
            total["model"] += needed(model.rank(key, order), tried)
            total["random"] += needed([order[i] for i in rng.permutation(len(order))], tried)
            total["offered"] += needed(order, tried)
        for how, count in total.items():
            made[how].append(count)
    return {how: np.array(counts) for how, counts in made.items()}


def _trials(tuning: Tuning) -> list[Figure]:
    layers = layers_of(tuning)
    needs = trials_needed(tuning)
    model, random = needs["model"], needs["random"]
    saved = 1 - model.mean() / random.mean()
    peer = {"name": "random order", "value": round(float(random.mean()), 1)}
    return [
        plain("layers and chains with a choice", len(layers), "layers"),
        plain("schedules that work in them", sum(map(len, layers.values())), "schedules"),
        plain("trials to within 1 % of the best, model", float(model.mean()), "trials", peer),
        plain("the same, standard deviation over seeds", float(model.std()), "trials"),
        plain("random order, standard deviation over seeds", float(random.std()), "trials"),
        plain("in the order that kernels offer them", float(needs["offered"].mean()), "trials"),
        at_least("seeds", SEEDS, "seeds", 20),
        at_least("trials that the model saves against random order", saved, "of 1", 0.3),
        plain(f"the best of {BUDGET} that the model ranks first, against the best of all",
              _within(tuning, BUDGET), "×"),
    ]  # fmt: skip


def _within(tuning: Tuning, budget: int) -> float:
    """Geometric mean over layers of what a search with a budget loses."""
    ratios = []
    for key, tried in layers_of(tuning).items():
        model = CostModel.fit([pair for pair in tuning.trials if pair[0] != key])
        first = model.rank(key, list(tried))[:budget]
        best = min(trial.instructions for trial in tried.values())
        ratios.append(min(tried[s].instructions for s in first) / best)
    return float(np.exp(np.log(ratios).mean()))


def _gain(name: str, graph: Graph, tuning: Tuning, toolchain: str) -> list[Figure]:
    """The whole network without a table and with the one that was found."""
    rng = np.random.default_rng(0)
    sample = rng.integers(-128, 128, graph.input.shape).astype(np.int8)
    blank = Options(use_table=False)
    runs = [
        emulate(graph, [sample], CORE, toolchain, options=options)
        for options in (blank, tuning.options(blank))
    ]
    before, after = (run.instructions or 0 for run in runs)
    wrong = int(np.count_nonzero(runs[1].outputs[0][0] != graph.run(sample)[0]))
    peer = {"name": "default schedules", "value": before}
    return [
        # memory decides between schedules that are as fast within SLACK; counts of a layer alone
        # move a little with its input
        at_most(f"{name}: instructions with the table", after, "instructions",
                round(before * (1 + 2 * SLACK)), peer),
        plain(f"{name}: what the table saves", 1 - after / before, "of 1"),
        at_most(f"{name}: output bytes that the table changes", wrong, "bytes", 0),
    ]  # fmt: skip

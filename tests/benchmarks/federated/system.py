"""What a federated round costs: the model's error against a study, and its speed.

The published figures are those of the Flower study on Jetson TX2, quoted from memory
(`tinykit.federated.system.study`): the model is fitted to 1 and 10 local epochs, 5 are held out.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from tests.benchmarks import Figure, at_most, plain
from tinykit.federated.system import Fleet, Work, catalogue, study

DEVICES = 10_000
#: seconds that the cost of a round with all of them may take, of the 0.1 s that a knob has
LIMIT = 0.05


def run() -> list[Figure]:
    return [*_study(), *_speed()]


def _study() -> list[Figure]:
    figures = []
    for c in study.compare():
        how = "held out" if c.held_out else "fitted on"
        figures += [
            plain(f"E = {c.run.epochs} ({how}): time, error", 100 * c.time_error, "%",
                  {"name": "published, min", "value": c.run.minutes}),
            plain(f"E = {c.run.epochs} ({how}): energy, error", 100 * c.energy_error, "%",
                  {"name": "published, kJ", "value": c.run.kilojoules}),
        ]  # fmt: skip
    board = study.compare(catalogue())[-1]
    train = 10 * study.EXAMPLES / study.fit().examples_per_s
    ratio, share = study.slowdown(train)
    return [
        *figures,
        plain("E = 10: energy with the catalogue's power, times the published",
              1 + board.energy_error, "x", {"name": "published, kJ", "value": 101.0}),
        plain("CPU, E = 10: round over the GPU's (fitted)", study.slowdown()[0], "x",
              {"name": "published", "value": study.CPU_SLOWDOWN}),
        plain(f"CPU, cut-off {train:.0f} s: round over the GPU's", ratio, "x",
              {"name": "published", "value": 1.0}),
        plain(f"CPU, cut-off {train:.0f} s: steps done", 100 * share, "%"),
    ]  # fmt: skip


def _speed() -> list[Figure]:
    names = list(catalogue().devices)
    fleet = Fleet.mix({n: 1 / len(names) for n in names}, DEVICES, Work.from_macs(1e6), seed=0)
    everyone = np.arange(DEVICES)
    steps = np.random.default_rng(0).integers(1, 50, DEVICES)
    return [
        at_most(f"{DEVICES:,} devices: cost of a round",
                _seconds(lambda: fleet.cost(everyone, steps, 32, 2e5, 2e5, 30.0, 300.0)),
                "s", LIMIT),
        plain(f"{DEVICES:,} devices: steps before a cut-off",
              _seconds(lambda: fleet.steps_within(everyone, steps, 32, 30.0)), "s"),
        plain(f"{DEVICES:,} devices: who is available",
              _seconds(lambda: fleet.available(3, 0, hour=2)), "s"),
    ]  # fmt: skip


def _seconds(call: Callable[[], object], times: int = 21) -> float:
    """Median of `times` calls."""
    took = []
    for _ in range(times):
        started = time.perf_counter()
        call()
        took.append(time.perf_counter() - started)
    return float(np.median(took))

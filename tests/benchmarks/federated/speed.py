"""Speed and memory of the engines, beside Flower on Ray on the same workload. Seconds by the clock.

Cold is a fresh process that has imported torch: from the call (the import of the kit, or of Flower)
to the end of the first round. Warm is every later round. The least of several tries counts for
both sides: other load on the machine only ever adds.
"""

from __future__ import annotations

import os
import time
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch

import tinykit as tk
from tests.benchmarks._figure import Figure, at_least, at_most, plain
from tests.benchmarks.federated._child import BATCH, CLIENTS, STEPS, ask, world
from tests.federated.flower_worlds import network
from tinykit.data.federation import Federation
from tinykit.federated import Local, Simulation

TRIES, ROUNDS = 3, 12
#: devices, steps and minibatches of the comparison of vectorised and sequential
MANY, LOOP = 100, 20
BATCHES = (4, 10, 16, 32, 64)
PROMISED = 10


def run() -> list[Figure]:
    load = os.getloadavg()[0]
    cores = len(os.sched_getaffinity(0))
    figures = [*_beside_flower(), *_vectorised(), *_memory()]
    return [plain(f"load of the machine before, on {cores} cores", load, "processes"), *figures]


def _beside_flower() -> list[Figure]:
    there = find_spec("flwr") is not None and find_spec("ray") is not None
    work = f"{CLIENTS} clients, {STEPS} steps of {BATCH}"
    figures = []
    for name, what in (("cnn", "CNN of 47 k parameters"), ("mlp", "MLP 64-64-10")):
        theirs = ask("flower", name, "", str(ROUNDS)) if there else None
        engines = ("sequential", "vectorised") if name == "mlp" else ("sequential",)
        for engine in engines:
            found = [ask("ours", engine, name, str(ROUNDS)) for _ in range(TRIES)]
            label = f"{what}, {work}, {engine}"
            figures += [
                at_most(f"{label}: first round from the call", _least(found, "first"), "s", 2.0,
                        _peer(theirs, "first")),
                plain(f"{label}: from the start of the process, import of torch included",
                      _least(found, "whole"), "s", _peer(theirs, "whole")),
            ]  # fmt: skip
            rate = CLIENTS / min(min(f["each"]) for f in found)
            against = CLIENTS / min(theirs["each"]) if theirs else None
            peer = {"name": "Flower + Ray, clients/s", "value": against}
            figures.append(plain(f"{label}: warm", rate, "clients/s", peer))
            if name == "cnn":
                times = rate / against if against else None
                figures.append(at_least(f"{label}: warm, times Flower + Ray", times, "×", 2.0))
    return figures


def _least(found: list[dict[str, Any]], key: str) -> float:
    return min(f[key] for f in found)


def _peer(theirs: dict[str, Any] | None, key: str) -> dict[str, Any]:
    return {"name": "Flower + Ray, s", "value": theirs[key] if theirs else None}


def _vectorised() -> list[Figure]:
    """Both engines in this process, in turns."""
    data = tk.data.load("digits")
    rng = np.random.default_rng(0)
    parts = tuple(rng.integers(0, len(data.train), 64) for _ in range(MANY))
    federation = Federation(f"digits, {MANY} devices", data.spec, data.train, parts)
    model = network(world("mlp"))
    what = f"MLP 64-64-10, {MANY} devices, {LOOP} steps of"
    figures, promised = [], []
    before = torch.get_num_threads()
    try:
        for threads in sorted({1, len(os.sched_getaffinity(0))}):
            torch.set_num_threads(threads)
            for batch in BATCHES:
                best = _best(federation, model, batch)
                ratio = best["sequential"] / best["vectorised"]
                name = f"{what} {batch}, vectorised on {threads} threads"
                peer = {"name": "sequential", "value": MANY / best["sequential"]}
                figures += [
                    plain(name, MANY / best["vectorised"], "clients/s", peer),
                    plain(f"{name}: times the sequential loop", ratio, "×"),
                ]
                promised += [ratio] if batch == PROMISED else []
    finally:
        torch.set_num_threads(before)
    label = f"{what} {PROMISED}, vectorised on the better number of threads"
    figures.append(at_least(f"{label}: times the sequential loop", max(promised), "×", 10.0))
    return figures


def _best(federation: Federation, model: torch.nn.Module, batch: int) -> dict[str, float]:
    """Seconds of the quickest round of each engine."""
    local = Local(steps=LOOP, batch=batch, lr=0.05)
    best = {"sequential": float("inf"), "vectorised": float("inf")}
    runs = {e: Simulation(model, federation, local=local, engine=e) for e in best}
    for _ in range(8):
        for engine, run in runs.items():
            begun = time.perf_counter()
            run.run(run.done + 1, progress=False)
            best[engine] = min(best[engine], time.perf_counter() - begun)
    return best


def _memory() -> list[Figure]:
    figures = []
    for strategy in ("FedAvg", "Scaffold"):
        found = ask("many", strategy, "150")
        remember = f", {found['remember']:,} of them remember" if found["remember"] else ""
        figures.append(
            at_most(f"10,000 devices at 1 %, 150 rounds, {strategy}{remember}: peak memory",
                    found["peak"], "GiB", 4.0)
        )  # fmt: skip
    for engine in ("sequential", "vectorised"):
        sizes = ask("flat", engine)
        figures.append(
            at_most(f"SCAFFOLD, {engine}: memory after 1,000 rounds, less that after 100",
                    sizes["1000"] - sizes["100"], "MiB", 10.0,
                    {"name": "after 100 rounds, MiB", "value": sizes["100"]})
        )  # fmt: skip
    return figures

"""Simulations in another process, which is killed at a random time."""

from __future__ import annotations

import multiprocessing
import random
import signal
import time
from pathlib import Path
from typing import Any

from tests.federated.world import ALGORITHMS, cnn, federation, mlp
from tinykit.federated import Cohort, Faults, Local, Simulation

#: name → (algorithm, other settings)
SETTINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "FedAvg, sequential": ("FedAvg", {"engine": "sequential"}),
    "FedAvgM, vectorised": ("FedAvgM", {"engine": "vectorised"}),
    "FedAdam, sequential": ("FedAdam", {"engine": "sequential"}),
    "SCAFFOLD, sequential": ("SCAFFOLD", {"engine": "sequential"}),
    "FedDyn, sequential": ("FedDyn", {"engine": "sequential"}),
    "FedDyn, faults, vectorised": (
        "FedDyn",
        {
            "engine": "vectorised",
            "faults": Faults(dropout=0.3, nan=0.2, huge=0.2),
            "cohort": Cohort(3, sampling="poisson"),
        },
    ),
    "PFLScaf, vectorised": ("PFLScaf", {"engine": "vectorised"}),
    "PFLDyn-prototypes, sequential": ("PFLDyn-prototypes", {"engine": "sequential"}),
    "FedProx, CNN, sequential": ("FedProx", {"engine": "sequential", "model": cnn}),
    "Per-FedAvg, vectorised": ("Per-FedAvg", {"engine": "vectorised"}),
}


def simulation(name: str) -> Simulation:
    algorithm, given = SETTINGS[name]
    settings = {"cohort": 3, "seed": 9, "local": Local(steps=4, batch=8, decay=0.99), **given}
    model = settings.pop("model", mlp)()
    return Simulation(model, federation(), ALGORITHMS[algorithm], **settings)


def _run(name: str, path: Path, rounds: int) -> None:
    simulation(name).run(rounds, checkpoint=path, progress=False)


def kill_one(name: str, path: Path, rounds: int, rng: random.Random, longest: float = 0.3) -> bool:
    """Start the simulation `name`, and SIGKILL its process up to `longest` seconds after its first
    checkpoint.

    Whether it died of that: False when it was done before.
    """
    # one process imports torch, and those that are killed are forked from it
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch._dynamo", __name__])
    process = context.Process(target=_run, args=(name, path, rounds))
    process.start()
    while not path.exists() and process.is_alive():
        time.sleep(0.002)
    time.sleep(rng.uniform(0, longest))
    process.kill()
    process.join()
    return process.exitcode == -signal.SIGKILL

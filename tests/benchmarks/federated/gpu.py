"""Clients a second on a GPU, absolute; nothing where there is none.

Needs numpy, torch, tqdm and the kit's `data`, `nn` and `federated` only:
``python -m tests.benchmarks.federated.gpu`` prints the figures as JSON.
"""

from __future__ import annotations

import json
import time

import numpy as np
import torch

from tests.benchmarks._figure import Figure, plain
from tests.federated.flower_worlds import World, network
from tinykit.data.federation import Federation
from tinykit.data.types import DataSpec, Split
from tinykit.federated import FedAvg, Local, Scaffold, Simulation, Strategy

COHORTS = (100, 1000)
#: seconds that a case may take, its first round not counted
PATIENCE = 4.0
WORK = {"mlp": (Local(steps=20, batch=16, lr=0.05), (8, 8, 1)),
        "cnn": (Local(steps=5, batch=32, lr=0.05), (28, 28, 1))}  # fmt: skip
STRATEGIES: dict[str, Strategy] = {"FedAvg": FedAvg(), "SCAFFOLD": Scaffold()}


def run() -> list[Figure]:
    if not torch.cuda.is_available():
        return []
    card = torch.cuda.get_device_name()
    figures = []
    for name, (local, shape) in WORK.items():
        for cohort in COHORTS:
            federation = _federation(shape, cohort)
            for called, strategy in STRATEGIES.items():
                if name == "cnn" and called != "FedAvg":
                    continue
                run = Simulation(
                    network(World(name, (), local)),
                    federation,
                    strategy,
                    local=local,
                    engine="vectorised",
                    device="cuda",
                )
                what = f"{card}: {name}, {called}, {cohort} devices, {local.steps} steps of "
                what += f"{local.batch}"
                begun = time.perf_counter()
                first = _round(run)
                each = []
                while len(each) < 5 and time.perf_counter() - begun < PATIENCE + first:
                    each.append(_round(run))
                figures.append(plain(f"{what}: first round", first, "s"))
                if each:
                    figures.append(plain(f"{what}: warm", cohort / min(each), "clients/s"))
    peak = torch.cuda.max_memory_allocated() / 2**30
    return [*figures, plain(f"{card}: peak memory of tensors", peak, "GiB")]


def _round(run: Simulation) -> float:
    torch.cuda.synchronize()
    begun = time.perf_counter()
    run.run(run.done + 1, progress=False)
    torch.cuda.synchronize()
    return time.perf_counter() - begun


def _federation(shape: tuple[int, int, int], devices: int) -> Federation:
    """Made-up images: what they show does not change the time."""
    rng = np.random.default_rng(0)
    spec = DataSpec("noise", shape, tuple("0123456789"))
    pool = Split(rng.random((4000, *shape), dtype=np.float32), rng.integers(0, 10, 4000))
    parts = tuple(rng.integers(0, len(pool), 64) for _ in range(devices))
    return Federation(f"noise, {devices} devices", spec, pool, parts)


if __name__ == "__main__":
    print(json.dumps([figure.to_dict() for figure in run()], indent=2))

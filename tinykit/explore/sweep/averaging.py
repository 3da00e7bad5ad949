"""The table of the lesson on federated averaging: skew against local steps, models before the mean.

FedAvg (McMahan et al., AISTATS 2017) with ten devices that all answer, on digits. Stored are, after
each round, the accuracy of the shared model and of each device's own model before it was averaged.
Accuracies are those of the test split; nothing was chosen by them: one step size for everything.
"""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinykit import data
from tinykit.data.partitions import IID, Dirichlet, FewClasses, Partition, partition
from tinykit.explore.sweep import versions
from tinykit.federated.local import Local
from tinykit.federated.simulation import Simulation
from tinykit.federated.strategies.fedavg import FedAvg
from tinykit.nn.train import accuracy
from tinykit.nn.zoo import mlp

if TYPE_CHECKING:
    from torch import Tensor

    from tinykit.data.types import Dataset
    from tinykit.federated.strategy import Replies, Server

log = logging.getLogger(__name__)

FORMAT = 1
SEEDS = (0, 1, 2)
DEVICES, SAMPLES, ROUNDS, BATCH, LR, HIDDEN = 10, 100, 20, 10, 0.1, 32
STEPS = (1, 5, 20, 60)
#: name → how the images are divided, from none to the strongest skew
SKEWS: dict[str, Partition] = {
    "IID": IID(),
    "Dirichlet(1)": Dirichlet(1.0),
    "Dirichlet(0.1)": Dirichlet(0.1),
    "2 classes": FewClasses((2, 2)),
    "1 class": FewClasses((1, 1)),
}


@dataclass(frozen=True, kw_only=True)
class Watched(FedAvg):
    """FedAvg that keeps what each device sent, a tensor (devices, P) a round."""

    seen: list[Tensor] = field(default_factory=list, compare=False, repr=False)

    def aggregate(self, server: Server, replies: Replies, devices: int) -> Server:
        self.seen.append(replies.model)
        return super().aggregate(server, replies, devices)


def simulation(digits: Dataset, skew: str, steps: int, seed: int) -> Simulation:
    """What is run for one row of the table."""
    parts = partition(digits, SKEWS[skew], devices=DEVICES, samples=SAMPLES, seed=seed)
    local = Local(steps=steps, batch=BATCH, lr=LR)
    model = mlp(digits.spec, seed=seed, hidden=(HIDDEN,))
    return Simulation(model, parts, Watched(), local=local, seed=seed, test=digits.test)


def row(digits: Dataset, skew: str, steps: int, seed: int, rounds: int = ROUNDS) -> dict[str, Any]:
    """One row: the shared model and the devices' own, by round."""
    started = time.monotonic()
    own: list[list[float]] = []

    def after(made: Simulation, _: Any) -> None:
        models = [made.module_of(w) for w in made.strategy.seen.pop()]  # type: ignore[attr-defined]
        own.append([round(accuracy(m, digits.test.x, digits.test.y), 4) for m in models])

    made = simulation(digits, skew, steps, seed)
    history = made.run(rounds, on_round=after, progress=False)
    log.info("%s, %d steps, seed %d: %.1f s", skew, steps, seed, time.monotonic() - started)
    return {
        "skew": skew, "steps": steps, "seed": seed,
        "shared": [round(a, 4) for _, a in history.evaluated()], "own": own,
        "drift": [round(r.drift, 3) for r in history],
    }  # fmt: skip


def run(work: Path, seeds: tuple[int, ...] = SEEDS) -> dict[str, Any]:
    """The table as JSON; what `work` holds already is not made again."""
    digits = data.load("digits")
    rows = []
    for seed in seeds:
        for number, skew in enumerate(SKEWS):
            for steps in STEPS:
                path = work / f"{number}_{steps}_s{seed}.json"
                if not path.exists():
                    path.write_text(json.dumps(row(digits, skew, steps, seed)), "utf-8")
                rows.append(json.loads(path.read_text("utf-8")))
    return {"format": FORMAT, "about": _about(digits, seeds), "rows": rows}


def _about(digits: Dataset, seeds: tuple[int, ...]) -> dict[str, Any]:
    return {
        "made_by": "python -m tinykit.explore.sweep averaging",
        "data": "digits",
        "test_examples": len(digits.test),
        "network": f"64-{HIDDEN}-10",
        "devices": DEVICES,
        "samples": SAMPLES,
        "rounds": ROUNDS,
        "local": {"batch": BATCH, "lr": LR},
        "seeds": list(seeds),
        "skews": list(SKEWS),
        "steps": list(STEPS),
        "versions": versions(),
    }

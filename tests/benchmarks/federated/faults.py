"""What devices that fail do to a simulation: digits, 30 devices of mostly three classes each.

Every run is done twice; memories of devices that did not answer are compared after each round.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from tests.benchmarks import Figure, at_least, at_most, plain
from tests.federated.world import ALGORITHMS, digits, federation, mlp
from tinykit.federated import Cohort, Faults, Local, Round, Simulation

ROUNDS, DEVICES = 15, 30
NAMES = ("FedAvg", "SCAFFOLD", "FedDyn", "PFLDyn-MAML")
KINDS: dict[str, tuple[Faults, int | Cohort]] = {
    "no faults": (Faults(), 6),
    "dropout 90 %": (Faults(dropout=0.9), 6),
    "NaN devices 50 %": (Faults(nan=0.5), 6),
    "updates × 1e6 20 %": (Faults(huge=0.2), 6),
    "empty cohorts": (Faults(), Cohort(1, sampling="poisson")),
    "nobody answers": (Faults(nan=1.0), 6),
}


def run() -> list[Figure]:
    figures: list[Figure] = []
    runs = good = same = touched = 0
    for kind, (faults, cohort) in KINDS.items():
        accuracies = []
        for name, engine in _pairs():
            first, spoiled = _one(name, engine, faults, cohort)
            again, _ = _one(name, engine, faults, cohort)
            runs += 1
            good += first.done == ROUNDS and _finite(first)
            same += first.fingerprint() == again.fingerprint()
            touched += spoiled
            accuracies.append((name, engine, first))
        for name, engine, done in accuracies:
            if name == "FedAvg" and engine == "vectorised":
                figures.append(
                    plain(f"FedAvg, {kind}: accuracy", 100 * (done.history[-1].accuracy or 0), "%")
                )
    return [
        at_least("runs with faults that finish with finite vectors", good, f"of {runs}", runs),
        at_least("runs with faults that give the same bits again", same, f"of {runs}", runs),
        at_most("memories changed of devices that did not answer", touched, "vectors", 0),
        *figures,
    ]


def _pairs() -> Iterator[tuple[str, str]]:
    for name in NAMES:
        for engine in ("sequential", "vectorised"):
            yield name, engine


def _one(name: str, engine: str, faults: Faults, cohort: int | Cohort) -> tuple[Simulation, int]:
    simulation = Simulation(
        mlp(16), federation((30,) * DEVICES), ALGORITHMS[name], engine=engine, cohort=cohort,
        local=Local(steps=5, batch=10, lr=0.1), faults=faults, test=digits().test,
        evaluate_every=ROUNDS,
    )  # fmt: skip
    before: dict[int, dict[str, torch.Tensor]] = {}
    touched = 0

    def look(run: Simulation, row: Round) -> None:
        nonlocal touched
        asked = run.cohort.draw(run.federation, run.seed, row.number - 1)
        answered = set(asked) - set(row.failed)
        for device in run.memories.rows:
            now = {n: v.clone() for n, v in run.memories.get(device, {}).items()}
            if device not in answered:
                old = before.get(device, {})
                touched += sum(n not in old or not torch.equal(old[n], v) for n, v in now.items())
            before[device] = now

    simulation.run(ROUNDS, progress=False, on_round=look)
    return simulation, touched


def _finite(run: Simulation) -> bool:
    tables = run.memories.state()["tables"]
    assert isinstance(tables, dict)
    return all(bool(v.isfinite().all()) for v in (*run.server.values(), *tables.values()))

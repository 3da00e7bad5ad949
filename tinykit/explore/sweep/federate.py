"""The table of "Federate": digits learnt by fifty devices, by algorithm, skew and who takes part.

A small network is trained by every algorithm on the same devices, with the same first model, the
same cohorts and the same dropouts for a seed. What an algorithm may choose for itself (step size on
the device, its own number) was chosen for it beforehand, by the same rule for all: the mean
validation accuracy over all rounds, on `TUNED_ON`, with seeds that are not in the table.
"""

from __future__ import annotations

import itertools
import json
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tinykit import data
from tinykit.data.partitions import IID, Dirichlet, partition
from tinykit.explore._federate_table import ALGORITHMS, FORMAT, Run, Where
from tinykit.explore.sweep import versions

if TYPE_CHECKING:
    from torch import nn

    from tinykit.data.federation import Federation
    from tinykit.data.types import Dataset, Split
    from tinykit.federated import Simulation, Strategy

log = logging.getLogger(__name__)

SEEDS = (0, 1, 2)
DEVICES, SAMPLES, ROUNDS, STEPS, BATCH, HIDDEN = 50, 20, 40, 20, 10, 64
#: alpha of the Dirichlet distribution; 0 is IID
SKEWS = (0.0, 0.3, 0.1)
PARTICIPATIONS = (0.1, 0.2, 1.0)
DROPOUTS = (0.0, 0.5, 0.9)
#: where, and with which seeds, settings are chosen
TUNED_ON, TUNING_SEEDS = Where(skew=0.1, participation=0.2, dropout=0.0), (100,)
_LRS = (0.1, 0.3, 0.5)
#: what is tried: step size on the device, the algorithm's own settings
CANDIDATES: dict[str, list[tuple[float, dict[str, float]]]] = {
    "fedavg": [(lr, {}) for lr in _LRS],
    "fedprox": [(lr, {"mu": mu}) for lr in _LRS for mu in (0.01, 0.1)],
    "fedavgm": [(lr, {"momentum": beta}) for lr in _LRS for beta in (0.5, 0.9)],
    "fedadam": [(lr, {"server_lr": eta}) for lr in _LRS for eta in (0.01, 0.03, 0.1)],
    "scaffold": [(lr, {}) for lr in _LRS],
    "feddyn": [(lr, {"alpha": a}) for lr in _LRS for a in (0.03, 0.1, 0.3)],
}


def run(work: Path, seeds: tuple[int, ...] = SEEDS) -> dict[str, Any]:
    """The table, as JSON. Runs found in `work` are not made again."""
    digits = data.load("digits")
    chosen = _chosen(work / "tuning.jsonl", digits)
    store = work / "runs.jsonl"
    done = {_key(row): row for row in _lines(store)}
    rows = []
    for seed, name, where in grid(seeds):
        key = name, where, seed
        if key not in done:
            done[key] = one(digits, name, where, seed, *chosen[name])
            _append(store, done[key])
        rows.append(done[key])
    holdings = {
        f"{skew:g}/{seed}": holds(federation(digits, skew, seed)).tolist()
        for skew in SKEWS
        for seed in seeds
    }
    return {
        "format": FORMAT,
        "about": _about(digits, seeds, chosen),
        "tuning": list(_lines(work / "tuning.jsonl")),
        "holdings": holdings,
        "rows": rows,
    }


def grid(seeds: tuple[int, ...]) -> Iterator[tuple[int, str, Where]]:
    """(seed, algorithm, setting); whole seeds one after another."""
    for seed, dropout, part, skew in itertools.product(seeds, DROPOUTS, PARTICIPATIONS, SKEWS):
        for name in ALGORITHMS:
            yield seed, name, Where(skew, part, dropout)


def federation(digits: Dataset, skew: float, seed: int) -> Federation:
    """Training images on fifty devices, none on two; whole minibatches, which run fastest."""
    how = Dirichlet(skew) if skew else IID()
    return partition(digits, how, devices=DEVICES, samples=SAMPLES, seed=seed)


def holds(parts: Federation) -> np.ndarray:
    """How many examples of each class every device has, (devices, classes)."""
    classes = len(parts.spec.classes)
    return np.stack([np.bincount(parts.pool.y[p], minlength=classes) for p in parts.train])


def network(seed: int) -> nn.Module:
    """64-64-10."""
    from tinykit.nn import zoo

    return zoo.mlp(data.load("digits").spec, hidden=(HIDDEN,), seed=seed)


def strategy(name: str, own: dict[str, float]) -> Strategy:
    """An algorithm by its name in the table, with its own settings."""
    from tinykit import federated

    return getattr(federated, ALGORITHMS[name])(**own)  # type: ignore[no-any-return]


def simulation(
    digits: Dataset, name: str, where: Where, seed: int, lr: float, own: dict[str, float]
) -> Simulation:
    """What is run for one row of the table, and by the explorer with another seed."""
    from tinykit.federated import Faults, Local, Simulation

    return Simulation(
        network(seed),
        federation(digits, where.skew, seed),
        strategy(name, own),
        local=Local(steps=STEPS, batch=BATCH, lr=lr),
        cohort=round(where.participation * DEVICES),
        seed=seed,
        engine="vectorised",
        faults=Faults(dropout=where.dropout),
    )


def right_by_class(made: Simulation, split: Split) -> np.ndarray:
    """How many examples of each class the shared model gets right, (classes,)."""
    from tinykit.nn.train import predict

    right = predict(made.model(), split.x).argmax(1) == split.y
    return np.bincount(split.y[right], minlength=len(made.federation.spec.classes))


def one(
    digits: Dataset, name: str, where: Where, seed: int, lr: float, own: dict[str, float]
) -> dict[str, Any]:
    """One row: right answers on the test split, drift and replies by round."""
    started = time.monotonic()
    run = watched(digits, name, where, seed, lr, own)
    row = {
        "algorithm": name, "skew": where.skew, "participation": where.participation,
        "dropout": where.dropout, "seed": seed,
        "right": run.right.tolist(), "classes": run.classes.tolist(),
        "drift": [None if np.isnan(d) else d for d in run.drift.tolist()],
        "answered": run.answered.tolist(), "refused": run.refused.tolist(),
    }  # fmt: skip
    log.info("%s: %d right, %.1f s", _key(row), run.right[-1], time.monotonic() - started)
    return row


def watched(
    digits: Dataset, name: str, where: Where, seed: int, lr: float, own: dict[str, float],
    rounds: int = ROUNDS, watch: Callable[[Run], None] = lambda run: None,
) -> Run:  # fmt: skip
    """A run of `rounds` rounds; `watch` is called with the run so far after each of them."""
    right: list[np.ndarray] = []

    def so_far(made: Simulation) -> Run:
        history = made.history
        return Run(
            seed, np.array([int(r.sum()) for r in right]), right[-1],
            np.array([round(r.drift, 2) for r in history]),
            np.array([r.answered for r in history]),
            # all else that fails here is an update that the server's guard refuses
            np.array([sum(why != "it dropped out" for why in r.failed.values()) for r in history]),
        )  # fmt: skip

    def after(made: Simulation, _: Any) -> None:
        right.append(right_by_class(made, digits.test))
        watch(so_far(made))

    made = simulation(digits, name, where, seed, lr, own)
    made.run(rounds, on_round=after, progress=False)
    return so_far(made)


def _chosen(store: Path, digits: Dataset) -> dict[str, tuple[float, dict[str, float]]]:
    """The best candidate of each algorithm; tries those that `store` does not have."""
    known = {(row["algorithm"], row["lr"], *row["own"].items()): row for row in _lines(store)}
    best = {}
    for name, candidates in CANDIDATES.items():
        scores = []
        for lr, own in candidates:
            row = known.get((name, lr, *own.items()))
            if row is None:
                score = float(np.mean([_score(digits, name, s, lr, own) for s in TUNING_SEEDS]))
                row = {"algorithm": name, "lr": lr, "own": own, "score": round(score, 4)}
                _append(store, row)
                log.info("%s", row)
            scores.append(row["score"])
        best[name] = candidates[int(np.argmax(scores))]
    return best


def _score(digits: Dataset, name: str, seed: int, lr: float, own: dict[str, float]) -> float:
    """Mean accuracy on the validation split, over all rounds."""
    right: list[int] = []
    simulation(digits, name, TUNED_ON, seed, lr, own).run(
        ROUNDS,
        on_round=lambda sim, _: right.append(int(right_by_class(sim, digits.val).sum())),
        progress=False,
    )
    return float(np.mean(right)) / len(digits.val)


def _models(digits: Dataset, name: str, lr: float, own: dict[str, float]) -> list[int]:
    """How many vectors of the model's size go down and up for a device and round, counted."""
    made = simulation(digits, name, TUNED_ON, 0, lr, own)
    one = 4 * made.setting.net.size
    return [made.bytes_down // one, made.bytes_up // one]


def _key(row: dict[str, Any]) -> tuple[Any, ...]:
    where = Where(row["skew"], row["participation"], row["dropout"])
    return row["algorithm"], where, row["seed"]


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    if path.exists():
        yield from map(json.loads, path.read_text("utf-8").splitlines())


def _append(path: Path, row: dict[str, Any]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def _about(
    digits: Dataset, seeds: tuple[int, ...], chosen: dict[str, tuple[float, dict[str, float]]]
) -> dict[str, Any]:
    parameters = sum(p.numel() for p in network(0).parameters())
    return {
        "made_by": "python -m tinykit.explore.sweep federate",
        "data": "digits",
        "test_examples": len(digits.test),
        "test_by_class": np.bincount(digits.test.y, minlength=10).tolist(),
        "network": f"64-{HIDDEN}-10",
        "parameters": parameters,
        "models": {name: _models(digits, name, *chosen[name]) for name in chosen},
        "devices": DEVICES,
        "samples": SAMPLES,
        "rounds": ROUNDS,
        "local": {"steps": STEPS, "batch": BATCH},
        "seeds": list(seeds),
        "knobs": {"skew": SKEWS, "participation": PARTICIPATIONS, "dropout": DROPOUTS},
        "settings": {name: {"lr": lr, **own} for name, (lr, own) in chosen.items()},
        "tuned_on": asdict(TUNED_ON),
        "versions": versions(),
    }

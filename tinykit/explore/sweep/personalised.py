"""The table of personalised federated learning: one model for all, or one that each customises.

The experiment of Acar et al. (ICML 2021) on data that ships: 100 devices with three to five classes
each, whose labels mean something else on every device (ALID), so that no single model can serve
all. Every method's final model is customised on each device in its own way, and by fine-tuning; a
device's accuracy is that on its own held-out examples. The best of a few fine-tunings is reported
for all methods alike, chosen on those same examples, which favours what is fine-tuned.
"""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tinykit import data
from tinykit.data.partitions import FewClasses, PermutedLabels, partition
from tinykit.data.types import Split
from tinykit.explore.sweep import versions
from tinykit.federated.customise import MAML, Prototypes
from tinykit.federated.local import Local
from tinykit.federated.simulation import Simulation
from tinykit.federated.strategies.fedavg import FedAvg
from tinykit.federated.strategies.feddyn import FedDyn
from tinykit.federated.strategies.scaffold import Scaffold
from tinykit.nn.zoo import mlp

if TYPE_CHECKING:
    from torch import nn

    from tinykit.data.federation import Federation
    from tinykit.federated.strategy import Strategy

log = logging.getLogger(__name__)

FORMAT = 1
SEEDS = (0, 1, 2, 3, 4)
DEVICES, SAMPLES, TEST = 100, 16, 0.25
CLASSES = (3, 5)
HIDDEN = 64
LOCAL = Local(steps=20, batch=10, lr=0.1, decay=0.997, weight_decay=1e-3, clip=10)
#: share of devices a round → rounds; less takes longer to reach everybody
ROUNDS = {1.0: 24, 0.1: 96, 0.01: 400}
EVALUATIONS = 8
INNER = MAML(steps=3, lr=0.3)
METHODS: dict[str, Strategy] = {
    "FedAvg": FedAvg(),
    "SCAFFOLD": Scaffold(),
    "FedDyn": FedDyn(alpha=0.01),
    "Per-FedAvg": FedAvg(customise=INNER),
    "PFLScaf, MAML": Scaffold(customise=INNER),
    "PFLDyn, MAML": FedDyn(alpha=0.01, customise=INNER),
    "FedAvg, prototypes": FedAvg(customise=Prototypes()),
    "PFLScaf, prototypes": Scaffold(customise=Prototypes()),
    "PFLDyn, prototypes": FedDyn(alpha=0.1, customise=Prototypes()),
}
#: ways to fine-tune a model on a device: full-batch gradient steps
TUNINGS = (MAML(5, 0.1), MAML(20, 0.1), MAML(50, 0.1), MAML(20, 0.3), MAML(50, 0.3))
#: what a device reaches without anybody else
ALONE = MAML(200, 0.3)


def run(work: Path, seeds: tuple[int, ...]) -> dict[str, Any]:
    """The table as JSON; what `work` holds already is not made again."""
    rows = []
    for seed in seeds:
        federation = devices(seed)
        for share in ROUNDS:
            for method in METHODS:
                path = work / f"{method.replace(', ', '_')}_{share}_s{seed}.json"
                if not path.exists():
                    path.write_text(json.dumps(row(federation, method, share, seed)))
                rows.append(json.loads(path.read_text()))
        rows.append(alone(federation, seed))
    return {"format": FORMAT, "about": _about(seeds), "rows": rows}


def devices(seed: int) -> Federation:
    """100 devices of all digits, those of the test split included: the tests are the devices'."""
    digits = data.load("digits")
    parts = (digits.train, digits.val, digits.test)
    everything = Split(
        np.concatenate([part.x for part in parts]), np.concatenate([part.y for part in parts])
    )
    how = PermutedLabels(over=FewClasses(CLASSES))
    return partition(
        everything, how, devices=DEVICES, samples=SAMPLES, test=TEST, seed=seed, spec=digits.spec
    )


def network(seed: int) -> nn.Module:
    """An MLP of two hidden layers: 64-64-64-10."""
    return mlp(data.load("digits").spec, hidden=(HIDDEN, HIDDEN), seed=seed)


def row(federation: Federation, method: str, share: float, seed: int) -> dict[str, Any]:
    """One run: mean device accuracy by round as the method customises, and after fine-tuning."""
    started = time.monotonic()
    rounds = ROUNDS[share]
    simulation = Simulation(
        network(seed),
        federation,
        METHODS[method],
        local=LOCAL,
        cohort=share,
        seed=seed,
        personalise=TUNINGS[0] if method in ("FedAvg", "SCAFFOLD", "FedDyn") else None,
        evaluate_every=rounds // EVALUATIONS,
        evaluate_devices=None,
        device="cpu",
    )
    history = simulation.run(rounds, progress=False)
    last = list(history[-1].device_accuracy.values())
    tuned = {
        f"{way.steps} x {way.lr:g}": _mean(simulation.device_accuracy(personalise=way))
        for way in TUNINGS
    }
    log.info("%s, %g, seed %d: %.1f s", method, share, seed, time.monotonic() - started)
    return {
        "method": method,
        "share": share,
        "seed": seed,
        "rounds": [number for number, _ in history.personal()],
        "accuracy": [round(value, 4) for _, value in history.personal()],
        "worst_tenth": round(float(np.quantile(last, 0.1)), 4),
        "tuned": tuned,
    }


def alone(federation: Federation, seed: int) -> dict[str, Any]:
    """Every device trains by itself."""
    untrained = Simulation(network(seed), federation, local=LOCAL, seed=seed, device="cpu")
    accuracy = _mean(untrained.device_accuracy(personalise=ALONE))
    return {"method": "alone", "share": 0.0, "seed": seed, "accuracy": [accuracy]}


def _mean(accuracies: dict[int, float]) -> float:
    return round(sum(accuracies.values()) / len(accuracies), 4)


def _about(seeds: tuple[int, ...]) -> dict[str, Any]:
    return {
        "made_by": "python -m tinykit.explore.sweep personalised",
        "data": f"digits, {DEVICES} devices x {SAMPLES}, {TEST:.0%} of them for tests",
        "devices": f"{CLASSES[0]} to {CLASSES[1]} classes each, labels permuted",
        "network": f"mlp 64-{HIDDEN}-{HIDDEN}-10",
        "local": repr(LOCAL),
        "methods": {name: repr(strategy) for name, strategy in METHODS.items()},
        "alone": repr(ALONE),
        "seeds": list(seeds),
        "versions": versions(),
    }

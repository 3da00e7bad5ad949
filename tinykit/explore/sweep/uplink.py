"""The table of what devices send: accuracy with less of an update, and with noise in it.

Both parts train the same network on digits. *Less*: 50 devices that hold few classes each, updates
with few bits, few entries, with and without error feedback. *Noise*: ever more devices, each with
its own draw of the same digits, at the same ε: more devices bring no more digits, so that what
changes with their number is the noise.
"""

from __future__ import annotations

import json
import logging
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tinykit import data
from tinykit.data.federation import Federation
from tinykit.data.partitions import Dirichlet, partition
from tinykit.explore.sweep import versions
from tinykit.federated.cohort import Cohort
from tinykit.federated.compression import Float32, KBit, Sign, TopK
from tinykit.federated.local import Local
from tinykit.federated.privacy import Privacy, noise_for
from tinykit.federated.simulation import Simulation
from tinykit.federated.strategies.fedavg import FedAvg
from tinykit.nn.zoo import mlp

if TYPE_CHECKING:
    from torch import nn

    from tinykit.federated.compression import Compression

log = logging.getLogger(__name__)

FORMAT = 1
SEEDS = (0, 1, 2)
#: less
DEVICES, SAMPLES, ALPHA = 50, 25, 0.1
EVERY = 4
LOCAL = Local(steps=20, batch=10, lr=0.1)
BITS = (32, 4, 2, 1)
KEPT = (1.0, 0.05)
#: share of the devices a round → rounds
ROUNDS = {0.1: 40, 1.0: 20}
#: noise
POPULATIONS = (100, 300, 1000)
BUDGETS = (1.0, 2.0, 8.0, math.inf)
EACH, SHARE, CLIP, PRIVATE_ROUNDS = 20, 0.1, 1.0, 40
PRIVATE_LOCAL = Local(steps=5, batch=10, lr=0.2)


def run(work: Path, seeds: tuple[int, ...]) -> dict[str, Any]:
    """The table as JSON; what `work` holds already is not made again."""
    less, noisy = [], []
    for seed in seeds:
        for share in ROUNDS:
            for bits in BITS:
                for kept in KEPT:
                    for feedback in (True, False) if (bits, kept) != (32, 1.0) else (False,):
                        path = work / f"less_{bits}_{kept}_{feedback:d}_{share}_s{seed}.json"
                        if not path.exists():
                            found = compressed(bits, kept, feedback, share, seed)
                            path.write_text(json.dumps(found))
                        less.append(json.loads(path.read_text()))
        for devices in POPULATIONS:
            for budget in BUDGETS:
                path = work / f"noise_{devices}_{budget}_s{seed}.json"
                if not path.exists():
                    path.write_text(json.dumps(private(devices, budget, seed)))
                noisy.append(json.loads(path.read_text()))
    return {"format": FORMAT, "about": _about(seeds), "less": less, "noisy": noisy}


def network(seed: int) -> nn.Module:
    """An MLP of one hidden layer: 64-64-10."""
    return mlp(data.load("digits").spec, hidden=(64,), seed=seed)


def method(bits: int, kept: float, feedback: bool) -> Compression:
    """`bits` of each number, of a share `kept` of the entries; 1 bit: signs."""
    if bits == 32:
        return Float32() if kept == 1 else TopK(kept, error_feedback=feedback)
    few: KBit | Sign
    if bits == 1:
        # a scale for each tensor, unless entries of all of them travel together
        few = Sign(scale="tensor" if kept == 1 else "vector", error_feedback=feedback)
    else:
        few = KBit(bits, error_feedback=feedback)
    return few if kept == 1 else TopK(kept, error_feedback=feedback) + few


def uneven(seed: int) -> Federation:
    """50 devices of 25 digits each, of few classes."""
    how = Dirichlet(ALPHA)
    return partition(data.load("digits"), how, devices=DEVICES, samples=SAMPLES, seed=seed)


def compressed(bits: int, kept: float, feedback: bool, share: float, seed: int) -> dict[str, Any]:
    """One run of FedAvg: accuracy by round, and what a device sends in one."""
    started = time.monotonic()
    simulation = Simulation(
        network(seed),
        uneven(seed),
        local=LOCAL,
        cohort=share,
        seed=seed,
        test=data.load("digits").test,
        evaluate_every=EVERY,
        compression=method(bits, kept, feedback),
        device="cpu",
    )
    history = simulation.run(ROUNDS[share], progress=False)
    log.info("%d bits of %g, %s, %g, seed %d: %.1f s", bits, kept, feedback, share, seed,
             time.monotonic() - started)  # fmt: skip
    return {
        "bits": bits,
        "kept": kept,
        "feedback": feedback,
        "asked": share,
        "seed": seed,
        "bytes_each": simulation.uplink.bytes_each,
        "cohort": round(share * DEVICES),
        "rounds": [when for when, _ in history.evaluated()],
        "accuracy": [round(value, 4) for _, value in history.evaluated()],
    }


def alike(devices: int, seed: int) -> Federation:
    """Any number of devices, each with 20 of the same digits, drawn with replacement."""
    digits, rng = data.load("digits"), np.random.default_rng(seed)
    parts = tuple(rng.integers(0, len(digits.train), EACH) for _ in range(devices))
    return Federation(f"digits, {devices} devices", digits.spec, digits.train, parts)


def private(devices: int, budget: float, seed: int, rounds: int = PRIVATE_ROUNDS) -> dict[str, Any]:
    """One run of DP-FedAvg with ε = `budget` after all rounds."""
    started = time.monotonic()
    delta = devices**-1.1
    noise = 0.0 if math.isinf(budget) else noise_for(budget, rounds, SHARE, delta)
    simulation = Simulation(
        network(seed),
        alike(devices, seed),
        FedAvg(weighted=False),
        local=PRIVATE_LOCAL,
        cohort=Cohort(share=SHARE, sampling="poisson"),
        seed=seed,
        test=data.load("digits").test,
        evaluate_every=rounds,
        privacy=Privacy(CLIP, noise),
        device="cpu",
    )
    history = simulation.run(rounds, progress=False)
    accuracy, spent = history[-1].accuracy, history[-1].epsilon
    assert accuracy is not None
    assert spent is not None
    log.info("%d devices, epsilon %g, seed %d: %.1f s", devices, budget, seed,
             time.monotonic() - started)  # fmt: skip
    return {
        "devices": devices,
        "epsilon": None if math.isinf(budget) else budget,
        "spent": None if math.isinf(spent) else round(spent, 4),
        "delta": delta,
        "noise": noise,
        "seed": seed,
        "accuracy": round(accuracy, 4),
    }


def _about(seeds: tuple[int, ...]) -> dict[str, Any]:
    return {
        "made_by": "python -m tinykit.explore.sweep uplink",
        "network": "mlp 64-64-10",
        "less": f"digits, {DEVICES} devices x {SAMPLES}, Dirichlet({ALPHA:g}), FedAvg, "
        f"{ROUNDS[0.1]} rounds with a tenth of them, {ROUNDS[1.0]} with all, {LOCAL!r}",
        "noisy": f"digits, devices of {EACH} drawn with replacement, DP-FedAvg, "
        f"{PRIVATE_ROUNDS} rounds, a share of {SHARE:g} by lot, clip {CLIP:g}, {PRIVATE_LOCAL!r}",
        "delta": "devices^-1.1",
        "rounds": PRIVATE_ROUNDS,
        "share": SHARE,
        "clip": CLIP,
        "seeds": list(seeds),
        "versions": versions("opacus"),
    }

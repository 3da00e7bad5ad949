"""The table of LC on LeNet300 and MNIST: the LC algorithm beside what is simpler.

For each seed a network is trained, and each scheme compresses it in three ways: directly (the C
step of the trained weights, no training), directly and then retrained in its own numbers for as
many passes over the data as LC takes, and by the LC algorithm. Errors are those of the test split
at w = Δ(Θ); nothing was chosen by them but the settings below, which all seeds share.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tinykit import data
from tinykit.compress.lc.algorithm import Schedule
from tinykit.compress.lc.compressed import Compressed
from tinykit.compress.lc.retrain import retrain
from tinykit.compress.lc.scheme import LC
from tinykit.compress.terms import Codebook, LowRank, Sparsify
from tinykit.data.types import Dataset, Split
from tinykit.explore._lc_table import FORMAT
from tinykit.explore.sweep import versions
from tinykit.nn.train import accuracy, fit
from tinykit.nn.weights import load_weights, save_weights
from tinykit.nn.zoo import mlp

if TYPE_CHECKING:
    from torch import nn

    from tinykit.compress.terms import Term

log = logging.getLogger(__name__)

SEEDS = (0, 1, 2)
#: how the uncompressed network is trained
EPOCHS, LR, DECAY = 20, 2e-3, 0.05

#: name -> what is compressed how
SCHEMES: dict[str, Term] = {
    "two levels a layer": Codebook(2),
    "5 % of the weights": Sparsify(keep=0.05),
    "rank selection": LowRank("auto", alpha=1e-6),
    "rank selection, 4 times the price": LowRank("auto", alpha=4e-6),
    "two levels + 1 %": Codebook(2, shared=True) + Sparsify(keep=0.01),  # type: ignore[dict-item]
    "1 % + rank 4 + two levels": (
        Sparsify(keep=0.01, shared=False) + LowRank(4) + Codebook(2)  # type: ignore[dict-item]
    ),
}


def settings(term: Term) -> LC:
    """How LC runs `term` here."""
    return LC(term, epochs=1, lr=0.15, batch_size=256, precision="bfloat16")


def run(work: Path, seeds: tuple[int, ...]) -> dict[str, Any]:
    """The table as JSON; what `work` holds already is not made again."""
    mnist = everything(data.load("mnist"))
    rows = []
    for seed in seeds:
        reference = trained(mnist, seed, work)
        rows.append(_row("reference", "float32", seed, reference, mnist))
        for name, term in SCHEMES.items():
            rows += _scheme(name, term, seed, reference, mnist, work)
    return {"format": FORMAT, "about": _about(mnist, seeds), "rows": rows}


def everything(mnist: Dataset) -> Dataset:
    """All 60,000 training images to train on, as the papers do: nothing is chosen by validation."""
    x = np.concatenate([mnist.train.x, mnist.val.x])
    y = np.concatenate([mnist.train.y, mnist.val.y])
    return Dataset("mnist", mnist.spec, Split(x, y), mnist.val, mnist.test)


def trained(mnist: Dataset, seed: int, work: Path) -> nn.Module:
    """LeNet300 as it is before compression."""
    model = mlp(mnist.spec, seed=seed)
    path = work / f"reference_s{seed}.npz"
    if path.exists():
        return load_weights(model, path)
    fit(model, mnist, EPOCHS, seed=seed, lr=LR, weight_decay=DECAY, progress=False)
    save_weights(model, path)
    return model


def _scheme(
    name: str, term: Term, seed: int, reference: nn.Module, mnist: Dataset, work: Path
) -> list[dict[str, Any]]:
    scheme = settings(term)
    algorithm = scheme.algorithm(
        reference, mnist, seed, lambda net: accuracy(net, mnist.test.x, mnist.test.y)
    )
    direct = algorithm.result()
    ways: dict[str, Callable[[], Compressed]] = {
        "direct": lambda: direct,
        "retrained": lambda: retrain(
            direct, scheme.l_step(mnist), scheme.steps, seed=seed, progress=False
        ),
        "lc": lambda: algorithm.run(progress=False),
    }
    rows = []
    for method, make in ways.items():
        path = work / f"{name.replace(' ', '_').replace('%', 'pc')}_{method}_s{seed}.json"
        if not path.exists():
            started = time.monotonic()
            made = make()
            row = _row(name, method, seed, made, mnist, time.monotonic() - started)
            path.write_text(json.dumps(row))
            log.info("%s, seed %d, %s: %.2f %%, %d bytes", name, seed, method, row["error"],
                     row["bytes"])  # fmt: skip
        rows.append(json.loads(path.read_text()))
    return rows


def _row(
    scheme: str,
    method: str,
    seed: int,
    made: Compressed | nn.Module,
    mnist: Dataset,
    seconds: float = 0.0,
) -> dict[str, Any]:
    row: dict[str, Any] = {"scheme": scheme, "method": method, "seed": seed}
    if not isinstance(made, Compressed):
        model, row["bytes"] = made, 4 * sum(p.numel() for p in made.parameters())
    else:
        model, row["bytes"] = made.model, made.encode().total
        row["numbers"] = sum(theta.numbers for theta in made.thetas)
        row["ranks"] = [r for t in made.thetas if (r := getattr(t, "rank", None)) is not None]
        row["gap"] = made.gap
        if method == "lc":
            row["history"] = [
                [round(v, 6) for v in (h.mu, h.gap, 100 * (1 - h.score))] for h in made.history
            ]
    row["error"] = round(100 * (1 - accuracy(model, mnist.test.x, mnist.test.y)), 4)
    row["seconds"] = round(seconds, 1)
    return row


def _about(mnist: Dataset, seeds: tuple[int, ...]) -> dict[str, Any]:
    scheme = settings(Codebook(2))
    sgd = scheme.l_step(mnist)
    passes = sum(map(sgd.passes, range(scheme.steps)))
    return {
        "made_by": "python -m tinykit.explore.sweep lc_mnist",
        "data": "mnist",
        "test_examples": len(mnist.test),
        "network": "mlp: 784-300-100-10",
        "seeds": list(seeds),
        "training": (
            f"float: {EPOCHS} epochs; LC: {scheme.steps} steps, {passes} epochs in all, "
            f"{scheme.precision} products"
        ),
        "schedule": asdict(Schedule(scheme.mu, scheme.growth, scheme.steps)),
        "versions": versions(),
    }

"""The table of sums of compressions on a small network and digits: LC beside what is simpler.

Every sum of single weights (a share of each layer), low rank and a codebook is applied to the same
trained network in three ways: directly (the C step of the trained weights), directly and then
retrained in its own numbers, and by the LC algorithm; the latter two make the same number of passes
over the data. Errors are those of the test split at w = Δ(Θ), bytes those of a file that reads
back. The settings of both were chosen on the validation split, for four of the sums.
"""

from __future__ import annotations

import itertools
import json
import logging
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinykit import data
from tinykit.compress.csteps.additive import Additive
from tinykit.compress.csteps.theta import Sum, Theta
from tinykit.compress.encoded.thetas import Context, theta_bytes
from tinykit.compress.lc.retrain import retrain
from tinykit.compress.lc.scheme import LC
from tinykit.compress.terms import Codebook, Combination, LowRank, Sparsify, Term
from tinykit.explore._lc_table import FORMAT, METHODS
from tinykit.explore.sweep import versions
from tinykit.nn.train import accuracy, fit
from tinykit.nn.zoo import mlp

if TYPE_CHECKING:
    from torch import nn

    from tinykit.compress.lc.compressed import Compressed
    from tinykit.compress.lc.task import Task
    from tinykit.data.types import Dataset

log = logging.getLogger(__name__)

SEEDS = (0, 1, 2)
#: LeNet300 at a fifth of its width: 64-60-20-10
WIDTH, EPOCHS = 0.2, 40
NETWORK = "mlp: 64-60-20-10"
#: peak learning rate (Adam) of retraining
RETRAIN_LR = 1e-2
#: how often each term of a sum has its turn in a C step, which starts from the step before
SWEEPS = 4
#: the knobs; 0 is "this term is left out"
KEEPS = (0.0, 0.01, 0.03, 0.1)
RANKS = (0, 1, 2, 4)
LEVELS = (0, 2, 4, 8)
#: names of the terms, in the order in which they are added
TERMS = ("single weights", "low rank", "codebook")


def term(keep: float, rank: int, levels: int) -> Term:
    """What the knobs add up to; each layer alone, as a matrix belongs to one layer."""
    found: list[Term] = []
    if keep:
        found.append(Sparsify(keep=keep, shared=False))
    if rank:
        found.append(LowRank(rank))
    if levels:
        found.append(Codebook(levels))
    return found[0] if len(found) == 1 else Combination(tuple(found))


def settings(what: Term) -> LC:
    """How LC runs `what` here."""
    return LC(what, steps=20, epochs=2, mu=1e-3, growth=1.5, lr=0.1, decay=0.97)


def tasks(model: nn.Module, digits: Dataset, what: Term) -> list[Task]:
    """What `settings` compresses, with `SWEEPS` in each C step of a sum."""
    return [
        replace(task, step=replace(task.step, sweeps=SWEEPS))
        if isinstance(task.step, Additive)
        else task
        for task in settings(what).tasks(model, digits)
    ]


def grid() -> list[tuple[float, int, int]]:
    """(keep, rank, levels) of each sum."""
    return [key for key in itertools.product(KEEPS, RANKS, LEVELS) if any(key)]


def reference(digits: Dataset, seed: int) -> nn.Module:
    """The network before compression."""
    model = mlp(digits.spec, WIDTH, seed=seed)
    fit(model, digits, EPOCHS, seed=seed, progress=False)
    return model.eval()


def run(work: Path, seeds: tuple[int, ...]) -> dict[str, Any]:
    """The table as JSON; what `work` holds already is not made again."""
    digits = data.load("digits")
    rows: list[dict[str, Any]] = []
    for seed in seeds:
        path = work / f"s{seed}.json"
        known: list[dict[str, Any]] = json.loads(path.read_text()) if path.exists() else []
        done = {_key(row) for row in known}
        model = reference(digits, seed)
        if not known:
            size = 4 * sum(p.numel() for p in model.parameters())
            known.append(
                {"keep": 0.0, "rank": 0, "levels": 0, "method": "reference", "seed": seed,
                 "error": _error(model, digits), "bytes": size}
            )  # fmt: skip
        for key in grid():
            if key not in done:
                known += methods(key, model, digits, seed)
                path.write_text(json.dumps(known))
        order = {key: n for n, key in enumerate([(0.0, 0, 0), *grid()])}
        rows += sorted(known, key=lambda row: order[_key(row)])
    return {"format": FORMAT, "about": _about(digits, seeds), "rows": rows}


def methods(
    key: tuple[float, int, int], model: nn.Module, digits: Dataset, seed: int
) -> list[dict[str, Any]]:
    """The rows of one sum and seed: directly, retrained, LC."""
    started = time.monotonic()
    what = term(*key)
    scheme = replace(settings(what), what=tasks(model, digits, what))
    algorithm = scheme.algorithm(
        model, digits, seed, lambda net: accuracy(net, digits.test.x, digits.test.y)
    )
    direct = algorithm.result()
    by_lc = algorithm.run(progress=False)
    by_training = retrain(
        direct, scheme.l_step(digits), scheme.steps, lr=RETRAIN_LR, seed=seed, progress=False
    )
    rows = []
    for method, made in zip(METHODS, (direct, by_training, by_lc), strict=True):
        row = {
            **dict(zip(("keep", "rank", "levels"), key, strict=True)),
            "method": method, "seed": seed, "error": _error(made.model, digits),
            "bytes": made.encode().total, "gap": _short(made.gap),
            "numbers": sum(theta.numbers for theta in made.thetas),
            "parts": list(parts(made, key)),
        }  # fmt: skip
        if method == "lc":
            row["history"] = [
                [_short(h.mu), _short(h.gap), round(100 * (1 - h.score), 2)] for h in made.history
            ]
        rows.append(row)
    log.info(
        "%s, seed %d: %s %%, %d bytes, %.1f s", key, seed, [row["error"] for row in rows],
        rows[-1]["bytes"], time.monotonic() - started,
    )  # fmt: skip
    return rows


def parts(made: Compressed, key: tuple[float, int, int]) -> Iterator[list[Any]]:
    """[layer, term, bytes] of what the file holds; the rest is biases, names, checksum."""
    present = [name for name, knob in zip(TERMS, key, strict=True) if knob]
    for layer, (task, theta) in enumerate(zip(made.tasks, made.thetas, strict=True), 1):
        terms: tuple[Theta, ...] = theta.terms if isinstance(theta, Sum) else (theta,)
        for name, one in zip(present, terms, strict=True):
            data_, _ = theta_bytes(one, tuple(theta.shape), Context(task.parameters[0]))
            yield [layer, name, len(data_)]


def _key(row: dict[str, Any]) -> tuple[float, int, int]:
    return row["keep"], row["rank"], row["levels"]


def _error(model: nn.Module, digits: Dataset) -> float:
    return round(100 * (1 - accuracy(model, digits.test.x, digits.test.y)), 4)


def _short(value: float) -> float:
    return float(f"{value:.3g}")


def _about(digits: Dataset, seeds: tuple[int, ...]) -> dict[str, Any]:
    scheme = settings(Codebook(2))
    sgd = scheme.l_step(digits)
    passes = sum(sgd.passes(n) for n in range(scheme.steps))
    return {
        "made_by": "python -m tinykit.explore.sweep lc_digits",
        "data": "digits",
        "test_examples": len(digits.test),
        "network": NETWORK,
        "seeds": list(seeds),
        "knobs": {"keep": KEEPS, "rank": RANKS, "levels": LEVELS},
        "training": (
            f"float: {EPOCHS} epochs; LC: {scheme.steps} steps, {passes} epochs in all; "
            f"retraining: {passes} epochs"
        ),
        "versions": versions(),
    }

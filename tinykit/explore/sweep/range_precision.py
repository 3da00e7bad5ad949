"""The table of range and precision: where to clip, at how many bits, before and under training.

TorchQuant's experiment (Tailor, Alizadeh, Lane: TorchQuant, On-Device Intelligence Workshop, MLSys
2021) on a network that trains in a second. All weights, or all hidden activations, are quantized
with one scale a tensor, whose range ends at a share of the largest magnitude in that tensor; the
rest of the network stays float. Accuracies are those of the test split; nothing was chosen by them.

Methods: "ptq", no training; "clipped" and "identity", training with this straight-through rule at a
fixed range; "norm", identity with the gradient of each tensor clipped to a norm; "lsq", training
that starts at this range and learns it.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinykit import data
from tinykit.explore.sweep import versions
from tinykit.nn.train import accuracy, default_epochs, fit
from tinykit.nn.zoo import mlp
from tinykit.quant.ranges import WHAT, Ranged, clip_gradients

if TYPE_CHECKING:
    from torch import nn

    from tinykit.data.types import Dataset

log = logging.getLogger(__name__)

FORMAT = 1
SEEDS = (0, 1, 2)
BITS = (2, 3, 4, 6, 8)
#: shares of the largest magnitude, without training and with it
SHARES = tuple(round(0.05 * i, 2) for i in range(1, 21))
TRAINED_SHARES = (0.1, 0.2, 0.35, 0.6, 1.0)
TRAINED_BITS = (2, 4, 8)
OBSERVERS = ("minmax", "ema", "percentile", "mse", "kl")
#: method → kind of quantizer that is trained
METHODS = {"clipped": "clipped", "identity": "identity", "norm": "identity", "lsq": "lsq"}
#: where gradients are clipped by norm as well, and to what norm
NORM_BITS, NORM = (2,), 0.1
WIDTH = 0.2
#: training with quantizers in place: as many passes, and the learning rate of the float training
EPOCHS, LR = 12, 1e-2
#: images that an observer sees at a time (an EMA averages over such batches)
BATCH = 32


def run(work: Path, seeds: tuple[int, ...]) -> dict[str, Any]:
    """The table as JSON; what `work` holds already is not made again."""
    digits = data.load("digits")
    rows: list[dict[str, Any]] = []
    for seed in seeds:
        model = network(digits, seed)
        rows += _kept(work / f"float_s{seed}.json", partial(_float, model, digits, seed))
        for what in WHAT:
            bench = Bench(Ranged.of(model, digits, what), seed)
            for bits in BITS:
                path = work / f"{what}_b{bits}_s{seed}.json"
                rows += _kept(path, partial(bench.rows, bits))
    return {"format": FORMAT, "about": _about(digits, seeds), "rows": rows}


def network(digits: Dataset, seed: int) -> nn.Module:
    """The float network that all of a seed's rows start from."""
    model = mlp(digits.spec, WIDTH, seed=seed)
    fit(model, digits, seed=seed, progress=False)
    return model


@dataclass(frozen=True)
class Bench:
    """A trained network, and what of it is quantized; each row measures one choice."""

    ranged: Ranged
    seed: int

    def rows(self, bits: int) -> list[dict[str, Any]]:
        """Everything that the table holds for these bits."""
        started = time.monotonic()
        made = [self.untrained(bits, share) for share in SHARES]
        made += [self.observed(bits, name) for name in OBSERVERS]
        for method in METHODS if bits in TRAINED_BITS else ():
            if method != "norm" or bits in NORM_BITS:
                made += [self.trained(bits, share, method) for share in TRAINED_SHARES]
        log.info("%s, %d bits, seed %d: %.1f s", self.ranged.what, bits, self.seed,
                 time.monotonic() - started)  # fmt: skip
        return made

    def untrained(self, bits: int, share: float) -> dict[str, Any]:
        """The row of a range without training."""
        return self._row(self.ranged.at(bits, self._ends(share)), bits, "ptq", share=share)

    def observed(self, bits: int, name: str) -> dict[str, Any]:
        """The row of the ranges that an observer finds."""
        ends = self.ranged.observed(bits, name, BATCH)
        return self._row(self.ranged.at(bits, ends), bits, name, shares=self._shares(ends))

    def network(self, bits: int, share: float, method: str) -> nn.Module:
        """A network trained with quantizers whose range starts at `share`."""
        small = self.ranged.at(bits, self._ends(share), METHODS[method])
        if method == "norm":
            clip_gradients(small, NORM)
        fit(small, self.ranged.data, EPOCHS, seed=self.seed, lr=LR, progress=False)
        return small

    def trained(self, bits: int, share: float, method: str) -> dict[str, Any]:
        """The row of a training that starts at a range."""
        small = self.network(bits, share, method)
        row = self._row(small, bits, method, share=share)
        if method == "lsq":
            row["shares"] = self._shares(self.ranged.ends(small))
        return row

    def _ends(self, share: float) -> list[float]:
        return [share * top for top in self.ranged.tops]

    def _shares(self, ends: list[float]) -> list[float]:
        return [round(end / top, 4) for end, top in zip(ends, self.ranged.tops, strict=True)]

    def _row(self, small: nn.Module, bits: int, method: str, **more: Any) -> dict[str, Any]:
        row = {"what": self.ranged.what, "bits": bits, "method": method, "seed": self.seed, **more}
        test = self.ranged.data.test
        row["accuracy"] = round(accuracy(small, test.x, test.y), 6)
        if method not in METHODS:
            row["clipping"], row["rounding"] = (round(e, 8) for e in self.ranged.errors(small))
        return row


def _float(model: nn.Module, digits: Dataset, seed: int) -> list[dict[str, Any]]:
    """The network itself, and after the training that the others get, without quantizers."""
    rows = []
    more = mlp(digits.spec, WIDTH, seed=seed)
    more.load_state_dict(model.state_dict())
    fit(more, digits, EPOCHS, seed=seed, lr=LR, progress=False)
    for method, net in (("float", model), ("float, trained on", more)):
        score = round(accuracy(net, digits.test.x, digits.test.y), 6)
        rows.append({"what": "none", "bits": 32, "method": method, "seed": seed, "accuracy": score})
    return rows


def _kept(path: Path, make: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    if not path.exists():
        path.write_text(json.dumps(make()))
    rows: list[dict[str, Any]] = json.loads(path.read_text())
    return rows


def _about(digits: Dataset, seeds: tuple[int, ...]) -> dict[str, Any]:
    return {
        "made_by": "python -m tinykit.explore.sweep range_precision",
        "data": "digits",
        "test_examples": len(digits.test),
        "network": f"mlp of width {WIDTH:g}: {' - '.join(map(str, _widths(digits)))}",
        "seeds": list(seeds),
        "training": (
            f"float: {default_epochs(digits)} epochs from scratch; with quantizers: {EPOCHS} "
            f"epochs from there, lr {LR:g}; gradient norm, where clipped: {NORM:g} a tensor"
        ),
        "versions": versions(),
    }


def _widths(digits: Dataset) -> list[int]:
    weights = [p for p in mlp(digits.spec, WIDTH).parameters() if p.ndim == 2]
    return [weights[0].shape[1], *(weight.shape[0] for weight in weights)]

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

import importlib.metadata
import json
import logging
import platform
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from tinykit import data
from tinykit.data.types import Dataset
from tinykit.nn.train import accuracy, default_epochs, fit, tensors
from tinykit.nn.zoo import mlp
from tinykit.quant.functional import error_split
from tinykit.quant.layers import activation_quantizers, weighted
from tinykit.quant.observers import observer
from tinykit.quant.prepare import prepare
from tinykit.quant.quantizer import Grid, Mode, Quantizer, quantizer
from tinykit.quant.quantizers.uniform import Uniform

log = logging.getLogger(__name__)

FORMAT = 1
SEEDS = (0, 1, 2)
WHAT = ("weights", "activations")
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
#: images whose activations the errors are of
IMAGES = 256


def run(work: Path, seeds: tuple[int, ...]) -> dict[str, Any]:
    """The table as JSON; what `work` holds already is not made again."""
    digits = data.load("digits")
    rows: list[dict[str, Any]] = []
    for seed in seeds:
        model = network(digits, seed)
        rows += _kept(work / f"float_s{seed}.json", partial(_float, model, digits, seed))
        for what in WHAT:
            bench = Bench.of(model, digits, what, seed)
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
    """A trained network, and the tensors of it that are quantized.

    Parameters
    ----------
    values : each tensor's values: weights, or the activations of `IMAGES` images
    tops : the largest magnitude of each tensor; of activations, over the whole training split
    """

    model: nn.Module
    digits: Dataset
    what: str
    seed: int
    values: tuple[Tensor, ...]
    tops: tuple[float, ...]

    @classmethod
    def of(cls, model: nn.Module, digits: Dataset, what: str, seed: int) -> Bench:
        seen = next(_passing(model, digits, what, batch=len(digits.train)))
        tops = tuple(float(v.abs().max()) for v in seen)
        values = seen if what == "weights" else [v[:IMAGES] for v in seen]
        return cls(model, digits, what, seed, tuple(values), tops)

    def rows(self, bits: int) -> list[dict[str, Any]]:
        """Everything that the table holds for these bits."""
        started = time.monotonic()
        made = [self.untrained(bits, share) for share in SHARES]
        made += [self.observed(bits, name) for name in OBSERVERS]
        for method in METHODS if bits in TRAINED_BITS else ():
            if method != "norm" or bits in NORM_BITS:
                made += [self.trained(bits, share, method) for share in TRAINED_SHARES]
        log.info("%s, %d bits, seed %d: %.1f s", self.what, bits, self.seed,
                 time.monotonic() - started)  # fmt: skip
        return made

    def untrained(self, bits: int, share: float) -> dict[str, Any]:
        """The row of a range without training."""
        small = self._prepared(bits, "clipped", [share * top for top in self.tops])
        return self._row(small, bits, "ptq", share=share)

    def observed(self, bits: int, name: str) -> dict[str, Any]:
        """The row of the ranges that an observer finds."""
        ends = observed_ends(self.model, self.digits, self.what, bits, name)
        small = self._prepared(bits, "clipped", ends)
        shares = [round(float(end) / top, 4) for end, top in zip(ends, self.tops, strict=True)]
        return self._row(small, bits, name, shares=shares)

    def trained(self, bits: int, share: float, method: str) -> dict[str, Any]:
        """The row of a training that starts at a range."""
        small = self._prepared(bits, METHODS[method], [share * top for top in self.tops])
        if method == "norm":
            clip_gradients(small.parameters(), NORM)
        fit(small, self.digits, EPOCHS, seed=self.seed, lr=LR, progress=False)
        row = self._row(small, bits, method, share=share)
        if method == "lsq":
            ends = [float(q.scale.detach()) * _steps(q) for q in places(small, self.what)]
            row["shares"] = [round(e / top, 4) for e, top in zip(ends, self.tops, strict=True)]
        return row

    def _prepared(self, bits: int, kind: str, ends: list[float]) -> fx.GraphModule:
        small = prepared(self.model, self.what, bits, kind)
        for quant, end in zip(places(small, self.what), ends, strict=True):
            quant.set_range(-end if self.what == "weights" else 0.0, end)
            quant.mode = Mode.QUANTIZE
        return small

    def _row(self, small: nn.Module, bits: int, method: str, **more: Any) -> dict[str, Any]:
        row = {"what": self.what, "bits": bits, "method": method, "seed": self.seed, **more}
        row["accuracy"] = round(accuracy(small, self.digits.test.x, self.digits.test.y), 6)
        if method not in METHODS:
            row["clipping"], row["rounding"] = (round(e, 8) for e in self._errors(small))
        return row

    def _errors(self, small: nn.Module) -> tuple[float, float]:
        """Clipping and rounding error over the mean square; the mean of all tensors."""
        parts = []
        for quant, value in zip(places(small, self.what), self.values, strict=True):
            grid, power = quant.grid, float(value.double().square().mean())
            split = error_split(value, quant.scale, quant.zero_point, grid.low, grid.high)
            parts.append([part / power for part in split])
        clipping, rounding = np.mean(parts, axis=0)
        return float(clipping), float(rounding)


def prepared(model: nn.Module, what: str, bits: int, kind: str) -> fx.GraphModule:
    """`model` with quantizers of `kind`, one scale a tensor; all others than those of `what` off.

    Ranges of activations are still open.
    """

    def whole_tensor(grid: Grid) -> Quantizer:
        return quantizer(kind, replace(grid, axis=None))

    if what == "weights":
        small = prepare(model, bits, weights=whole_tensor)
    else:
        small = prepare(model, activations=kind, activation_bits=bits)
    for quant in (
        *(layer.quantizer for layer in weighted(small).values()),
        *activation_quantizers(small).values(),
    ):
        quant.mode = Mode.OFF
    return small


def places(small: nn.Module, what: str) -> list[Uniform]:
    """The quantizers of all weights, or of the hidden activations (input and logits stay float)."""
    if what == "weights":
        found: list[Quantizer] = [layer.quantizer for layer in weighted(small).values()]
    else:
        found = list(activation_quantizers(small).values())[1:-1]
    return [quant for quant in found if isinstance(quant, Uniform)]


def observed_ends(
    model: nn.Module, digits: Dataset, what: str, bits: int, name: str
) -> list[float]:
    """Where the observer `name` lets each tensor's range end, after seeing the training split."""
    symmetric = what == "weights"
    levels = 2**bits - 1 if symmetric else 2**bits
    there = places(prepared(model, what, bits, "clipped"), what)
    watching = [observer(name, levels, symmetric) for _ in there]
    for seen in _passing(model, digits, what, BATCH):
        for one, values in zip(watching, seen, strict=True):
            one.update(values.numpy())
    return [float(max(map(abs, one.range()))) for one in watching]


def clip_gradients(parameters: Iterable[nn.Parameter], norm: float) -> None:
    """Shorten each parameter's gradient to `norm` (in the 2-norm) whenever it is longer."""

    def shorten(parameter: Tensor) -> None:
        nn.utils.clip_grad_norm_([parameter], norm)

    for parameter in parameters:
        parameter.register_post_accumulate_grad_hook(shorten)


@torch.no_grad()
def _passing(model: nn.Module, digits: Dataset, what: str, batch: int) -> Iterator[list[Tensor]]:
    """The float values of each tensor: of weights once, of activations a batch at a time."""
    small = prepared(model, what, 8, "clipped")
    if what == "weights":
        yield [layer.weight.detach() for layer in weighted(small).values()]
        return
    seen: list[Tensor] = []
    for quant in places(small, what):
        quant.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    x, _ = tensors(digits.train.x, digits.train.y)
    for part in x.split(batch):
        seen.clear()
        small(part)
        yield list(seen)


def _steps(quant: Uniform) -> int:
    """How many steps lie between 0 and the end of the range."""
    return quant.grid.high if quant.grid.symmetric else quant.grid.high - quant.grid.low


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
        "versions": {
            "python": platform.python_version(),
            **{n: importlib.metadata.version(n) for n in ("tinyml-kit", "torch", "numpy")},
        },
    }


def _widths(digits: Dataset) -> list[int]:
    layers = [m for m in mlp(digits.spec, WIDTH).modules() if isinstance(m, nn.Linear)]
    return [layers[0].in_features, *(layer.out_features for layer in layers)]

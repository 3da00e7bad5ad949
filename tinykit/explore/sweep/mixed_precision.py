"""The table of mixed precision: bits by layer, chosen by measurement, beside what is simpler.

For each seed a DS-CNN is trained on digits and each layer's sensitivity is measured. At several
budgets of bytes its layers then get bits in three ways: as the exact knapsack says ("mixed"), the
same for all ("uniform", where the budget is that of whole bits), and by chance until the budget is
full ("random", a few draws). Accuracies are those of the test split, weights rounded as said and
activations to 8 bits; nothing was chosen by them.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tinykit import data
from tinykit.compress import Quantize, compress
from tinykit.explore.sweep import versions
from tinykit.nn.train import accuracy, default_epochs, fit
from tinykit.nn.weights import load_weights, save_weights
from tinykit.nn.zoo import ds_cnn
from tinykit.quant.fold import folded, plain_layers
from tinykit.quant.mixed import WIDTHS, Sizes, allocate, joint_cost, layer_bytes, sensitivity
from tinykit.quant.ptq import ptq

if TYPE_CHECKING:
    from torch import nn

    from tinykit.data.types import Dataset

log = logging.getLogger(__name__)

FORMAT = 1
SEEDS = (0, 1, 2)
#: the first seed's network ships beside the table (.npz): the lesson measures it again
SAMPLE = "float_s0"
WIDTH = 0.5
#: budgets, as average bits of a weight
AVERAGES = (2.0, 2.25, 2.5, 2.75, 3.0, 4.0, 5.0)
#: where layers draw their bits, too, and how often
RANDOM_AVERAGES, DRAWS = (2.25, 2.5, 2.75, 3.0), 5
#: what is trained with its bits, too: (average, method)
TRAINED = ((2.0, "uniform"), (2.5, "mixed"), (2.5, "random 0"), (3.0, "mixed"), (3.0, "uniform"))
EPOCHS = 5
#: shares of the way from int4 everywhere to int8 everywhere, as TFLite stores them
TFLITE_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
#: images that sensitivities and losses are measured on
EXAMPLES = 512


def run(work: Path, seeds: tuple[int, ...]) -> dict[str, Any]:
    """The table as JSON; what `work` holds already is not made again."""
    digits = data.load("digits")
    rows, networks = [], []
    for seed in seeds:
        model = network(digits, seed, work)
        known = work / f"sensitivity_s{seed}.json"
        found = _kept(known, partial(sensitivity, model, digits, examples=EXAMPLES))
        costs = {name: {int(b): c for b, c in by.items()} for name, by in found.items()}
        score = round(accuracy(model, digits.test.x, digits.test.y), 6)
        networks.append({"seed": seed, "accuracy": score, "sensitivity": costs})
        for plan in plans(model, costs, seed):
            path = work / f"{plan['storage']}_{plan['method']}_{plan['budget']}_s{seed}.json"
            rows.append(_kept(path, partial(row, model, digits, plan, costs)))
    return {
        "format": FORMAT,
        "about": _about(digits, seeds),
        # a list, as the file sorts names, and layers have an order of their own
        "weights": [[n, layer.weight.numel()] for n, layer in _layers(model).items()],
        "networks": networks,
        "rows": rows,
    }


def network(digits: Dataset, seed: int, work: Path) -> nn.Module:
    """The float network that all of a seed's rows start from."""
    model, path = ds_cnn(digits.spec, WIDTH, seed=seed), work / f"float_s{seed}.npz"
    if path.exists():
        return load_weights(model, path)
    fit(model, digits, seed=seed, progress=False)
    save_weights(model, path)
    return model


def plans(
    model: nn.Module, costs: Mapping[str, Mapping[int, float]], seed: int
) -> list[dict[str, Any]]:
    """Every choice of bits that the table compares, for one network."""
    made = []
    packed = sizes_of(model, "packed")
    for average in AVERAGES:
        budget = budget_of(model, average)
        common = {"seed": seed, "storage": "packed", "average": average, "budget": budget}
        if average > min(WIDTHS):  # there all have the least
            made.append({**common, "method": "mixed", "bits": allocate(costs, packed, budget)})
        if average == int(average):
            bits = dict.fromkeys(packed, int(average))
            made.append({**common, "method": "uniform", "bits": bits})
        for draw in range(DRAWS if average in RANDOM_AVERAGES else 0):
            bits = by_chance(packed, budget, np.random.default_rng([seed, draw, budget]))
            made.append({**common, "method": f"random {draw}", "bits": bits})
    stored = {n: {b: s[b] for b in (4, 8)} for n, s in sizes_of(model, "tflite").items()}
    some = {n: {b: costs[n][b] for b in (4, 8)} for n in stored}
    least, most = (sum(s[b] for s in stored.values()) for b in (4, 8))
    for share in TFLITE_SHARES:
        budget = round(least + share * (most - least))
        bits = allocate(some, stored, budget) if share < 1 else dict.fromkeys(stored, 8)
        made.append(
            {"seed": seed, "storage": "tflite", "share": share, "budget": budget,
             "method": "mixed", "bits": bits}
        )  # fmt: skip
    return made


def row(
    model: nn.Module,
    digits: Dataset,
    plan: Mapping[str, Any],
    costs: Mapping[str, Mapping[int, float]],
) -> dict[str, Any]:
    """What a choice of bits takes and gives."""
    started, bits = time.monotonic(), plan["bits"]
    sizes = sizes_of(model, plan["storage"])
    made = {
        **plan,
        "bytes": sum(sizes[n][b] for n, b in bits.items()),
        "sum": round(sum(costs[n][b] for n, b in bits.items()), 6),
        "joint": round(joint_cost(model, digits, bits, examples=EXAMPLES), 6),
        "ptq": round(accuracy(untrained(model, digits, bits), digits.test.x, digits.test.y), 6),
    }
    if (plan.get("average"), plan["method"]) in TRAINED:
        scheme = Quantize(mixed=bits, epochs=EPOCHS)
        small = compress(model, digits, scheme, seed=plan["seed"], progress=False)
        made["qat"] = round(accuracy(small, digits.test.x, digits.test.y), 6)
    log.info("seed %d, %s, %d bytes: %.1f s", plan["seed"], plan["method"], plan["budget"],
             time.monotonic() - started)  # fmt: skip
    return made


def untrained(model: nn.Module, digits: Dataset, bits: Mapping[str, int]) -> nn.Module:
    """`model` quantized without training; not equalized, as sensitivities are measured."""
    return ptq(model, digits, equalize=False, bits_of=bits)


def sizes_of(model: nn.Module, storage: str) -> Sizes:
    """Layer → bits → bytes of its weights and biases."""
    return {
        name: {bits: layer_bytes(layer, bits, storage) for bits in WIDTHS}
        for name, layer in _layers(model).items()
    }


def budget_of(model: nn.Module, average: float) -> int:
    """Bytes of all layers, were each weight to take `average` bits; biases come on top."""
    layers = _layers(model).values()
    return sum(
        math.ceil(layer.weight.numel() * average / 8) + 4 * layer.weight.shape[0]
        for layer in layers
    )


def by_chance(sizes: Sizes, budget: int, rng: np.random.Generator) -> dict[str, int]:
    """Bits for each layer, raised one at a time, where chance says, until nothing more fits."""
    bits = {name: min(by) for name, by in sizes.items()}
    left = budget - sum(sizes[name][b] for name, b in bits.items())

    def dearer(name: str) -> int:
        return sizes[name][bits[name] + 1] - sizes[name][bits[name]]

    while fits := [n for n in bits if bits[n] < max(sizes[n]) and dearer(n) <= left]:
        name = fits[rng.integers(len(fits))]
        left -= dearer(name)
        bits[name] += 1
    return bits


def _layers(model: nn.Module) -> dict[str, Any]:
    return dict(plain_layers(folded(model)))


def _kept(path: Path, make: Callable[[], Any]) -> Any:
    if not path.exists():
        path.write_text(json.dumps(make()))
    return json.loads(path.read_text())


def _about(digits: Dataset, seeds: tuple[int, ...]) -> dict[str, Any]:
    return {
        "made_by": "python -m tinykit.explore.sweep mixed_precision",
        "data": "digits",
        "test_examples": len(digits.test),
        "network": f"ds_cnn of width {WIDTH:g}",
        "seeds": list(seeds),
        "training": (
            f"float: {default_epochs(digits)} epochs from scratch; ptq: bias correction, 256 "
            f"images; qat: {EPOCHS} epochs from the float network, learned steps"
        ),
        "versions": versions(),
    }

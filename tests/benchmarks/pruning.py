"""Accuracy of a DS-CNN on digits when half, 70 % and 90 % of it are pruned, in every structure.

Means over three seeds, on the test split, in percent; the network's own accuracy stands beside each
figure. Structures and criteria are compared one-shot, with the same few epochs of training after
the cut; schedules at 90 % of single weights, with the same number of epochs in all but for
rewinding, which trains again from the start, as the method has it.
"""

from __future__ import annotations

import copy
import statistics
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

import tinykit as tk
from tests.benchmarks import Figure, plain
from tinykit.compress.pruning import Criterion, criterion, structure
from tinykit.data import Dataset
from tinykit.graph import TinykitError

SEEDS = (0, 1, 2)
AMOUNTS = (0.5, 0.7, 0.9)
#: structures of which any share can be removed, and those that remove their own
FREE, FIXED = ("channel", "unstructured", "1x4"), ("2:4", "pattern")
#: of the network, and after a cut
EPOCHS, AFTER = 12, 3
WIDTH = 1.0


def run() -> list[Figure]:
    data = tk.data.load("digits")
    nets = [_trained(data, seed) for seed in SEEDS]
    whole = statistics.fmean(tk.evaluate(model, data) for _, model in nets)
    beside = {"name": "whole", "value": 100 * whole}
    figures = []
    for shape, how, amount in _cells():
        scheme = tk.Prune(amount, structure=shape, criterion=how, epochs=AFTER)
        label = "" if amount is None else f", {amount:.0%}"
        figures.append(_figure(f"{shape}, {how}{label}", [scheme] * len(SEEDS), nets, data, beside))
    for name, schedule in _schedules():
        schemes = [_single(schedule, start) for start, _ in nets]
        figures.append(_figure(f"unstructured, 90%, {name}", schemes, nets, data, beside))
    return figures


def _trained(data: Dataset, seed: int) -> tuple[dict[str, torch.Tensor], nn.Module]:
    """Its initial state, and the network."""
    model = tk.zoo.ds_cnn(data.spec, WIDTH, seed=seed)
    start = copy.deepcopy(model.state_dict())
    tk.fit(model, data, EPOCHS, seed=seed, progress=False)
    return start, model


def _cells() -> Iterator[tuple[str, str, float | None]]:
    for shape in (*FREE, *FIXED):
        made = structure(shape)
        for how in Criterion.known:
            try:
                criterion(how, made.kind if made else "channel")
            except TinykitError:  # makes no sense for this structure
                continue
            for amount in AMOUNTS if shape in FREE else (None,):
                yield shape, how, amount


def _schedules() -> Iterator[tuple[str, dict[str, Any]]]:
    yield f"one-shot, {3 * AFTER} epochs after", {"epochs": 3 * AFTER}
    yield f"3 rounds of {AFTER} epochs", {"rounds": 3, "epochs": AFTER}
    yield f"gradual in {3 * AFTER} epochs", {"schedule": "gradual", "epochs": 3 * AFTER}
    yield f"rewound once, {EPOCHS} epochs again", {"schedule": "rewind", "epochs": EPOCHS}
    yield (
        f"rewound 3 times, {EPOCHS} epochs each",
        {"schedule": "rewind", "epochs": EPOCHS, "rounds": 3},
    )


def _single(schedule: dict[str, Any], start: dict[str, torch.Tensor]) -> tk.Prune:
    early = {"rewind_to": start} if schedule.get("schedule") == "rewind" else {}
    return tk.Prune(0.9, structure="unstructured", **schedule, **early)


def _figure(
    name: str,
    schemes: list[tk.Prune],
    nets: list[tuple[dict[str, torch.Tensor], nn.Module]],
    data: Dataset,
    beside: dict[str, Any],
) -> Figure:
    found = []
    for seed, scheme, (_, model) in zip(SEEDS, schemes, nets, strict=True):
        try:
            small = tk.compress(model, data, scheme, seed=seed, progress=False)
        except TinykitError:  # so much cannot be removed
            return plain(f"{name} (cannot be removed)", None, "%", beside)
        found.append(tk.evaluate(small, data))
    return plain(name, 100 * statistics.fmean(found), "%", beside)

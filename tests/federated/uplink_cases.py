"""A small federation of digits and a small network, for tests of what devices send."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

import tinykit as tk
from tinykit.data.federation import Federation
from tinykit.federated import Local, Simulation
from tinykit.federated.compression import (
    Compression,
    Float32,
    KBit,
    RandomK,
    Sign,
    TopK,
)

DATA = tk.data.load("digits")

#: contractions, with error feedback
CONTRACTIONS: list[Compression] = [
    TopK(0.1),
    TopK(0.7),
    KBit(2, error_feedback=True),
    KBit(4, scale="tensor", error_feedback=True),
    KBit(8, error_feedback=True),
    Sign(),
    Sign("vector"),
    TopK(0.2) + KBit(3),
    TopK(0.2) + Sign("vector"),
]
#: right on average
UNBIASED: list[Compression] = [
    *(KBit(bits) for bits in range(1, 9)),
    KBit(2, scale="tensor"),
    RandomK(0.2, error_feedback=False),
    RandomK(0.3, error_feedback=False) + KBit(3),
]
EVERY: list[Compression] = [
    Float32(),
    *CONTRACTIONS,
    *UNBIASED,
    RandomK(0.1),
    RandomK(0.1) + KBit(2),
    TopK(0.1, error_feedback=False) + KBit(1),
    Sign(error_feedback=False),
]


def generators(count: int, seed: int = 0) -> list[np.random.Generator]:
    return [np.random.default_rng([seed, row]) for row in range(count)]


def federation(devices: int = 10, examples: int = 30, classes: int = 3) -> Federation:
    """Each device holds `examples` digits of `classes` classes."""
    rng = np.random.default_rng(0)
    parts = []
    for _ in range(devices):
        own = rng.choice(10, classes, replace=False)
        there = np.flatnonzero(np.isin(DATA.train.y, own))
        parts.append(np.sort(rng.choice(there, examples, replace=False)).astype(np.int64))
    return Federation(f"digits, {classes} classes a device", DATA.spec, DATA.train, tuple(parts))


FEDERATION = federation()


def mlp() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))


def simulation(strategy: Any = None, **settings: Any) -> Simulation:
    given: dict[str, Any] = {
        "local": Local(steps=5, batch=10, lr=0.1),
        "cohort": 5,
        "engine": "vectorised",
        "evaluate_every": 1000,
        **settings,
    }
    return Simulation(mlp(), FEDERATION, strategy, **given)

"""Small federations and networks that the tests of federated learning share."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from torch import nn

import tinykit as tk
from tinykit.data.federation import Federation
from tinykit.federated import (
    MAML,
    FedAdam,
    FedAvg,
    FedAvgM,
    FedBN,
    FedDyn,
    FedProx,
    Prototypes,
    Scaffold,
    Strategy,
)

#: examples of each device; some have fewer than a minibatch, and none of the steps divides them
SIZES = (5, 12, 23, 31, 8, 17)

#: every algorithm, by name, with settings that leave their mark
ALGORITHMS: dict[str, Strategy] = {
    "FedAvg": FedAvg(),
    "FedProx": FedProx(mu=0.3),
    "FedAvgM": FedAvgM(momentum=0.7, server_lr=0.8),
    "FedAdam": FedAdam(server_lr=0.02),
    "SCAFFOLD": Scaffold(server_lr=0.9),
    "FedDyn": FedDyn(alpha=0.2),
    "Per-FedAvg": FedAvg(customise=MAML(steps=2, lr=0.05)),
    "PFLDyn-MAML": FedDyn(alpha=0.2, customise=MAML(steps=2, lr=0.05)),
    "PFLDyn-prototypes": FedDyn(alpha=0.2, customise=Prototypes()),
    "PFLScaf": Scaffold(customise=MAML(steps=2, lr=0.05)),
}
#: and those that need batch norm
NORMED: dict[str, Strategy] = {"FedBN": FedBN()}


@cache
def digits() -> tk.Dataset:
    return tk.data.load("digits")


def federation(sizes: Sequence[int] = SIZES, test: int = 0, seed: int = 0) -> Federation:
    """Devices with so many examples of digits, each mostly of three classes of its own."""
    split = digits().train
    rng = np.random.default_rng(seed)
    parts, tests = [], []
    for size in sizes:
        liked = rng.choice(10, 3, replace=False)
        chance = np.where(np.isin(split.y, liked), 1.0, 0.02)
        drawn = rng.choice(len(split), size + test, replace=False, p=chance / chance.sum())
        parts.append(drawn[:size].astype(np.int64))
        tests.append(drawn[size:].astype(np.int64))
    return Federation(
        f"digits, {len(sizes)} devices", digits().spec, split, tuple(parts), tuple(tests)
    )


def mlp(hidden: int = 12, seed: int = 0, *middle: nn.Module) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, hidden), nn.Tanh(), *middle, nn.Linear(hidden, 10)
    )


def cnn(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=2),
        nn.ReLU(),
        nn.Conv2d(4, 6, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(6, 10),
    )


def normed(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=2, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(36, 10),
    )


def vector(module: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().reshape(-1) for p in module.parameters()])

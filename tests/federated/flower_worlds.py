"""What is learned by whom, where the kit is compared with Flower. Needs numpy and torch only."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import nn

import tinykit as tk
from tinykit.data.federation import Federation
from tinykit.data.types import DataSpec, Split
from tinykit.federated import Local


@dataclass(frozen=True)
class World:
    """What is learned by whom: small enough to travel with every message.

    Parameters
    ----------
    network : "mlp" on digits, "cnn" of 47 thousand parameters on made-up images of 28 × 28
    sizes : examples of each device
    """

    network: str
    sizes: tuple[int, ...]
    local: Local
    seed: int = 0


@lru_cache(maxsize=1)
def federation(world: World) -> Federation:
    rng = np.random.default_rng(world.seed)
    if world.network == "mlp":
        data = tk.data.load("digits")
        spec, pool = data.spec, data.train
    else:
        spec = DataSpec("noise", (28, 28, 1), tuple("0123456789"))
        images = rng.random((2000, 28, 28, 1), dtype=np.float32)
        pool = Split(images, rng.integers(0, 10, 2000))
    parts = [rng.choice(len(pool), size, replace=False).astype(np.int64) for size in world.sizes]
    return Federation(f"{spec.name}, {len(parts)} devices", spec, pool, tuple(parts))


def network(world: World) -> nn.Sequential:
    """The first shared model."""
    torch.manual_seed(world.seed)
    if world.network == "mlp":
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    return nn.Sequential(
        nn.Conv2d(1, 16, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(800, 52),
        nn.ReLU(),
        nn.Linear(52, 10),
    )

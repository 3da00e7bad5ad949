"""Examples sorted by label and cut into pieces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinykit.data.checks import whole
from tinykit.data.partitions.base import NOBODY, Ask, Partition
from tinykit.data.types import stratified


@dataclass(frozen=True)
class Shards(Partition):
    """Examples sorted by label, cut into pieces ("shards"); each device gets a few of them.

    The "pathological" partition of McMahan et al. (AISTATS 2017, section 3): most devices see
    `per_device` classes. A shard that lies over the border of two classes has both.

    Parameters
    ----------
    per_device : shards on each device; they share its size as equally as whole numbers can
    """

    per_device: int = 2

    def __post_init__(self) -> None:
        whole("shards a device", self.per_device, least=1)

    def divide(self, ask: Ask) -> np.ndarray:
        rng = ask.rng("Shards")
        chosen = rng.permutation(stratified(ask.y, ask.total, rng))
        by_label = chosen[np.argsort(ask.y[chosen], kind="stable")]
        sizes = ask.sizes[:, None]
        pieces = sizes // self.per_device + (np.arange(self.per_device) < sizes % self.per_device)
        owner = np.repeat(np.arange(ask.devices), self.per_device)
        order = rng.permutation(len(owner))
        holder = np.full(len(ask.y), NOBODY, dtype=np.int64)
        holder[by_label] = np.repeat(owner[order], pieces.ravel()[order])
        return holder

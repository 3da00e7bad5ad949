"""Every device draws from the same distribution."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinykit.data.partitions.base import NOBODY, Ask, Partition


@dataclass(frozen=True)
class IID(Partition):
    """Examples shuffled and dealt out: independent and identically distributed."""

    def divide(self, ask: Ask) -> np.ndarray:
        holder = np.full(len(ask.y), NOBODY, dtype=np.int64)
        drawn = ask.rng("IID").permutation(len(ask.y))[: ask.total]
        holder[drawn] = np.repeat(np.arange(ask.devices), ask.sizes)
        return holder

"""Entries drawn by lot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tinykit.federated.compression.base import Parts
from tinykit.federated.compression.packing import Field
from tinykit.federated.compression.sparse import Sparse


@dataclass(frozen=True)
class RandomK(Sparse):
    """k entries, every one equally likely (Konečný et al., 2016, "random mask"; Stich et al.,
    NeurIPS 2018).

    Server and device draw the positions from the seed that they share, so that only the values
    travel: k·32 bits. Without error feedback they are multiplied by P/k, which makes the message
    right on average; with it they are not, which makes it a contraction with δ = k/P on average.
    """

    def agreed(
        self, sizes: Sequence[int], rngs: Sequence[np.random.Generator], device: torch.device
    ) -> Parts:
        size, many = sum(sizes), self.many(sizes)
        rows = [np.sort(rng.choice(size, many, replace=False, shuffle=False)) for rng in rngs]
        return {"positions": torch.from_numpy(np.stack(rows)).to(device)}

    def code(
        self,
        x: Tensor,
        sizes: Sequence[int],
        rngs: Sequence[np.random.Generator],
        agreed: Parts,
    ) -> Parts:
        values = x.gather(1, agreed["positions"])
        if not self.error_feedback:
            values = values * (sum(sizes) / self.many(sizes))
        return {"values": values}

    def places(self, sizes: Sequence[int]) -> tuple[Field, ...]:
        return ()

"""The largest entries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from tinykit.federated.compression.base import Parts
from tinykit.federated.compression.packing import Field, positions
from tinykit.federated.compression.sparse import Sparse


@dataclass(frozen=True)
class TopK(Sparse):
    """The k entries of largest magnitude (Aji and Heafield, EMNLP 2017; Stich et al., NeurIPS
    2018): the nearest vector with k entries, a contraction with δ = k/P.

    A message takes k·32 bits for values, and for positions k·⌈log₂ P⌉ bits or a bitmap of P bits,
    whichever is smaller.
    """

    def code(
        self,
        x: Tensor,
        sizes: Sequence[int],
        rngs: Sequence[np.random.Generator],
        agreed: Parts,
    ) -> Parts:
        found = x.abs().topk(self.many(sizes), dim=1, sorted=False).indices.sort(dim=1).values
        return {"positions": found, "values": x.gather(1, found)}

    def places(self, sizes: Sequence[int]) -> tuple[Field, ...]:
        return (positions(self.many(sizes), sum(sizes)),)

"""Nothing left out: 32 bits for each number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import Tensor

from tinykit.federated.compression.base import Compression, Parts
from tinykit.federated.compression.packing import Field


@dataclass(frozen=True)
class Float32(Compression):
    """The identity, for loops over methods; a simulation with it equals one without, bit for bit
    (devices send the model itself: ``start + (model − start)`` is rounded)."""

    exact: ClassVar[bool] = True

    def code(
        self,
        x: Tensor,
        sizes: Sequence[int],
        rngs: Sequence[np.random.Generator],
        agreed: Parts,
    ) -> Parts:
        return {"values": x}

    def rebuild(self, parts: Parts, sizes: Sequence[int]) -> Tensor:
        return parts["values"]

    def fields(self, sizes: Sequence[int]) -> tuple[Field, ...]:
        return (Field("values", sum(sizes)),)

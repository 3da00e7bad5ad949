"""Few entries: which of them travel, and with how many bits."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from tinykit.federated.compression.base import Compression, Parts
from tinykit.federated.compression.kbit import KBit
from tinykit.federated.compression.packing import Field
from tinykit.federated.compression.sign import Sign
from tinykit.federated.errors import FederatedError


@dataclass(frozen=True)
class Sparse(Compression):
    """Only k of the P entries travel; the others count as zero.

    Parameters
    ----------
    share : k / P, in (0, 1]; at least one entry travels

    Raises
    ------
    FederatedError
        A share out of range.
    """

    share: float = 0.01

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise FederatedError(
                f"{type(self).__name__} sends a share of the entries above 0 and up to 1, got "
                f"{self.share}"
            )

    def many(self, sizes: Sequence[int]) -> int:
        """k, for vectors of these tensors."""
        return max(1, round(self.share * sum(sizes)))

    @abstractmethod
    def places(self, sizes: Sequence[int]) -> tuple[Field, ...]:
        """What says in a message which entries it holds."""

    def fields(self, sizes: Sequence[int]) -> tuple[Field, ...]:
        return (*self.places(sizes), Field("values", self.many(sizes)))

    def rebuild(self, parts: Parts, sizes: Sequence[int]) -> Tensor:
        values = parts["values"]
        return values.new_zeros((len(values), sum(sizes))).scatter(1, parts["positions"], values)

    def __add__(self, other: object) -> Combined:
        if not isinstance(other, KBit | Sign):
            return NotImplemented
        return Combined(self, other, error_feedback=self.error_feedback)


@dataclass(frozen=True)
class Combined(Compression):
    """Few entries, each with few bits: ``TopK(0.01) + KBit(4)``.

    Error feedback is the sparse method's; the values have one scale.

    Raises
    ------
    FederatedError
        Scales by tensor: the entries that travel come from all of them.
    """

    sparse: Sparse
    values: KBit | Sign
    error_feedback: bool = field(default=True, kw_only=True)

    def __post_init__(self) -> None:
        if self.values.scale != "vector":
            raise FederatedError(
                "the entries that a sparse method picks have one scale: use scale='vector'"
            )
        # rounding follows the whole message's error feedback
        same = replace(self.values, error_feedback=self.error_feedback)
        object.__setattr__(self, "values", same)

    def _few(self, sizes: Sequence[int]) -> tuple[int]:
        return (self.sparse.many(sizes),)

    def agreed(
        self, sizes: Sequence[int], rngs: Sequence[np.random.Generator], device: torch.device
    ) -> Parts:
        return self.sparse.agreed(sizes, rngs, device)

    def code(
        self,
        x: Tensor,
        sizes: Sequence[int],
        rngs: Sequence[np.random.Generator],
        agreed: Parts,
    ) -> Parts:
        parts = self.sparse.code(x, sizes, rngs, agreed)
        values = parts.pop("values")
        return {**parts, **self.values.code(values, self._few(sizes), rngs, {})}

    def rebuild(self, parts: Parts, sizes: Sequence[int]) -> Tensor:
        values = self.values.rebuild(parts, self._few(sizes))
        return self.sparse.rebuild({"positions": parts["positions"], "values": values}, sizes)

    def fields(self, sizes: Sequence[int]) -> tuple[Field, ...]:
        return (*self.sparse.places(sizes), *self.values.fields(self._few(sizes)))

"""One bit an entry: its sign."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tinykit.federated.compression.base import (
    Compression,
    Parts,
    Scale,
    check_scale,
    of_tensors,
    sharing,
    spread,
)
from tinykit.federated.compression.packing import Field


@dataclass(frozen=True)
class Sign(Compression):
    """Signs times the mean magnitude (Karimireddy et al., ICML 2019, equation 3 and lemma 8): a
    contraction with δ = ‖x‖₁² / (P‖x‖₂²), of which error feedback makes a method that converges
    where signs alone may not.

    Parameters
    ----------
    scale : one mean for each "tensor" of the model, or one for the whole "vector"; 32 bits each
    """

    scale: Scale = "tensor"

    def __post_init__(self) -> None:
        check_scale(self.scale)

    def code(
        self,
        x: Tensor,
        sizes: Sequence[int],
        rngs: Sequence[np.random.Generator],
        agreed: Parts,
    ) -> Parts:
        scales = of_tensors(x, sharing(self.scale, sizes), "mean")
        return {"codes": (x >= 0).to(torch.int64), "scales": scales}

    def rebuild(self, parts: Parts, sizes: Sequence[int]) -> Tensor:
        signs = 2 * parts["codes"].to(torch.float32) - 1
        return signs * spread(parts["scales"], sharing(self.scale, sizes))

    def fields(self, sizes: Sequence[int]) -> tuple[Field, ...]:
        return (
            Field("codes", sum(sizes), "uint", 1),
            Field("scales", len(sharing(self.scale, sizes))),
        )

"""Few bits an entry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from tinykit.federated.checks import whole
from tinykit.federated.compression.base import (
    Compression,
    Parts,
    Scale,
    check_scale,
    of_tensors,
    sharing,
    spread,
    uniform,
)
from tinykit.federated.compression.packing import Field
from tinykit.federated.errors import FederatedError


@dataclass(frozen=True)
class KBit(Compression):
    """Evenly spaced levels between −s and s, where s is the largest magnitude.

    Without error feedback an entry is rounded up or down by lot, so that it is right on average:
    QSGD with the largest entry for a norm (Alistarh et al., NeurIPS 2017); with 2 bits TernGrad
    (Wen et al., NeurIPS 2017). There are 2^bits − 1 levels, zero among them; with 1 bit two, −s
    and s. With error feedback it is rounded to the nearest level, which no entry makes larger than
    it is: a contraction, which stochastic rounding with few bits is not.

    Parameters
    ----------
    bits : an entry, 1 to 8
    scale : one s for each "tensor" of the model, or one for the whole "vector"; 32 bits each

    Raises
    ------
    FederatedError
        Bits out of range; 1 bit with error feedback, which is `Sign`.
    """

    bits: int = 4
    scale: Scale = "vector"
    error_feedback: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        if whole("bits of KBit", self.bits, least=1) > 8:
            raise FederatedError(f"KBit takes 1 to 8 bits an entry, got {self.bits}")
        check_scale(self.scale)
        if self.bits == 1 and self.error_feedback:
            raise FederatedError(
                "1 bit with error feedback needs the mean magnitude for a scale: use Sign()"
            )

    @property
    def half(self) -> float:
        """Half the number of steps between −s and s."""
        return 0.5 if self.bits == 1 else float(2 ** (self.bits - 1) - 1)

    def code(
        self,
        x: Tensor,
        sizes: Sequence[int],
        rngs: Sequence[np.random.Generator],
        agreed: Parts,
    ) -> Parts:
        tensors = sharing(self.scale, sizes)
        scales = of_tensors(x, tensors, "max")
        s = spread(scales, tensors)
        level = torch.where(s > 0, x / s, torch.zeros_like(x)) * self.half + self.half
        low = level.floor()
        lot = (
            torch.full_like(x, 0.5) if self.error_feedback else uniform(rngs, x.shape[1], x.device)
        )
        # not floor(level + lot), whose sum is rounded: a zero would now and then be lifted
        codes = (low + (lot < level - low)).clamp(0, 2 * self.half)
        return {"codes": codes.to(torch.int64), "scales": scales}

    def rebuild(self, parts: Parts, sizes: Sequence[int]) -> Tensor:
        levels = (parts["codes"].to(torch.float32) - self.half) / self.half
        return levels * spread(parts["scales"], sharing(self.scale, sizes))

    def fields(self, sizes: Sequence[int]) -> tuple[Field, ...]:
        return (
            Field("codes", sum(sizes), "uint", self.bits),
            Field("scales", len(sharing(self.scale, sizes))),
        )

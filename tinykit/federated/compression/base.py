"""What a way of compressing updates is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from tinykit.federated.compression.packing import Field, nbytes, pack, unpack
from tinykit.federated.errors import FederatedError

#: parts of messages by name, a row for each device: floats (n, ·) or whole numbers (n, ·)
Parts = dict[str, Tensor]
#: what shares a scale: each tensor of the model, or the whole vector
Scale = Literal["tensor", "vector"]


@dataclass(frozen=True)
class Compression(ABC):
    """What devices send instead of their update, and what the server makes of it.

    A subclass says which parts a message has (`code`), how wide their numbers are (`fields`), and
    what vector they stand for (`rebuild`). Everything works on the rows of a cohort at once.

    Parameters
    ----------
    error_feedback : what a message lacks is kept on the device and added to its next update
        (Seide et al., Interspeech 2014; Karimireddy et al., "Error feedback fixes SignSGD", ICML
        2019). It needs a contraction, ‖x − C(x)‖² ≤ (1 − δ)‖x‖²; methods that can be both round
        without bias when it is off and contract when it is on

    Attributes
    ----------
    exact : C(x) = x for every x
    """

    error_feedback: bool = field(default=True, kw_only=True)

    exact: ClassVar[bool] = False

    @abstractmethod
    def code(
        self,
        x: Tensor,
        sizes: Sequence[int],
        rngs: Sequence[np.random.Generator],
        agreed: Parts,
    ) -> Parts:
        """What the messages hold.

        Parameters
        ----------
        x : float32 (n, P), a vector to send for each device; finite
        sizes : lengths of the tensors that a vector is made of; they add up to P
        rngs : one for each row
        agreed : of `agreed`
        """

    @abstractmethod
    def rebuild(self, parts: Parts, sizes: Sequence[int]) -> Tensor:
        """C(x): what the receiver makes of messages and what is agreed, float32 (n, P)."""

    @abstractmethod
    def fields(self, sizes: Sequence[int]) -> tuple[Field, ...]:
        """Of one message, in their order."""

    def agreed(
        self, sizes: Sequence[int], rngs: Sequence[np.random.Generator], device: torch.device
    ) -> Parts:
        """Parts that both ends draw from the seed that they share, so that nobody sends them."""
        return {}

    def __call__(
        self, x: Tensor, sizes: Sequence[int], rngs: Sequence[np.random.Generator]
    ) -> Tensor:
        """C(x), (n, P), without writing messages: whole numbers survive packing as they are, so
        that ``decode(encode(row))`` gives the same bits.
        """
        agreed = self.agreed(sizes, rngs, x.device)
        return self.rebuild({**agreed, **self.code(x, sizes, rngs, agreed)}, sizes)

    def nbytes(self, sizes: Sequence[int]) -> int:
        """Length of a message, the same for every vector (counted)."""
        return nbytes(self.fields(sizes))

    def encode(self, x: Tensor, sizes: Sequence[int], rng: np.random.Generator) -> bytes:
        """The message for `x` (P,)."""
        agreed = self.agreed(sizes, [rng], x.device)
        parts = self.code(x[None], sizes, [rng], agreed)
        return pack(self.fields(sizes), {name: v[0].cpu().numpy() for name, v in parts.items()})

    def decode(self, data: bytes, sizes: Sequence[int], rng: np.random.Generator) -> Tensor:
        """C(x), (P,), from a message; `rng` starts where the sender's did.

        Raises
        ------
        FederatedError
            The message has another length.
        """
        agreed = self.agreed(sizes, [rng], torch.device("cpu"))
        found = unpack(self.fields(sizes), data)
        parts = {name: torch.from_numpy(value)[None] for name, value in found.items()}
        return self.rebuild({**agreed, **parts}, sizes)[0]


def uniform(rngs: Sequence[np.random.Generator], count: int, device: torch.device) -> Tensor:
    """Numbers in [0, 1), float32 (n, count), each row from its own generator."""
    drawn = np.empty((len(rngs), count), dtype=np.float32)
    for row, rng in zip(drawn, rngs, strict=True):
        rng.random(dtype=np.float32, out=row)
    return torch.from_numpy(drawn).to(device)


def of_tensors(x: Tensor, sizes: Sequence[int], how: str) -> Tensor:
    """The largest ("max") or the mean ("mean") of |x| (n, P) in each tensor, (n, tensors)."""
    parts = x.abs().split(list(sizes), dim=1)
    each = [part.amax(1) if how == "max" else part.mean(1) for part in parts]
    return torch.stack(each, dim=1)


def spread(scales: Tensor, sizes: Sequence[int]) -> Tensor:
    """Scales (n, tensors), each repeated for the entries of its tensor, (n, P)."""
    return scales.repeat_interleave(torch.tensor(sizes, device=scales.device), dim=1)


def check_scale(scale: str) -> None:
    """Nothing, if `scale` says what shares a scale.

    Raises
    ------
    FederatedError
        It is neither "tensor" nor "vector".
    """
    if scale not in ("tensor", "vector"):
        raise FederatedError(f"scale is 'tensor' or 'vector', got {scale!r}")


def sharing(scale: Scale, sizes: Sequence[int]) -> Sequence[int]:
    """Lengths of the parts of a vector that have a scale each; `sizes` are those of its tensors."""
    return sizes if scale == "tensor" else (sum(sizes),)

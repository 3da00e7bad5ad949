"""Devices that fail, on purpose: what a simulation has to survive, drawn from the seed."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from tinykit.federated.checks import real
from tinykit.federated.errors import FederatedError
from tinykit.federated.randomness import Purpose, generator
from tinykit.federated.strategy import Replies

#: in the order in which a draw is divided among them
KINDS = ("dropout", "nan", "huge", "flipped")


@dataclass(frozen=True)
class Faults:
    """The share of asked devices that fail in a round, by kind; each in [0, 1], together at most 1.

    Parameters
    ----------
    dropout : they never answer
    nan : they answer with NaN
    huge : they answer with a poisoned update, `scale` times what they should
    flipped : they answer with the opposite of their update
    scale : of `huge`
    """

    dropout: float = 0.0
    nan: float = 0.0
    huge: float = 0.0
    flipped: float = 0.0
    scale: float = 1e6

    def __post_init__(self) -> None:
        for kind in KINDS:
            real(f"the share of {kind} faults", getattr(self, kind), least=0, most=1)
        real("scale of huge faults", self.scale, above=1)
        if sum(getattr(self, kind) for kind in KINDS) > 1 + 1e-9:
            raise FederatedError(
                "the shares of all kinds of faults are together at most 1, got "
                + ", ".join(f"{kind} {getattr(self, kind)}" for kind in KINDS)
            )

    def kind(self, seed: int, round: int, device: int) -> str | None:
        """What befalls `device` in `round`; None where it works."""
        left = generator(seed, Purpose.FAULTS, round, device).random()
        for name in KINDS:
            left -= getattr(self, name)
            if left < 0:
                return name
        return None

    def spoil(self, replies: Replies, kinds: dict[int, str | None], start: torch.Tensor) -> Replies:
        """`replies` with the models of those devices spoiled that `kinds` names."""
        model = replies.model.clone()
        for row, device in enumerate(replies.devices):
            kind = kinds.get(device)
            if kind == "nan":
                model[row] = float("nan")
            elif kind == "huge":
                model[row] = start + self.scale * (model[row] - start)
            elif kind == "flipped":
                model[row] = 2 * start - model[row]
        return replace(replies, model=model)

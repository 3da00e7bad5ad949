"""What an engine is: it runs the client functions of a round and brings back the replies."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import numpy as np
import torch
from torch import Tensor

from tinykit.federated.device import Reply
from tinykit.federated.errors import ClientError
from tinykit.federated.local import Local, Minibatches
from tinykit.federated.net import Net
from tinykit.federated.strategy import Replies, Server, Strategy

T = TypeVar("T")


@dataclass(frozen=True)
class Pool:
    """All examples as tensors: x float32 (N, C, H, W), y int64 (N,)."""

    x: Tensor
    y: Tensor

    @staticmethod
    def of(x: np.ndarray, y: np.ndarray, device: torch.device) -> Pool:
        """From NHWC images and labels."""
        images = torch.from_numpy(x).permute(0, 3, 1, 2).contiguous()
        return Pool(images.to(device), torch.from_numpy(y).to(device))


@dataclass(frozen=True)
class Setting:
    """What is the same in all rounds."""

    net: Net
    strategy: Strategy
    local: Local
    pool: Pool


@dataclass(frozen=True)
class Broadcast:
    """What all devices of a round are sent.

    Parameters
    ----------
    round : from 0
    server : "model" and what the strategy shares
    statistics : of batch norm (S,)
    lr : this round's step size
    seed : of what is random in the model itself (dropout)
    """

    round: int
    server: Server
    statistics: Tensor
    lr: float
    seed: int


@dataclass(frozen=True)
class Work:
    """What one device is to do in a round.

    Parameters
    ----------
    device : its number
    query : the minibatches of its steps
    support : those to customise with, of the same number; None where nothing is customised
    examples : how many it holds
    memory : what it kept
    """

    device: int
    query: Minibatches
    support: Minibatches | None
    examples: int
    memory: Mapping[str, Tensor]


@dataclass(frozen=True)
class Outcome:
    """What one device's client function came to.

    Parameters
    ----------
    reply : None where it failed
    error : in words, where it failed
    """

    device: int
    reply: Reply | None
    statistics: Tensor | None = None
    steps: int = 0
    examples: int = 0
    loss: float = float("nan")
    error: str = ""


#: has the devices of a round work; a reply or a failure for each
Train = Callable[[Broadcast, Sequence[Work]], "tuple[Replies | None, dict[int, str]]"]


class Engine(ABC):
    """Runs client functions. Engines differ in speed, not in what they compute."""

    name: ClassVar[str]

    @property
    def settings(self) -> str:
        """What the bits of a result depend on, for checkpoints."""
        return self.name

    @abstractmethod
    def train(
        self, setting: Setting, broadcast: Broadcast, works: Sequence[Work]
    ) -> tuple[Replies | None, dict[int, str]]:
        """The replies of those devices that answered (None: none did), and the errors of others.

        Parameters
        ----------
        works : by ascending number of the device
        """

    def session(self, setting: Setting, job: Callable[[Train], T]) -> T:
        """Call ``job(train)``; an engine that has to be started is running meanwhile."""
        return job(lambda broadcast, works: self.train(setting, broadcast, works))


def checked(reply: object, setting: Setting, memory: Mapping[str, Tensor]) -> Reply:
    """`reply`, if it has what the server needs.

    Raises
    ------
    ClientError
        It is no `Reply`, or a vector is missing, too many, or of another shape or type.
    """
    if not isinstance(reply, Reply):
        raise ClientError(
            f"the client function returned a {type(reply).__name__}; it must return a Reply"
        )
    strategy, size = setting.strategy, setting.net.size
    for kind in ("memory", "sent"):
        if not isinstance(getattr(reply, kind), dict):
            raise ClientError(
                f"the reply's {kind} is a {type(getattr(reply, kind)).__name__}; it is a dict of "
                "vectors by name"
            )
    _vector("model", reply.model, (size,))
    if set(reply.memory) != set(memory):
        raise ClientError(
            f"the reply's memory has {sorted(reply.memory)}, {type(strategy).__name__} declares "
            f"memory = {sorted(memory)}"
        )
    for name, value in reply.memory.items():
        _vector(f"memory[{name!r}]", value, tuple(memory[name].shape))
    if set(reply.sent) != set(strategy.sends):
        raise ClientError(
            f"the reply's sent has {sorted(reply.sent)}, {type(strategy).__name__} declares "
            f"sends = {sorted(strategy.sends)}"
        )
    for name, value in reply.sent.items():
        _vector(f"sent[{name!r}]", value, (size,))
    return reply


def _vector(what: str, value: object, shape: tuple[int, ...]) -> None:
    if not isinstance(value, Tensor):
        raise ClientError(f"the reply's {what} is a {type(value).__name__}, not a tensor")
    if tuple(value.shape) != shape:
        raise ClientError(f"the reply's {what} has shape {tuple(value.shape)}, expected {shape}")
    if value.dtype != torch.float32:
        raise ClientError(f"the reply's {what} is {value.dtype}, expected torch.float32")


def stacked(outcomes: Sequence[Outcome], lr: float) -> tuple[Replies | None, dict[int, str]]:
    """The replies of single devices as rows, and the errors of those that failed."""
    errors = {o.device: o.error for o in outcomes if o.reply is None}
    good = [(o, o.reply) for o in outcomes if o.reply is not None]
    if not good:
        return None, errors
    first = good[0][1]
    device = first.model.device
    return (
        Replies(
            tuple(o.device for o, _ in good),
            torch.stack([r.model for _, r in good]),
            torch.stack([o.statistics for o, _ in good if o.statistics is not None]),
            {n: torch.stack([r.memory[n] for _, r in good]) for n in first.memory},
            {n: torch.stack([r.sent[n] for _, r in good]) for n in first.sent},
            torch.tensor([o.examples for o, _ in good], device=device),
            torch.tensor([o.steps for o, _ in good], device=device),
            torch.tensor([o.loss for o, _ in good], device=device),
            lr,
        ),
        errors,
    )

"""What a client function sees: one device in one round.

Client functions are pure: they read a `Device`, compute with tensors, and return a `Reply`. So one
function serves an engine that runs devices one by one, and one that runs them all at once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from tinykit.federated.customise import Customise, Examples
from tinykit.federated.local import Local
from tinykit.federated.net import Net

#: (parameters, gradient of the loss) → the direction that the step goes against
Direction = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Reply:
    """What a client function returns.

    Parameters
    ----------
    model : parameters after local training, (P,)
    memory : what the device keeps until it is asked again, by the strategy's names
    sent : what it sends besides the model, by the strategy's names
    """

    model: Tensor
    memory: dict[str, Tensor] = field(default_factory=dict)
    sent: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Batch:
    """One step's examples, and those to customise with (the same, where nothing is customised)."""

    query: Examples
    support: Examples


class Device(ABC):
    """One device in one round.

    Attributes
    ----------
    start : the parameters that the server sent, (P,)
    shared : what the server sent besides them, by the strategy's names
    memory : what the device kept since it was last asked
    local : how it trains; `lr` is this round's step size
    steps : minibatches that it does; fewer than `local` says where time is cut off
    examples : how many it holds
    statistics : of batch norm, (S,), as they are by now
    """

    def __init__(
        self,
        net: Net,
        local: Local,
        lr: float,
        customise: Customise,
        start: Tensor,
        statistics: Tensor,
        shared: dict[str, Tensor],
        memory: dict[str, Tensor],
        steps: int | Tensor,
        examples: int | Tensor,
    ) -> None:
        self.net, self.local, self.lr, self.customise = net, local, lr, customise
        self.start, self.statistics = start, statistics
        self.shared, self.memory = shared, memory
        self.steps, self.examples = steps, examples
        self._total = torch.zeros((), device=start.device)

    @property
    def loss(self) -> Tensor:
        """Mean loss over the steps done, nats; 0 before the first."""
        steps = self.steps
        if isinstance(steps, Tensor):
            return self._total / steps.clamp(min=1)
        return self._total / max(steps, 1)

    def sgd(self, direction: Direction | None = None, start: Tensor | None = None) -> Tensor:
        """Parameters (P,) after this round's steps of SGD from `start` (what the server sent).

        Parameters
        ----------
        direction : called with parameters and gradient in each step; the gradient itself if None
        """
        w = self.start if start is None else start
        for number, batch in self.batches():
            gradient, loss, statistics = self.gradient(w, batch)
            step = gradient if direction is None else direction(w, gradient)
            if self.local.clip is not None:
                norm = torch.linalg.vector_norm(step)
                step = step * (self.local.clip / norm.clamp(min=self.local.clip))
            if self.local.weight_decay:
                step = torch.add(step, w, alpha=self.local.weight_decay)
            # as torch.optim.SGD adds, which rounds once: the same bits
            w = self.keep(number, torch.add(w, step, alpha=-self.lr), w)
            self.statistics = self.keep(number, statistics, self.statistics)
            self._total = self._total + self.keep(number, loss, torch.zeros_like(loss))
        return w

    def objective(self, w: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """fᵢ(Tᵢ(w)) on `batch`, and the statistics after it."""
        return self.customise.loss(self.net, w, self.statistics, batch.query, batch.support)

    @abstractmethod
    def batches(self) -> Iterator[tuple[int, Batch]]:
        """The round's minibatches, counted from 0."""

    @abstractmethod
    def gradient(self, w: Tensor, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """∇fᵢ(Tᵢ(w)) on `batch` (P,), the loss (), and the statistics after it (S,)."""

    @abstractmethod
    def keep(self, number: int, new: Tensor, old: Tensor) -> Tensor:
        """`new` where the device does step `number`, else `old`."""

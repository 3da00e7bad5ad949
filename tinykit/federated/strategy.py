"""What a federated algorithm is: a client function, what the server makes of the replies, and who
remembers what.

A new algorithm is a subclass of `Strategy` in a module of its own; `docs/federated.md` writes one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from tinykit.federated.customise import Customise, Identity
from tinykit.federated.device import Device, Reply
from tinykit.federated.errors import FederatedError
from tinykit.federated.net import Net

#: the server's vectors by name; "model" is what devices are sent
Server = dict[str, Tensor]


@dataclass(frozen=True)
class Replies:
    """What came back in a round, a row for each device that answered, in the order of `devices`.

    Parameters
    ----------
    devices : their numbers, ascending
    model : parameters (n, P)
    statistics : of batch norm (n, S)
    memory, sent : by the strategy's names, (n, length)
    examples, steps : how many each has and did, (n,)
    loss : mean over its steps, nats (n,)
    lr : the step size of the round's local training
    """

    devices: tuple[int, ...]
    model: Tensor
    statistics: Tensor
    memory: dict[str, Tensor]
    sent: dict[str, Tensor]
    examples: Tensor
    steps: Tensor
    loss: Tensor
    lr: float

    def __len__(self) -> int:
        return len(self.devices)

    @staticmethod
    def join(parts: Sequence[Replies]) -> Replies:
        """Those of all `parts`, one after another."""

        def named(kind: str) -> dict[str, Tensor]:
            names = getattr(parts[0], kind)
            return {n: torch.cat([getattr(part, kind)[n] for part in parts]) for n in names}

        return Replies(
            tuple(device for part in parts for device in part.devices),
            torch.cat([part.model for part in parts]),
            torch.cat([part.statistics for part in parts]),
            named("memory"),
            named("sent"),
            torch.cat([part.examples for part in parts]),
            torch.cat([part.steps for part in parts]),
            torch.cat([part.loss for part in parts]),
            parts[0].lr,
        )

    def take(self, rows: Sequence[int]) -> Replies:
        """Those rows only."""
        index = torch.tensor(rows, dtype=torch.int64, device=self.model.device)
        return Replies(
            tuple(self.devices[r] for r in rows),
            self.model[index],
            self.statistics[index],
            {name: value[index] for name, value in self.memory.items()},
            {name: value[index] for name, value in self.sent.items()},
            self.examples[index],
            self.steps[index],
            self.loss[index],
            self.lr,
        )


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """A federated algorithm.

    Parameters
    ----------
    customise : what each device does with the model before it uses it, in training and after
    weighted : replies count by their device's number of examples; else all alike

    Attributes
    ----------
    memory : names of vectors of P numbers that each device keeps between rounds; zeros at first
    shared : names of vectors of P numbers that the server keeps and sends along; zeros at first
    private : the same, not sent
    sends : names of vectors of P numbers that a device sends besides the model
    mean_only : `aggregate` needs nothing of the replies but the plain mean of their models, and
        devices send nothing else: what differential privacy and masking ask for. A class that says
        so calls `average` on ``replies.model`` alone, and is given one row: the mean
    """

    customise: Customise = field(default_factory=Identity)
    weighted: bool = True

    memory: ClassVar[tuple[str, ...]] = ()
    shared: ClassVar[tuple[str, ...]] = ()
    private: ClassVar[tuple[str, ...]] = ()
    mean_only: ClassVar[bool] = False

    @property
    def sends(self) -> tuple[str, ...]:
        return ()

    def client(self, device: Device) -> Reply:
        """What a device does. Pure; must not branch on the values of tensors."""
        return Reply(device.sgd())

    def aggregate(self, server: Server, replies: Replies, devices: int) -> Server:
        """The server's vectors after the round.

        Parameters
        ----------
        replies : at least one
        devices : how many of the federation hold examples, and so may be asked
        """
        return {**server, "model": self.average(replies.model, replies)}

    def average(self, rows: Tensor, replies: Replies) -> Tensor:
        """The mean of `rows` (n, ·), each with its reply's weight.

        Summed one by one in the order of devices, as Flower's FedAvg does: floating-point sums
        depend on their order.
        """
        weights = replies.examples.tolist() if self.weighted else [1] * len(replies)
        return weighted_mean(rows, weights)

    def begin(self, net: Net) -> Server:
        """The server's vectors before the first round."""
        zeros = (*self.shared, *self.private)
        return {"model": net.start.clone(), **{n: torch.zeros_like(net.start) for n in zeros}}

    def first_memory(self, server: Server, statistics: Tensor, net: Net) -> dict[str, Tensor]:
        """What a device remembers that was never asked."""
        return {name: torch.zeros_like(server["model"]) for name in self.memory}

    def evaluated(self, server: Server) -> Tensor:
        """The parameters that people use, (P,)."""
        return server["model"]

    def personal(
        self, server: Server, statistics: Tensor, memory: dict[str, Tensor], net: Net
    ) -> tuple[Tensor, Tensor]:
        """Parameters and statistics that a device with `memory` uses, before it customises."""
        return self.evaluated(server), statistics

    def travels(self, net: Net) -> int:
        """Numbers that go to a device and back as the model: parameters and statistics."""
        return net.size + len(net.statistics)

    def own(self, net: Net) -> Tensor:
        """Positions of parameters that never leave their device, int64."""
        return torch.zeros(0, dtype=torch.int64, device=net.device)


def weighted_mean(rows: Tensor, weights: Sequence[float]) -> Tensor:
    """Σ wᵢ·rowᵢ / Σ wᵢ, the terms added in their order.

    Raises
    ------
    FederatedError
        The weights add up to nothing.
    """
    total = sum(weights)
    if not total > 0:
        raise FederatedError("no reply has any weight: there is nothing to average")
    result = rows[0] * (weights[0] / total)
    for row, weight in zip(rows[1:], weights[1:], strict=True):
        result = result + row * (weight / total)
    return result

"""FedAvgM and FedAdam: the server takes the mean update for a gradient, and makes its own step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from tinykit.federated.checks import real
from tinykit.federated.strategy import Replies, Server, Strategy


@dataclass(frozen=True, kw_only=True)
class FedAvgM(Strategy):
    """FedAvg with momentum on the server (Hsu et al., 2019, "Measuring the effects of
    non-identical data distribution for federated visual classification").

    Parameters
    ----------
    momentum : β in [0, 1); 0 with server_lr 1 is FedAvg
    server_lr : step size of the server
    """

    momentum: float = 0.9
    server_lr: float = 1.0

    private: ClassVar[tuple[str, ...]] = ("velocity",)
    mean_only: ClassVar[bool] = True

    def __post_init__(self) -> None:
        real("momentum of FedAvgM", self.momentum, least=0, below=1)
        real("server_lr of FedAvgM", self.server_lr, above=0)

    def aggregate(self, server: Server, replies: Replies, devices: int) -> Server:
        update = self.average(replies.model, replies) - server["model"]
        velocity = self.momentum * server["velocity"] + update
        return {"model": server["model"] + self.server_lr * velocity, "velocity": velocity}


@dataclass(frozen=True, kw_only=True)
class FedAdam(Strategy):
    """FedAvg with Adam on the server, without bias correction (Reddi et al., "Adaptive federated
    optimization", ICLR 2021, algorithm 2).

    Parameters
    ----------
    server_lr : η
    beta1, beta2 : decay of the first and second moment
    tau : τ, how adaptive; added to the root of the second moment
    """

    server_lr: float = 0.01
    beta1: float = 0.9
    beta2: float = 0.99
    tau: float = 1e-3

    private: ClassVar[tuple[str, ...]] = ("first", "second")
    mean_only: ClassVar[bool] = True

    def __post_init__(self) -> None:
        real("server_lr of FedAdam", self.server_lr, above=0)
        real("beta1 of FedAdam", self.beta1, least=0, below=1)
        real("beta2 of FedAdam", self.beta2, least=0, below=1)
        real("tau of FedAdam", self.tau, above=0)

    def aggregate(self, server: Server, replies: Replies, devices: int) -> Server:
        update = self.average(replies.model, replies) - server["model"]
        first = self.beta1 * server["first"] + (1 - self.beta1) * update
        second = self.beta2 * server["second"] + (1 - self.beta2) * update**2
        step = self.server_lr * first / (torch.sqrt(second) + self.tau)
        return {"model": server["model"] + step, "first": first, "second": second}

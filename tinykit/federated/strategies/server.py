"""FedAvgM and FedAdam: the server takes the mean update for a gradient, and makes its own step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from tinykit.federated.errors import FederatedError
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
        if not (0 <= self.momentum < 1 and 0 < self.server_lr < float("inf")):
            raise FederatedError(
                f"FedAvgM needs 0 <= momentum < 1 and server_lr > 0, got {self.momentum} and "
                f"{self.server_lr}"
            )

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
        if not (
            0 < self.server_lr < float("inf")
            and 0 <= self.beta1 < 1
            and 0 <= self.beta2 < 1
            and self.tau > 0
        ):
            raise FederatedError(
                "FedAdam needs server_lr > 0, 0 <= beta < 1 and tau > 0, got "
                f"{self.server_lr}, {self.beta1}, {self.beta2} and {self.tau}"
            )

    def aggregate(self, server: Server, replies: Replies, devices: int) -> Server:
        update = self.average(replies.model, replies) - server["model"]
        first = self.beta1 * server["first"] + (1 - self.beta1) * update
        second = self.beta2 * server["second"] + (1 - self.beta2) * update**2
        step = self.server_lr * first / (torch.sqrt(second) + self.tau)
        return {"model": server["model"] + step, "first": first, "second": second}

"""FedProx: FedAvg whose devices are held back by a spring."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tinykit.federated.device import Device, Reply
from tinykit.federated.errors import FederatedError
from tinykit.federated.strategy import Strategy


@dataclass(frozen=True, kw_only=True)
class FedProx(Strategy):
    """Devices minimise fᵢ(θ) + μ/2·‖θ − w‖² (Li et al., MLSys 2020, equation 2).

    Parameters
    ----------
    mu : μ ≥ 0; 0 is FedAvg
    """

    mu: float = 0.01

    mean_only: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 <= self.mu < float("inf"):
            raise FederatedError(f"FedProx needs mu >= 0, got {self.mu}")

    def client(self, device: Device) -> Reply:
        return Reply(device.sgd(lambda w, gradient: gradient + self.mu * (w - device.start)))

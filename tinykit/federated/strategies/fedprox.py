"""FedProx: FedAvg whose devices are held back by a spring."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tinykit.federated.checks import real
from tinykit.federated.device import Device, Reply
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
        real("mu of FedProx", self.mu, least=0)

    def client(self, device: Device) -> Reply:
        return Reply(device.sgd(lambda w, gradient: gradient + self.mu * (w - device.start)))

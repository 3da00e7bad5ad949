"""FedBN: batch norm stays on the device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from tinykit.federated.device import Device, Reply
from tinykit.federated.errors import FederatedError
from tinykit.federated.net import Net
from tinykit.federated.strategy import Server, Strategy


@dataclass(frozen=True, kw_only=True)
class FedBN(Strategy):
    """FedAvg of all but batch norm (Li et al., ICLR 2021), for devices that see the same classes
    in another light: factors, offsets and statistics of batch norm never leave their device.

    Raises
    ------
    FederatedError
        The model has no batch norm.
    """

    memory: ClassVar[tuple[str, ...]] = ("norm", "statistics")
    mean_only: ClassVar[bool] = True

    def begin(self, net: Net) -> Server:
        if not net.normalises:
            raise FederatedError(
                "FedBN keeps batch norm on the device, and this model has none: use FedAvg"
            )
        return super().begin(net)

    def first_memory(self, server: Server, statistics: Tensor, net: Net) -> dict[str, Tensor]:
        return {"norm": server["model"][net.where()], "statistics": statistics}

    def client(self, device: Device) -> Reply:
        where, given = device.net.where(), device.statistics
        device.statistics = device.memory["statistics"]
        model = device.sgd(start=device.start.index_copy(0, where, device.memory["norm"]))
        memory = {"norm": model[where], "statistics": device.statistics}
        device.statistics = given  # what goes back is what came
        return Reply(model.index_copy(0, where, device.start[where]), memory)

    def personal(
        self, server: Server, statistics: Tensor, memory: dict[str, Tensor], net: Net
    ) -> tuple[Tensor, Tensor]:
        model = server["model"].index_copy(0, net.where(), memory["norm"])
        return model, memory["statistics"]

    def travels(self, net: Net) -> int:
        return net.size - len(net.where())

    def own(self, net: Net) -> Tensor:
        return net.where()

"""FedDyn: every device minimises a loss whose stationary point is that of all devices' loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from tinykit.federated.checks import real
from tinykit.federated.device import Device, Reply
from tinykit.federated.net import Net
from tinykit.federated.strategy import Replies, Server, Strategy


@dataclass(frozen=True, kw_only=True)
class FedDyn(Strategy):
    """Dynamic regularisation (Acar et al., ICLR 2021, algorithm 1).

    Device i minimises fᵢ(θ) − ⟨λᵢ, θ⟩ + α/2·‖θ − w‖² and then sets λᵢ ← λᵢ − α(θᵢ − w). The server
    sends the mean of the answers minus 1/α times the mean of λ over *all* devices; people use the
    mean of the answers. With a customisation it is PFLDyn (Acar et al., ICML 2021).

    Parameters
    ----------
    alpha : α > 0
    """

    alpha: float = 0.1
    weighted: bool = False

    memory: ClassVar[tuple[str, ...]] = ("dual",)
    private: ClassVar[tuple[str, ...]] = ("mean", "dual")

    def __post_init__(self) -> None:
        real("alpha of FedDyn", self.alpha, above=0)

    def begin(self, net: Net) -> Server:
        return {**super().begin(net), "mean": net.start.clone()}

    def client(self, device: Device) -> Reply:
        dual, alpha = device.memory["dual"], self.alpha
        model = device.sgd(lambda w, gradient: gradient - dual + alpha * (w - device.start))
        return Reply(model, {"dual": dual - alpha * (model - device.start)})

    def aggregate(self, server: Server, replies: Replies, devices: int) -> Server:
        mean = self.average(replies.model, replies)
        # the server knows what it sent and what it got, and so by how much each λᵢ changed
        moved = (replies.model - server["model"]).sum(0)
        dual = server["dual"] - self.alpha * moved / devices
        return {"model": mean - dual / self.alpha, "mean": mean, "dual": dual}

    def evaluated(self, server: Server) -> Tensor:
        return server["mean"]

"""SCAFFOLD: every device subtracts the direction in which it drifts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from tinykit.federated.checks import real
from tinykit.federated.device import Device, Reply
from tinykit.federated.strategy import Replies, Server, Strategy


@dataclass(frozen=True, kw_only=True)
class Scaffold(Strategy):
    """Stochastic controlled averaging (Karimireddy et al., ICML 2020, algorithm 1, option II).

    With a customisation it is PFLScaf. Each round a device is sent and sends two models' worth.

    Parameters
    ----------
    server_lr : η_g, step size of the server
    """

    server_lr: float = 1.0
    weighted: bool = False

    memory: ClassVar[tuple[str, ...]] = ("control",)
    shared: ClassVar[tuple[str, ...]] = ("control",)

    def __post_init__(self) -> None:
        real("server_lr of SCAFFOLD", self.server_lr, above=0)

    def client(self, device: Device) -> Reply:
        own, all_ = device.memory["control"], device.shared["control"]
        model = device.sgd(lambda w, gradient: gradient - own + all_)
        # a device that was cut off before its first step has learned nothing of its drift
        steps = torch.as_tensor(device.steps, device=own.device)
        moved = (device.start - model) / (steps.clamp(min=1) * device.lr)
        control = torch.where(steps > 0, own - all_ + moved, own)
        return Reply(model, {"control": control}, {"control": control - own})

    def aggregate(self, server: Server, replies: Replies, devices: int) -> Server:
        update = self.average(replies.model, replies) - server["model"]
        return {
            "model": server["model"] + self.server_lr * update,
            "control": server["control"] + replies.sent["control"].sum(0) / devices,
        }

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
    recover : the server works out the change of each control variate from the model that came back,
        (w − wᵢ)/(K·lr) − c: it knows all of these, so that the second vector need not be sent
    """

    server_lr: float = 1.0
    recover: bool = False
    weighted: bool = False

    memory: ClassVar[tuple[str, ...]] = ("control",)
    shared: ClassVar[tuple[str, ...]] = ("control",)

    @property
    def sends(self) -> tuple[str, ...]:
        return () if self.recover else ("control",)

    def __post_init__(self) -> None:
        real("server_lr of SCAFFOLD", self.server_lr, above=0)

    def client(self, device: Device) -> Reply:
        own, all_ = device.memory["control"], device.shared["control"]
        model = device.sgd(lambda w, gradient: gradient - own + all_)
        # a device that was cut off before its first step has learned nothing of its drift
        steps = torch.as_tensor(device.steps, device=own.device)
        moved = (device.start - model) / (steps.clamp(min=1) * device.lr)
        control = torch.where(steps > 0, own - all_ + moved, own)
        return Reply(
            model, {"control": control}, {} if self.recover else {"control": control - own}
        )

    def aggregate(self, server: Server, replies: Replies, devices: int) -> Server:
        start, control = server["model"], server["control"]
        if self.recover:
            steps = replies.steps[:, None].to(start.dtype)
            moved = (start - replies.model) / (steps.clamp(min=1) * replies.lr)
            changes = torch.where(steps > 0, moved - control, torch.zeros_like(moved))
        else:
            changes = replies.sent["control"]
        update = self.average(replies.model, replies) - start
        return {
            "model": start + self.server_lr * update,
            "control": control + changes.sum(0) / devices,
        }

"""One device at a time, by torch's ordinary autograd: what every other engine is measured by."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from tinykit.federated.customise import Examples
from tinykit.federated.device import Batch, Device, Reply
from tinykit.federated.engines.engine import Broadcast, Outcome, Setting, Work, checked
from tinykit.federated.errors import ClientError
from tinykit.federated.net import Net


class SingleDevice(Device):
    """A `Device` whose tensors are its own."""

    def __init__(self, net: Net, setting: Setting, broadcast: Broadcast, work: Work) -> None:
        # copies: a client function that writes into them spoils nobody else's
        super().__init__(
            net,
            setting.local,
            broadcast.lr,
            setting.strategy.customise,
            broadcast.server["model"].clone(),
            broadcast.statistics.clone(),
            {name: broadcast.server[name].clone() for name in setting.strategy.shared},
            {name: value.clone() for name, value in work.memory.items()},
            len(work.query),
            work.examples,
        )
        self._pool, self._work = setting.pool, work

    def batches(self) -> Iterator[tuple[int, Batch]]:
        query, support = self._work.query, self._work.support
        for number in range(len(query)):
            own = self._examples(query.index[number, : query.sizes[number]])
            if support is None:
                yield number, Batch(own, own)
            else:
                row = support.index[number, : support.sizes[number]]
                yield number, Batch(own, self._examples(row))

    def _examples(self, positions: np.ndarray) -> Examples:
        index = torch.from_numpy(positions).to(self._pool.x.device)
        return Examples(self._pool.x[index], self._pool.y[index])

    def gradient(self, w: Tensor, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        with torch.enable_grad():
            leaf = w.detach().requires_grad_()
            loss, statistics = self.objective(leaf, batch)
            (gradient,) = torch.autograd.grad(loss, leaf)
        return gradient, loss.detach(), statistics.detach()

    def keep(self, number: int, new: Tensor, old: Tensor) -> Tensor:
        return new


def run_one(net: Net, setting: Setting, broadcast: Broadcast, work: Work) -> Outcome:
    """What one device makes of its work; a client function that raises is an outcome too.

    One thread: some kernels add in another order with two, and bits would depend on the machine's
    number of cores.
    """
    device = SingleDevice(net, setting, broadcast, work)
    try:
        if net.random:
            # dropout: the same numbers wherever, and after whatever, the device runs
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed_of(broadcast, work.device))
                reply = _reply(device, setting, work)
        else:
            reply = _reply(device, setting, work)
    except ClientError as error:
        return Outcome(work.device, None, error=str(error))
    except Exception as error:  # whatever a client function does, it is the device's failure
        return Outcome(work.device, None, error=f"{type(error).__name__}: {error}")
    return Outcome(
        work.device,
        reply,
        device.statistics,
        len(work.query),
        work.examples,
        float(device.loss),
    )


def _reply(device: SingleDevice, setting: Setting, work: Work) -> Reply:
    with torch.no_grad():
        return checked(setting.strategy.client(device), setting, work.memory)


def seed_of(broadcast: Broadcast, device: int) -> int:
    """A seed for what is random inside the model of `device` in this round."""
    state = np.random.SeedSequence([broadcast.seed, broadcast.round, device])
    return int(state.generate_state(1)[0])

"""The sequential engine: one device after another, the same bits on every run."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import repeat
from typing import ClassVar

import torch

from tinykit.federated.checks import whole
from tinykit.federated.engines.engine import Broadcast, Engine, Outcome, Setting, Work, stacked
from tinykit.federated.engines.single import run_one
from tinykit.federated.net import Net
from tinykit.federated.strategy import Replies


class Sequential(Engine):
    """One device after another, each on one thread.

    Parameters
    ----------
    workers : devices at a time; None is one for small networks, whose time is Python's, and all
        cores for those with convolutions. The result is the same for any number: devices do not
        see one another, and each computes on one thread.
    """

    name: ClassVar[str] = "sequential"

    def __init__(self, workers: int | None = None) -> None:
        if workers is not None:
            whole("workers of the engine", workers, least=1)
        self.workers = workers
        self._nets: list[Net] = []

    def train(
        self, setting: Setting, broadcast: Broadcast, works: Sequence[Work]
    ) -> tuple[Replies | None, dict[int, str]]:
        workers = min(self._workers(setting.net), len(works))
        with one_thread():
            if workers <= 1:
                done = [run_one(setting.net, setting, broadcast, w) for w in works]
                return stacked(done, broadcast.lr)
            nets = self._copies(setting.net, workers)
            # worker k has devices k, k + workers, …: nobody waits for a net
            shares = [works[k::workers] for k in range(workers)]
            with ThreadPoolExecutor(workers) as pool:
                parts = list(pool.map(_share, nets, repeat(setting), repeat(broadcast), shares))
        outcomes = [outcome for share in parts for outcome in share]
        return stacked(sorted(outcomes, key=lambda outcome: outcome.device), broadcast.lr)

    def _workers(self, net: Net) -> int:
        if net.random:
            return 1  # torch's random state is one for all threads
        if self.workers is not None:
            return self.workers
        return len(os.sched_getaffinity(0)) if net.convolves else 1

    def _copies(self, net: Net, count: int) -> list[Net]:
        if not self._nets or self._nets[0] is not net or len(self._nets) < count:
            self._nets = [net, *(net.copy() for _ in range(count - 1))]
        return self._nets[:count]


def _share(
    net: Net, setting: Setting, broadcast: Broadcast, works: Sequence[Work]
) -> list[Outcome]:
    torch.set_num_threads(1)  # torch keeps the number by thread
    return [run_one(net, setting, broadcast, work) for work in works]


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch computes on one thread inside."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)

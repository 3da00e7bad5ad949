"""The Flower engine: the same client functions on Flower and Ray, on one machine or a cluster.

The bits are those of the sequential engine, so that an experiment can begin on one and go on on the
other: every device computes alone, on one thread, with minibatches that the server drew, and
replies are sorted by device. All that touches Flower and Ray is in `flower_runtime`.
"""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, ClassVar, TypeVar

from tinykit.federated.engines.engine import (
    Broadcast,
    Engine,
    Setting,
    Train,
    Work,
    stacked,
)
from tinykit.federated.engines.sequential import Sequential
from tinykit.federated.errors import FederatedError
from tinykit.federated.strategy import Replies
from tinykit.graph.errors import MissingToolError

if TYPE_CHECKING:
    from types import ModuleType

    from tinykit.federated.engines.flower_runtime import Runtime

T = TypeVar("T")

#: read when Flower and Ray are imported: neither calls home, and workers have the priority of the
#: process that started them (Ray gives them the lowest, which on a busy machine is none)
ENVIRONMENT = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_worker_niceness": "0",
}


class Flower(Engine):
    """Devices are ClientApps of Flower, run by workers of Ray.

    Both are started for each `Simulation.run`, which takes some ten seconds; inside
    ``with Flower() as engine:`` they are started once.

    Parameters
    ----------
    workers : devices at a time, one process and one core each; None: as many as there are cores
    address : of a running Ray cluster, as `ray.init` takes it; None starts Ray on this machine
    timeout : seconds that a round may take

    Raises
    ------
    FederatedError
        No workers, or no time.
    """

    name: ClassVar[str] = "flower"

    def __init__(
        self, workers: int | None = None, address: str | None = None, timeout: float = 600.0
    ) -> None:
        if workers is not None and workers < 1:
            raise FederatedError(f"an engine needs at least one worker, got {workers}")
        if not timeout > 0:
            raise FederatedError(f"a round needs time: timeout must be above 0 s, got {timeout}")
        self.workers, self.address, self.timeout = workers, address, timeout
        self._keep = False
        self._running: Runtime | None = None

    def __enter__(self) -> Flower:
        self._keep = True
        return self

    def __exit__(self, *raised: object) -> None:
        self._keep = False
        self._stop()

    def _stop(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            running.stop()

    @property
    def settings(self) -> str:
        # the bits are the same, so a checkpoint goes on on either
        return Sequential.name

    def train(
        self, setting: Setting, broadcast: Broadcast, works: Sequence[Work]
    ) -> tuple[Replies | None, dict[int, str]]:
        return self.session(setting, lambda train: train(broadcast, works))

    def session(self, setting: Setting, job: Callable[[Train], T]) -> T:
        """Call ``job(train)`` while Flower and Ray run; they stop whatever `job` raises.

        Raises
        ------
        MissingToolError
            The extra `flower` is not installed.
        FederatedError
            Ray does not start, a worker dies, or a round takes longer than `timeout`.
        """
        if setting.net.device.type != "cpu":
            raise FederatedError(
                f"Flower's workers compute on the CPU, the model is on {setting.net.device}: give "
                "Simulation device='cpu', or engine='vectorised'"
            )
        runtime = _runtime()
        with runtime.quiet():
            if self._running is None:
                self._running = runtime.Runtime(self.workers, self.address)
            running = self._running
            try:
                running.give(setting)
                return job(partial(self._round, running))
            finally:
                if running.busy or not self._keep:
                    self._stop()

    def _round(
        self, running: Runtime, broadcast: Broadcast, works: Sequence[Work]
    ) -> tuple[Replies | None, dict[int, str]]:
        outcomes = running.ask(broadcast, works, self.timeout)
        return stacked(sorted(outcomes, key=lambda outcome: outcome.device), broadcast.lr)


@contextmanager
def without(package: str) -> Iterator[None]:
    """`package`, unless it is imported already, seems not to be installed."""
    hidden = package not in sys.modules
    if hidden:
        sys.modules[package] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if hidden:
            del sys.modules[package]


def _runtime() -> ModuleType:
    os.environ.update(ENVIRONMENT)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what they deprecate in their own dependencies
            return importlib.import_module("tinykit.federated.engines.flower_runtime")
    except ImportError as error:
        raise MissingToolError(
            f"the Flower engine needs Flower and Ray ({error}): pip install 'tinyml-kit[flower]'"
        ) from None

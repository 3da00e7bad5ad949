"""A simulation on a fleet: who is on line, how far each device gets, and what the round costs."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinykit.data.federation import Federation
from tinykit.federated.checks import real
from tinykit.federated.errors import FederatedError
from tinykit.federated.local import Local
from tinykit.federated.system import Fleet, RoundCost


@dataclass(frozen=True)
class Deployment:
    """The devices that a federation runs on, and how long the server waits for them.

    Parameters
    ----------
    fleet : as many devices as the federation has
    cutoff_s : τ, seconds of training after which a device stops and sends what it has
    deadline_s : seconds after which the server goes on without those that have not answered
    always_on : devices are always on line; else as often as the catalogue says of their class
    """

    fleet: Fleet
    cutoff_s: float | None = None
    deadline_s: float | None = None
    always_on: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.fleet, Fleet):
            raise FederatedError(f"a deployment needs a Fleet, got {self.fleet!r:.80}")
        for name in ("cutoff_s", "deadline_s"):
            if (value := getattr(self, name)) is not None:
                real(f"{name} of a deployment (None: no limit)", value, least=0)

    def check(self, federation: Federation) -> Deployment:
        """Itself, if it fits `federation`.

        Raises
        ------
        FederatedError
            Fleet and federation differ in size.
        """
        if len(self.fleet) != len(federation):
            raise FederatedError(
                f"the fleet has {len(self.fleet)} devices, {federation.name} {len(federation)}: "
                f"make it with Fleet.mix(shares, {len(federation)}, work)"
            )
        return self

    def words(self) -> str:
        """What the course of a simulation depends on, for checkpoints."""
        fleet = self.fleet
        # by number: two catalogues may say different things of the same name
        depends = [*fleet.classes, *fleet.links, self.cutoff_s, self.deadline_s, self.always_on]
        digest = hashlib.sha256(repr(depends).encode())
        digest.update(fleet.kind.tobytes() + fleet.seconds_per_example.tobytes())
        kinds = ", ".join(
            f"{kind.name} ({link.name})"
            for kind, link in zip(fleet.classes, fleet.links, strict=True)
        )
        limits = f"cutoff_s={self.cutoff_s}, deadline_s={self.deadline_s}"
        return f"{len(fleet)} devices, {kinds}; {limits}; {digest.hexdigest()[:16]}"

    def online(self, round: int, seed: int) -> np.ndarray:
        """Which devices can be asked in `round`, bool (devices,)."""
        if self.always_on:
            return np.ones(len(self.fleet), dtype=bool)
        return self.fleet.available(round, seed)

    def cost(
        self,
        devices: Sequence[int],
        federation: Federation,
        local: Local,
        bytes_down: int,
        bytes_up: int | Sequence[int],
    ) -> RoundCost:
        """What a round with `devices` costs, and how many steps each gets done.

        A step counts as the device's mean minibatch, rounded up: the last one of a pass is smaller.
        """
        sizes = [len(federation.train[d]) for d in devices]
        return self.fleet.cost(
            np.asarray(devices, dtype=np.int64),
            np.array([local.steps_for(n) for n in sizes], dtype=np.int64),
            np.array([_examples_a_step(n, local.batch) for n in sizes], dtype=np.int64),
            bytes_down,
            bytes_up,
            self.cutoff_s,
            self.deadline_s,
        )


def _examples_a_step(examples: int, batch: int) -> int:
    """The mean minibatch of a pass over so many examples, rounded up; 1 at least."""
    steps = max(1, -(-examples // batch))
    return max(1, -(-examples // steps))

"""The people who made the data, one device each."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tinykit.data.errors import DataError
from tinykit.data.partitions.base import NOBODY, Ask, Partition, View
from tinykit.data.types import Split


def _users(users: np.ndarray | None) -> np.ndarray:
    if users is None:
        raise DataError(
            "this data does not say who made which example; natural users are in watch_imu, "
            "or set Split.users"
        )
    return users


@dataclass(frozen=True)
class Users(Partition):
    """One device for each person who made examples, with all that person made.

    Without `devices` there are as many as people; with it, so many people are drawn. With `samples`
    each device holds that many of its person's examples, else all.
    """

    def divide(self, ask: Ask) -> np.ndarray:
        users = _users(ask.users)
        people = self._people(ask)
        if len(people) < ask.devices:
            raise DataError(f"{ask.devices} devices, but {len(people)} people made this data")
        holder = np.full(len(ask.y), NOBODY, dtype=np.int64)
        rng = ask.rng("Users examples")
        for device, person in enumerate(people):
            own = np.flatnonzero(users == person)
            if ask.exact:
                if len(own) < ask.sizes[device]:
                    raise DataError(
                        f"user {person} made {len(own)} examples, not {ask.sizes[device]}; "
                        "take fewer samples, or all (samples=None)"
                    )
                own = rng.permutation(own)[: ask.sizes[device]]
            holder[own] = device
        return holder

    def _people(self, ask: Ask) -> np.ndarray:
        """Who the devices belong to, ascending."""
        people = np.unique(_users(ask.users))
        return np.sort(ask.rng("Users").permutation(people)[: ask.devices])

    def see(self, view: View, ask: Ask) -> View:
        return replace(view, groups=tuple(f"user {person}" for person in self._people(ask)))

    def count(self, pool: Split) -> int | None:
        return len(np.unique(_users(pool.users)))

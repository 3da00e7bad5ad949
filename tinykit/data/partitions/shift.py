"""Devices that see the same things differently."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from tinykit.data.errors import DataError
from tinykit.data.partitions.base import NOBODY, Ask, Partition, View
from tinykit.data.partitions.iid import IID
from tinykit.data.partitions.shifts import SHIFTS
from tinykit.data.types import Split


@dataclass(frozen=True)
class Shift(Partition):
    """As another partition, with examples changed on each device or group of devices.

    Device i belongs to group i mod `groups`. The first group sees the data as it is, the last with
    the full strength, the others evenly between; by rotation each is one step further than the one
    before it. Where the data lies in [0, 1], what devices see is
    clipped to that.

    Parameters
    ----------
    kind : rotation (by 90° steps), brightness, contrast, noise, blur for pictures; gain, mounting
        for motion sensors (`tinykit.data.partitions.shifts`)
    over : says which examples each device holds
    groups : how many; None lets each device draw a strength of its own
    strength : of the strongest shift, in the kind's unit (degrees, pixel value, share taken from
        the contrast, deviation, pixels, share added to the gain); None for the kind's own
    """

    kind: str = "rotation"
    over: Partition = field(default_factory=IID)
    groups: int | None = 4
    strength: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in SHIFTS:
            raise DataError(f"no shift {self.kind!r}; there are: {', '.join(SHIFTS)}")
        if self.groups is not None and self.groups < 2:
            raise DataError(f"groups={self.groups}; a shift needs at least 2 groups to differ")
        steps = SHIFTS[self.kind].steps
        if steps and self.groups and self.groups > steps:
            raise DataError(f"{self.kind} has {steps} steps, no {self.groups} groups")
        if self.strength is not None and not 0 < self.strength < np.inf:
            raise DataError(f"strength={self.strength}; it must be positive")

    def divide(self, ask: Ask) -> np.ndarray:
        return self.over.divide(ask)

    def amounts(self, ask: Ask) -> np.ndarray:
        """How strongly each device is shifted, in the kind's unit, (devices,)."""
        kind = SHIFTS[self.kind]
        if self.groups is not None:
            strongest = (self.groups if self.strength or not kind.steps else kind.steps) - 1
            levels = (np.arange(ask.devices) % self.groups) / strongest
        else:
            levels = ask.rng("Shift levels").random(ask.devices)
            if kind.steps:
                levels = np.floor(levels * kind.steps) / (kind.steps - 1)
        # rounded, so that thirds of 270 are whole
        return np.round(levels * (self.strength or kind.strength), 6)

    def see(self, view: View, ask: Ask) -> View:
        view = self.over.see(view, ask)
        kind, amounts, rng = SHIFTS[self.kind], self.amounts(ask), ask.rng(f"Shift {self.kind}")
        x = view.pool.x.copy()
        unit = bool(len(x)) and x.min() >= 0 and x.max() <= 1
        held = np.flatnonzero(view.holder != NOBODY)
        amount_of = amounts[view.holder[held]]
        # by rising amount: what a group sees does not hang on the order of devices
        order = np.argsort(amount_of, kind="stable")
        values, starts = np.unique(amount_of[order], return_index=True)
        for value, which in zip(values, np.split(held[order], starts[1:]), strict=True):
            if value:
                seen = kind.apply(x[which], float(value), rng)
                x[which] = np.clip(seen, 0, 1) if unit else seen
        labels = [kind.label.format(a) if a else "as it is" for a in amounts]
        if view.groups:
            labels = [f"{old}, {new}" for old, new in zip(view.groups, labels, strict=True)]
        pool = replace(view.pool, x=x)
        return replace(view, pool=pool, groups=tuple(labels), shifted=True)

    def count(self, pool: Split) -> int | None:
        return self.over.count(pool)

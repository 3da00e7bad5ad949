"""A few classes on each device."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinykit.data.checks import whole
from tinykit.data.errors import DataError
from tinykit.data.partitions.base import Ask, Partition, apportion


@dataclass(frozen=True)
class FewClasses(Partition):
    """Each device holds a few classes, in equal parts (Acar et al., ICML 2021: ACID).

    When all examples are divided (no `samples`), the examples of a class go in equal parts to the
    devices that hold it, as in NIID-Bench (Li et al., ICDE 2022), so sizes differ; a class that no
    device drew stays out (there is none once there are as many devices as classes).

    When each device gets so many, devices choose one after the other, the largest first, and
    classes with more examples left are likelier. Where the classes that a device draws are nearly
    used up, it takes those of which most is left instead, and more of one than of another, and if
    need be more classes, up to the limit. What then does not fit is an error.

    Parameters
    ----------
    classes : least and most classes of a device, both included; how many is drawn for each
    """

    classes: tuple[int, int] = (3, 5)

    def __post_init__(self) -> None:
        if not isinstance(self.classes, tuple) or len(self.classes) != 2:
            raise DataError(f"classes of a device are (least, most), got {self.classes!r}")
        low, high = (whole("classes of a device", n, least=1) for n in self.classes)
        if low > high:
            raise DataError(f"classes of a device are (least, most), got {self.classes!r}")

    def divide(self, ask: Ask) -> np.ndarray:
        rng = ask.rng("FewClasses")
        there = np.flatnonzero(ask.stock)
        if self.classes[0] > len(there):
            raise DataError(
                f"{self}: a device cannot hold {self.classes[0]} classes, there are {len(there)}"
            )
        high = min(self.classes[1], len(there))
        number = rng.integers(self.classes[0], high, ask.devices, endpoint=True)
        counts = np.zeros((ask.devices, ask.classes), dtype=np.int64)
        if ask.exact:
            counts[:, there] = self._in_turn(ask, number, high, ask.stock[there], rng)
        else:
            counts[:, there] = _all(ask, number, ask.stock[there], rng)
        return ask.deal(counts, rng)

    def _in_turn(
        self,
        ask: Ask,
        number: np.ndarray,
        high: int,
        stock: np.ndarray,
        rng: np.random.Generator,
    ) -> np.ndarray:
        left = stock.copy()
        counts = np.zeros((ask.devices, len(left)), dtype=np.int64)
        order = rng.permutation(ask.devices)
        # a draw of some of n, each as likely as its weight says, takes the smallest of n
        # exponential numbers over their weights (Efraimidis and Spirakis 2006)
        luck = rng.exponential(size=(ask.devices, len(left)))
        for device in order[np.argsort(-ask.sizes[order], kind="stable")]:
            size = int(ask.sizes[device])
            some = min(int(number[device]), size)
            fit = np.flatnonzero(left >= -(-size // some))
            if len(fit) >= some:
                chosen = fit[np.argsort(luck[device, fit] / left[fit], kind="stable")[:some]]
            else:
                richest = np.argsort(-left, kind="stable")
                while some < high and left[richest[:some]].sum() < size:
                    some += 1
                chosen = richest[:some]
            if left[chosen].sum() < size:
                raise DataError(
                    f"{self}: device {device} needs {size} examples of at most {high} classes, "
                    f"{left[chosen].sum()} are left in the largest; take fewer devices or samples "
                    f"({ask.total:,} of {len(ask.y):,} examples were asked for)"
                )
            counts[device, chosen] = evenly(left[chosen], size)
            left -= counts[device]
        return counts


def _all(ask: Ask, number: np.ndarray, stock: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Every class divided over the devices that hold it, by their sizes."""
    luck = rng.random((ask.devices, len(stock)))
    # so that no class is left out: the devices take one each in turn, the others by chance
    first = rng.permutation(len(stock))[rng.permutation(ask.devices) % len(stock)]
    luck[np.arange(ask.devices), first] = -1.0
    holds = np.argsort(np.argsort(luck, axis=1), axis=1) < number[:, None]
    weights = holds * (ask.sizes / number)[:, None]
    counts = np.zeros(holds.shape, dtype=np.int64)
    for label, size in enumerate(stock):
        if holds[:, label].any():
            counts[:, label] = apportion(weights[:, label], size)
    return counts


def evenly(stock: np.ndarray, total: int) -> np.ndarray:
    """`total` taken from several stocks as equally as they allow; int64, at most `stock`."""
    taken = np.zeros(len(stock), dtype=np.int64)
    for done, place in enumerate(np.argsort(stock, kind="stable")):
        taken[place] = min(stock[place], (total - taken.sum()) // (len(stock) - done))
    return taken

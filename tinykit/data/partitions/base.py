"""What a partition is: it says which device holds each example, and how that device sees it."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from dataclasses import MISSING, dataclass, fields

import numpy as np

from tinykit.data.types import DataSpec, Split

#: in a list of holders: the example is on no device
NOBODY = -1


@dataclass(frozen=True, eq=False)
class Ask:
    """What is to be divided, and into how much for each device.

    Parameters
    ----------
    y : int64 (N,), the labels of the pool
    users : int64 (N,), who made each example, or None
    classes : how many classes there are; some may have no example
    sizes : int64 (devices,), how many examples each device is to hold; their sum is at most N
    exact : whether `sizes` were asked for, or are only what comes of dividing all N equally (then
        a partition may give other sizes, in this proportion)
    seed : of everything random
    """

    y: np.ndarray
    users: np.ndarray | None
    classes: int
    sizes: np.ndarray
    exact: bool
    seed: int

    @property
    def devices(self) -> int:
        return len(self.sizes)

    @property
    def total(self) -> int:
        """How many examples all devices together are to hold."""
        return int(self.sizes.sum())

    @property
    def stock(self) -> np.ndarray:
        """How many examples there are of each class, int64 (classes,)."""
        return np.bincount(self.y, minlength=self.classes)

    def rng(self, what: str) -> np.random.Generator:
        """Random numbers for one purpose, the same whatever else was drawn before."""
        return np.random.default_rng([self.seed, zlib.crc32(what.encode())])

    def deal(self, counts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Holders, int64 (N,): examples drawn so that each device has its `counts` of each class.

        Parameters
        ----------
        counts : int64 (devices, classes), of which no column sums to more than the stock
        """
        holder = np.full(len(self.y), NOBODY, dtype=np.int64)
        for label in range(self.classes):
            examples = rng.permutation(np.flatnonzero(self.y == label))
            hands = np.repeat(np.arange(self.devices), counts[:, label])
            holder[examples[: len(hands)]] = hands
        return holder


@dataclass(frozen=True, eq=False)
class View:
    """How the devices see what they hold.

    Parameters
    ----------
    spec : of the examples
    pool : all examples, each as its holder sees it
    holder : int64 (N,), the device of each example, -1 where there is none
    groups : a label for each device, or ()
    label_maps : int64 (devices, classes): which label a device gives to each class, or None where
        all call them alike
    shifted : whether examples were changed, as `groups` then says
    """

    spec: DataSpec
    pool: Split
    holder: np.ndarray
    groups: tuple[str, ...] = ()
    label_maps: np.ndarray | None = None
    shifted: bool = False


class Partition(ABC):
    """A way to divide examples over devices.

    A new one is a frozen dataclass in a module of its own, with `divide`; one that changes what
    devices see (labels, pictures) takes another partition as `over` and adds `see`.
    """

    @abstractmethod
    def divide(self, ask: Ask) -> np.ndarray:
        """Holders: for each example the device that it is on, -1 for none; int64 (N,).

        Raises
        ------
        DataError
            It cannot be divided like this; the text says what to change.
        """

    def see(self, view: View, ask: Ask) -> View:
        """`view` as the devices of this partition see it; unchanged unless a partition says so."""
        return view

    def __str__(self) -> str:
        """As one would write it, without what is left at its default: ``Dirichlet(0.1)``."""
        parts = []
        for item in fields(self):  # type: ignore[arg-type]
            value = getattr(self, item.name)
            text = str(value) if isinstance(value, Partition) else repr(value)
            if item.default is MISSING and item.default_factory is MISSING:
                parts.append(text)
            elif value != (
                item.default if item.default_factory is MISSING else item.default_factory()
            ):
                parts.append(f"{item.name}={text}")
        return f"{type(self).__name__}({', '.join(parts)})"

    def count(self, pool: Split) -> int | None:
        """How many devices the data itself has, or None where that is for the caller to say."""
        return None


def apportion(weights: np.ndarray, total: int) -> np.ndarray:
    """Whole numbers that sum to `total`, in proportion to `weights`, by largest remainder.

    Parameters
    ----------
    weights : float (n,), none negative, not all zero

    Returns
    -------
    int64 (n,) : each at most 1 from its exact share; ties go to the earlier
    """
    exact = weights / weights.sum() * total
    quota = np.floor(exact).astype(np.int64)
    quota[np.argsort(quota - exact, kind="stable")[: total - quota.sum()]] += 1
    return quota

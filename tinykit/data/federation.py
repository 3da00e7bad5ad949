"""A federation: examples, and which of them each device holds."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinykit.data.errors import DataError
from tinykit.data.types import DataSpec, Split


@dataclass(frozen=True, eq=False)
class Federation:
    """Devices that hold parts of one pool of examples; the pool is stored once.

    Parameters
    ----------
    name : what was divided and how, e.g. "digits, Dirichlet(0.1)"
    spec : of the examples
    pool : all examples; where a device sees them otherwise than others (permuted labels, a shifted
        distribution), the pool holds them as that device sees them
    train : for each device, the int64 positions in `pool` of the examples that it learns from
    test : for each device, those that its own model is tested with; nobody learns from them
    groups : for each device, a label by which devices can be told apart in plots (its user, the
        shift it sees); empty where there is none
    label_maps : int64 (devices, classes), where devices have their own names for the classes: row i
        says which label device i gives to each original class; None where all use the same
    shifted : whether devices see the same things differently, as `groups` then says

    Raises
    ------
    DataError
        Positions outside the pool, or an example that one device learns from and is tested with.
    """

    name: str
    spec: DataSpec
    pool: Split
    train: tuple[np.ndarray, ...]
    test: tuple[np.ndarray, ...] = ()
    groups: tuple[str, ...] = ()
    label_maps: np.ndarray | None = None
    shifted: bool = False

    def __post_init__(self) -> None:
        if not self.train:
            raise DataError(f"{self.name}: a federation needs at least one device")
        for what, given in (("test", self.test), ("groups", self.groups)):
            if given and len(given) != len(self.train):
                raise DataError(
                    f"{self.name}: {what} is given for {len(given)} of {len(self.train)} devices"
                )
        self._check_label_maps()
        for device, part in enumerate([*self.train, *self.test]):
            if part.ndim != 1 or part.dtype != np.int64:
                raise DataError(
                    f"{self.name}: device {device % len(self.train)} needs a list of int64 "
                    f"positions, got {part.dtype} of shape {part.shape}"
                )
            if len(part) and not (part.min() >= 0 and part.max() < len(self.pool)):
                raise DataError(
                    f"{self.name}: device {device % len(self.train)} holds example "
                    f"{int(part.max())}, the pool has {len(self.pool)}"
                )
        for device, (own, held_out) in enumerate(zip(self.train, self.test, strict=False)):
            if len(np.intersect1d(own, held_out)):
                raise DataError(
                    f"{self.name}: device {device} would be tested with examples that it learns "
                    "from"
                )

    def _check_label_maps(self) -> None:
        maps, classes = self.label_maps, self.spec.num_classes
        if maps is not None and not (
            maps.shape == (len(self.train), classes)
            and np.array_equal(np.sort(maps, axis=1), np.tile(np.arange(classes), (len(maps), 1)))
        ):
            raise DataError(
                f"{self.name}: label_maps needs an order of all {classes} labels for each of "
                f"{len(self.train)} devices"
            )

    def __len__(self) -> int:
        """The number of devices."""
        return len(self.train)

    @property
    def sizes(self) -> np.ndarray:
        """How many examples each device learns from, int64 (devices,)."""
        return np.array([len(part) for part in self.train], dtype=np.int64)

    def counts(self, parts: Sequence[np.ndarray] | None = None) -> np.ndarray:
        """Examples by device and class, int64 (devices, classes); of `train` unless given."""
        parts = self.train if parts is None else parts
        classes = self.spec.num_classes
        return np.stack([np.bincount(self.pool.y[p], minlength=classes) for p in parts])

    def holdings(self) -> tuple[np.ndarray, ...]:
        """For each device all positions that it holds, to learn from and to be tested with."""
        if not self.test:
            return self.train
        return tuple(np.concatenate(pair) for pair in zip(self.train, self.test, strict=True))

    def device(self, number: int, part: str = "train") -> Split:
        """What device `number` holds.

        Raises
        ------
        DataError
            There is no such device, or no test part.
        """
        parts = {"train": self.train, "test": self.test}.get(part)
        if not parts or not 0 <= number < len(parts):
            raise DataError(
                f"{self.name} has no {part} part of device {number}; "
                f"it has {len(self)} devices, {'with' if self.test else 'without'} test parts"
            )
        return self.pool.pick(parts[number])

    def fingerprint(self) -> str:
        """SHA-256 of all examples and of who holds which: the same federation, the same text."""
        digest = hashlib.sha256(repr((self.spec, len(self))).encode())
        digest.update(np.ascontiguousarray(self.pool.x).tobytes())
        digest.update(self.pool.y.tobytes())
        for part in (*self.train, *self.test):
            digest.update(len(part).to_bytes(8, "little"))
            digest.update(part.tobytes())
        return digest.hexdigest()

    def __repr__(self) -> str:
        sizes = self.sizes
        return (
            f"Federation({self.name!r}, {len(self)} devices with {sizes.min()} to {sizes.max()} "
            f"examples{'' if self.test else ', no test parts'})"
        )

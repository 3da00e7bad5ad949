"""Datasets: what they look like (`DataSpec`) and their three splits (`Dataset`, `Split`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tinykit.data.errors import DataError


@dataclass(frozen=True)
class DataSpec:
    """What a model must know of the data it is for.

    Parameters
    ----------
    name : the dataset's name
    shape : (height, width, channels) of one example
    classes : the label's names, in the order of the labels
    """

    name: str
    shape: tuple[int, int, int]
    classes: tuple[str, ...]

    @property
    def num_classes(self) -> int:
        return len(self.classes)


@dataclass(frozen=True, eq=False)
class Split:
    """Examples and their labels.

    Parameters
    ----------
    x : float32 array (N, H, W, C)
    y : int64 array (N,)
    users : int64 array (N,), a number for the person who made each example; None where the data
        does not say
    """

    x: np.ndarray
    y: np.ndarray
    users: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.x.ndim != 4 or self.y.shape != self.x.shape[:1]:
            raise DataError(
                f"a split needs images (N, H, W, C) and one label each, "
                f"got {self.x.shape} and {self.y.shape}"
            )
        if self.users is not None and self.users.shape != self.y.shape:
            raise DataError(
                f"a split needs one user for each example, got {self.users.shape} for "
                f"{len(self.y)} examples"
            )

    def __len__(self) -> int:
        return len(self.y)

    def __iter__(self) -> Iterator[np.ndarray]:
        """So that ``x, y = split`` works."""
        return iter((self.x, self.y))

    def take(self, count: int, seed: int = 0) -> Split:
        """`count` examples drawn without replacement, classes in proportion; or all there are."""
        if count >= len(self):
            return self
        if count < 1:
            raise DataError(f"cannot take {count} examples; take at least 1")
        return self.pick(stratified(self.y, count, np.random.default_rng(seed)))

    def pick(self, index: np.ndarray) -> Split:
        """The examples at these positions, in this order."""
        users = None if self.users is None else self.users[index]
        return Split(self.x[index], self.y[index], users)


@dataclass(frozen=True, eq=False)
class Dataset:
    """A dataset with its fixed training, validation and test split."""

    name: str
    spec: DataSpec
    train: Split
    val: Split
    test: Split

    def __post_init__(self) -> None:
        for part in ("train", "val", "test"):
            split = self.split(part)
            if split.x.shape[1:] != self.spec.shape:
                raise DataError(
                    f"{self.name}: {part} examples are {split.x.shape[1:]}, "
                    f"the spec says {self.spec.shape}"
                )

    def split(self, name: str) -> Split:
        """The split called `name`: train, val or test."""
        if name not in ("train", "val", "test"):
            raise DataError(f"no split {name!r}; there are train, val and test")
        split: Split = getattr(self, name)
        return split

    def subset(self, train: int, val: int | None = None, test: int | None = None) -> Dataset:
        """The same data with at most so many examples a split, classes in proportion."""
        return Dataset(
            self.name,
            self.spec,
            self.train.take(train),
            self.val if val is None else self.val.take(val),
            self.test if test is None else self.test.take(test),
        )

    def __repr__(self) -> str:
        h, w, c = self.spec.shape
        return (
            f"Dataset({self.name!r}, {h}×{w}×{c}, {self.spec.num_classes} classes, "
            f"{len(self.train)} train / {len(self.val)} val / {len(self.test)} test)"
        )


def stratified(labels: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Sorted indices of `count` examples in which each class keeps its share of `labels`.

    Shares are rounded by largest remainder, so the counts add up exactly.
    """
    classes, sizes = np.unique(labels, return_counts=True)
    exact = sizes * count / sizes.sum()
    quota = np.floor(exact).astype(int)
    # ties go to the lower label, so that the outcome depends on the labels alone
    order = np.argsort(-(exact - quota), kind="stable")
    quota[order[: count - quota.sum()]] += 1
    picked = [
        rng.permutation(np.flatnonzero(labels == c))[:q]
        for c, q in zip(classes, quota, strict=True)
    ]
    return np.sort(np.concatenate(picked))

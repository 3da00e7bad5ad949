"""Pruning as a C step: few weights, or weights of a small sum, as a constraint or as a penalty.

Carreira-Perpiñán and Idelbayev, "Learning-compression algorithms for neural net pruning" (CVPR
2018). All are exact; among equal magnitudes the first in x stay.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from tinykit.compress.csteps._checks import CStepError, number, single, vector, whole
from tinykit.compress.csteps.base import CStep
from tinykit.compress.csteps.theta import Sparse, Theta


@dataclass(frozen=True)
class L0Constraint(CStep):
    """At most κ weights: those of the largest magnitude stay as they are, all else is zero.

    Parameters
    ----------
    keep : κ. An int is how many weights stay, from 0 (a zero tensor) to all of them. A float in
        (0, 1] is the share that stays: 0.05 is one weight in 20, 1.0 all (while 1 is one weight);
        it is rounded to the nearest number of weights, and at least one stays.
    """

    keep: int | float

    def __post_init__(self) -> None:
        if isinstance(self.keep, float):
            if not 0 < self.keep <= 1:
                raise CStepError(
                    f"keep (κ) is {self.keep!r}; a share must be in (0, 1] — for a number of "
                    f"weights give an int"
                )
        else:
            whole("keep (κ)", self.keep, 0)

    def count(self, size: int) -> int:
        """κ for a tensor of `size` weights."""
        if isinstance(self.keep, float):
            return max(1, math.floor(self.keep * size + 0.5))
        if self.keep > size:
            raise CStepError(
                f"keep (κ) is {self.keep}, but x has only {size} weights; keep {size} or fewer, "
                f"or give a share, such as 0.1"
            )
        return int(self.keep)

    def __call__(self, x: Tensor, mu: float = 1.0, previous: Theta | None = None) -> Sparse:
        values = vector(x)
        return _sparse(values, largest(np.abs(values), self.count(len(values))))


@dataclass(frozen=True)
class L1Constraint(CStep):
    """The nearest point of the ℓ1 ball, ‖Δ‖₁ ≤ radius.

    Duchi et al., "Efficient projections onto the l1-ball" (ICML 2008): all
    magnitudes less one threshold, those below it zero. A point outside comes back inside: its
    values are rounded to float32 towards zero, so that their sum is never above `radius`.

    Parameters
    ----------
    radius : ≥ 0; 0 is a zero tensor
    """

    radius: float

    def __post_init__(self) -> None:
        number("radius", self.radius)

    def __call__(self, x: Tensor, mu: float = 1.0, previous: Theta | None = None) -> Sparse:
        values = vector(x)
        size = np.abs(values)
        if math.fsum(size) <= self.radius:
            return _sparse(np.copysign(_towards_zero(size), values), np.flatnonzero(values))
        ordered = -np.sort(-size)
        excess = np.cumsum(ordered) - self.radius
        # magnitudes above the threshold that they would have if they were all that stays
        inside = np.flatnonzero(ordered * np.arange(1, len(size) + 1) > excess)
        if self.radius == 0 or not len(inside):
            return _sparse(values, np.zeros(0, np.int64))
        stay = ordered[: inside[-1] + 1]
        threshold = (math.fsum(stay) - self.radius) / len(stay)
        index = np.flatnonzero(size > threshold)
        while True:
            shrunk = _towards_zero(size[index] - threshold)
            over = math.fsum(shrunk) - self.radius
            if over <= 0:
                break
            threshold = max(threshold + over / len(stay), np.nextafter(threshold, np.inf))
            index = index[size[index] > threshold]
        result = np.zeros(len(values))
        result[index] = np.copysign(shrunk, values[index])
        return _sparse(result, index)


@dataclass(frozen=True)
class L0Penalty(CStep):
    """argmin α ‖Δ‖₀ + μ/2 ‖x − Δ‖²: weights of magnitude above √(2α/μ) stay as they are.

    Parameters
    ----------
    alpha : α ≥ 0, what a weight that is not zero costs
    """

    alpha: float
    penalised: ClassVar[bool] = True

    def __post_init__(self) -> None:
        number("alpha", self.alpha)

    def __call__(self, x: Tensor, mu: float = 1.0, previous: Theta | None = None) -> Sparse:
        number("mu", mu, positive=True)
        values = vector(x)
        # squares of float32 numbers are exact here
        return _sparse(values, np.flatnonzero(values * values > 2 * self.alpha / mu))

    def penalty(self, theta: Theta) -> float:
        return self.alpha * int(theta.decompress().count_nonzero())


@dataclass(frozen=True)
class L1Penalty(CStep):
    """argmin α ‖Δ‖₁ + μ/2 ‖x − Δ‖²: all magnitudes less α/μ, those below it zero.

    Parameters
    ----------
    alpha : α ≥ 0, what a weight's magnitude costs
    """

    alpha: float
    penalised: ClassVar[bool] = True

    def __post_init__(self) -> None:
        number("alpha", self.alpha)

    def __call__(self, x: Tensor, mu: float = 1.0, previous: Theta | None = None) -> Sparse:
        number("mu", mu, positive=True)
        values = vector(x)
        shrunk = np.abs(values) - self.alpha / mu
        index = np.flatnonzero(shrunk > 0)
        return _sparse(np.copysign(shrunk, values), index)

    def penalty(self, theta: Theta) -> float:
        return self.alpha * float(theta.decompress().double().abs().sum())


def largest(size: np.ndarray, count: int) -> np.ndarray:
    """Places of the `count` largest, ascending; among equals the first."""
    if count == 0:
        return np.zeros(0, np.int64)
    edge = np.partition(size, len(size) - count)[len(size) - count]
    above = np.flatnonzero(size > edge)
    ties = np.flatnonzero(size == edge)[: count - len(above)]
    return np.sort(np.concatenate((above, ties)))


def _sparse(values: np.ndarray, index: np.ndarray) -> Sparse:
    """Those of `values` that are at `index`."""
    return Sparse(values.shape, torch.from_numpy(index.astype(np.int64)), single(values[index]))


def _towards_zero(values: np.ndarray) -> np.ndarray:
    """Float32 numbers, as float64, not above `values` (≥ 0)."""
    near = values.astype(np.float32)
    near = np.where(near > values, np.nextafter(near, np.float32(0)), near)
    return near.astype(np.float64)

"""Quantization as a C step: each weight is one of a few levels, found with the weights or given.

Carreira-Perpiñán and Idelbayev, "Model compression as constrained optimization, with application
to neural nets. Part II: quantization" (arXiv:1707.04319). All are exact. A weight midway between
two levels takes the upper one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tinykit.compress.csteps._checks import CStepError, number, single, vector, whole
from tinykit.compress.csteps.base import CStep
from tinykit.compress.csteps.kmeans import optimal_levels
from tinykit.compress.csteps.pruning import largest
from tinykit.compress.csteps.theta import Coded, Theta

#: codes are int16 at most
MOST = 32768
#: exponents of float32's normal numbers
EXPONENTS = (-126, 127)


@dataclass(frozen=True)
class AdaptiveCodebook(CStep):
    """The K levels that are best for x (`kmeans.py`), and each weight at the nearest.

    Where x has fewer than K distinct values there are as many levels, and nothing is lost.

    Parameters
    ----------
    k : K ≥ 1
    """

    k: int

    def __post_init__(self) -> None:
        whole("k", self.k, 1)
        if self.k > MOST:
            raise CStepError(f"k is {self.k}; codes are of 16 bits, so it is at most {MOST}")

    def __call__(self, x: Tensor, mu: float = 1.0, previous: Theta | None = None) -> Coded:
        values = vector(x)
        found = optimal_levels(values, self.k)
        return _coded(found.codes(values), found.levels, "free")


@dataclass(frozen=True)
class Binary(CStep):
    """−1 or 1: the sign."""

    def __call__(self, x: Tensor, mu: float = 1.0, previous: Theta | None = None) -> Coded:
        return _nearest(x, np.array([-1.0, 1.0]), "binary")


@dataclass(frozen=True)
class Ternary(CStep):
    """−1, 0 or 1, whichever is nearest."""

    def __call__(self, x: Tensor, mu: float = 1.0, previous: Theta | None = None) -> Coded:
        return _nearest(x, np.array([-1.0, 0.0, 1.0]), "ternary")


@dataclass(frozen=True)
class ScaledBinary(CStep):
    """−c or c: the sign, and c = mean |x|."""

    def __call__(self, x: Tensor, mu: float = 1.0, previous: Theta | None = None) -> Coded:
        values = vector(x)
        scale = np.abs(values).mean()
        return _coded((values >= 0).astype(np.int64), np.array([-scale, scale]), "scaled-binary")


@dataclass(frozen=True)
class ScaledTernary(CStep):
    """−c, 0 or c.

    With k weights that are not zero the best are the k largest, with c their mean magnitude, which
    saves (Σ₁ᵏ |x|₍ᵢ₎)²/k of ‖x‖²; the best k is that of the largest saving.
    """

    def __call__(self, x: Tensor, mu: float = 1.0, previous: Theta | None = None) -> Coded:
        values = vector(x)
        size = np.abs(values)
        sums = np.cumsum(-np.sort(-size))
        count = int((sums / np.sqrt(np.arange(1, len(size) + 1))).argmax()) + 1
        chosen = largest(size, count)
        scale = size[chosen].mean()
        codes = np.ones(len(values), np.int64)
        codes[chosen] = np.where(values[chosen] >= 0, 2, 0)
        return _coded(codes, np.array([-scale, 0.0, scale]), "scaled-ternary")


@dataclass(frozen=True)
class FixedGrid(CStep):
    """The nearest of low, low + step, low + 2 step, …

    Parameters
    ----------
    low : the first level
    step : > 0, from each level to the next
    levels : ≥ 2, how many there are: 256 with 8 bits
    """

    low: float
    step: float
    levels: int

    def __post_init__(self) -> None:
        number("low", self.low, signed=True)
        number("step", self.step, positive=True)
        whole("levels", self.levels, 2)
        if self.levels > MOST:
            raise CStepError(
                f"levels is {self.levels}; codes are of 16 bits, so it is at most {MOST}"
            )
        with np.errstate(over="ignore"):
            grid = self._grid().astype(np.float32)
        if not np.isfinite(grid).all() or (np.diff(grid) <= 0).any():
            raise CStepError(
                f"step is {self.step!r} and low {self.low!r}: neighbours are one number in "
                f"float32, or beyond its range"
            )

    def _grid(self) -> np.ndarray:
        return self.low + self.step * np.arange(self.levels)

    def __call__(self, x: Tensor, mu: float = 1.0, previous: Theta | None = None) -> Coded:
        return _nearest(x, self._grid(), "grid")


@dataclass(frozen=True)
class PowersOfTwo(CStep):
    """The nearest of ± 2ᵉ, and of zero.

    Parameters
    ----------
    low_exponent, high_exponent : the least and the greatest e, within −126 … 127
    zero : whether zero is a level too
    """

    low_exponent: int
    high_exponent: int
    zero: bool = True

    def __post_init__(self) -> None:
        for name in ("low_exponent", "high_exponent"):
            whole(name, getattr(self, name), EXPONENTS[0])
            if getattr(self, name) > EXPONENTS[1]:
                raise CStepError(
                    f"{name} is {getattr(self, name)}; float32 has exponents up to {EXPONENTS[1]}"
                )
        if self.low_exponent > self.high_exponent:
            raise CStepError(
                f"low_exponent is {self.low_exponent}, above high_exponent, {self.high_exponent}"
            )

    def __call__(self, x: Tensor, mu: float = 1.0, previous: Theta | None = None) -> Coded:
        powers = 2.0 ** np.arange(self.low_exponent, self.high_exponent + 1)
        middle = [0.0] if self.zero else []
        return _nearest(x, np.concatenate((-powers[::-1], middle, powers)), "powers")


def _nearest(x: Tensor, levels: np.ndarray, kind: str) -> Coded:
    """Each of `x` at the nearest of ascending `levels`, as they are in float32."""
    values = vector(x)
    stored = levels.astype(np.float32).astype(np.float64)
    return _coded(
        np.searchsorted((stored[1:] + stored[:-1]) / 2, values, side="right"), stored, kind
    )


def _coded(codes: np.ndarray, levels: np.ndarray, kind: str) -> Coded:
    small = codes.astype(np.uint8 if len(levels) <= 256 else np.int16)
    return Coded(codes.shape, torch.from_numpy(small), single(levels), kind)

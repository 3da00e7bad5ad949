"""Observers: from the values a tensor took to the range that is worth representing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np

from tinykit.graph.errors import TinykitError

Range = tuple[float, float]


class Observer(ABC):
    """Sees values one array at a time, then says which range to represent.

    A new observer is a subclass with a name, ``class Mine(Observer, name="mine")``, that defines
    `see` and `range`; nothing else has to know of it.

    Parameters
    ----------
    levels : how many integers will represent the range
    symmetric : the range will be widened to be as long below 0 as above
    """

    registry: ClassVar[dict[str, type[Observer]]] = {}
    levels = 256
    symmetric = False

    def __init_subclass__(cls, name: str = "", **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        if name:
            Observer.registry[name] = cls

    def update(self, values: np.ndarray) -> None:
        """Take `values` in; NaN and infinity are errors."""
        values = np.asarray(values)
        if not np.isfinite(values).all():
            raise TinykitError(
                "an observer was given NaN or infinity: look for a division by 0 in the model, or "
                "for examples that hold them"
            )
        self.see(values)

    @abstractmethod
    def see(self, values: np.ndarray) -> None:
        """Take finite `values` in, of any shape, maybe none."""

    @abstractmethod
    def range(self) -> Range:
        """The range worth representing, of all that was seen."""


class MinMax(Observer, name="minmax"):
    """The smallest and largest value ever seen."""

    def __init__(self) -> None:
        self.low, self.high = np.inf, -np.inf

    def see(self, values: np.ndarray) -> None:
        self.low = min(self.low, float(values.min(initial=np.inf)))
        self.high = max(self.high, float(values.max(initial=-np.inf)))

    def range(self) -> Range:
        if self.low > self.high:
            raise TinykitError(
                "an observer has seen no values: calibrate with at least one example"
            )
        return self.low, self.high


class MovingAverage(MinMax, name="ema"):
    """Exponential moving average of each array's extremes (Jacob et al. 2018, arXiv:1712.05877).

    Parameters
    ----------
    momentum : weight of a new array, in (0, 1]
    """

    def __init__(self, momentum: float = 0.01) -> None:
        super().__init__()
        if not 0 < momentum <= 1:
            raise TinykitError(f"momentum is {momentum}; it has to lie in (0, 1]")
        self.momentum = momentum

    def see(self, values: np.ndarray) -> None:
        if not values.size:
            return
        low, high = float(values.min()), float(values.max())
        if self.low > self.high:
            self.low, self.high = low, high
        else:
            self.low += self.momentum * (low - self.low)
            self.high += self.momentum * (high - self.high)


class Histogram(MinMax):
    """Counts in equal bins; doubles its width (merging bins by twos) when values fall outside."""

    BINS = 2048

    def __init__(self) -> None:
        super().__init__()
        self.counts = np.zeros(self.BINS, np.int64)
        self.left, self.width = 0.0, 0.0

    def see(self, values: np.ndarray) -> None:
        if not values.size:
            return
        super().see(values)
        if not self.width:
            span = max(self.high - self.low, 1e-12)
            self.left, self.width = self.low, span / (self.BINS - 1)
        while self.low < self.left or self.high >= self.left + self.BINS * self.width:
            self._widen(to_the_left=self.low < self.left)
        at = ((np.asarray(values, np.float64).ravel() - self.left) / self.width).astype(np.int64)
        self.counts += np.bincount(np.clip(at, 0, self.BINS - 1), minlength=self.BINS)

    def _widen(self, to_the_left: bool) -> None:
        half = self.counts.reshape(-1, 2).sum(axis=1)
        self.counts = np.zeros_like(self.counts)
        if to_the_left:
            self.left -= self.BINS * self.width
            self.counts[self.BINS // 2 :] = half
        else:
            self.counts[: self.BINS // 2] = half
        self.width *= 2

    def centres(self) -> np.ndarray:
        return self.left + self.width * (np.arange(self.BINS) + 0.5)


class Percentile(Histogram, name="percentile"):
    """The range that leaves out a share of the values at each end.

    Parameters
    ----------
    share : percent of all values that may be clipped, both ends together
    """

    def __init__(self, share: float = 0.01) -> None:
        super().__init__()
        if not 0 <= share < 100:
            raise TinykitError(f"share is {share} %; it has to lie in [0, 100)")
        self.share = share

    def range(self) -> Range:
        low, high = super().range()
        below = np.cumsum(self.counts) / self.counts.sum()
        tail = self.share / 200
        first, last = np.searchsorted(below, [tail, 1 - tail])
        edges = self.left + self.width * np.array([first, last + 1])
        return max(low, float(edges[0])), min(high, float(edges[1]))


class _Search(Histogram):
    """The range of least cost among many: the extremes scaled down in 64 steps.

    Together and, where the range has two sides that may differ, one at a time. A bin's values are
    taken at its centre, so the cost is that of the histogram.
    """

    STEPS = 64

    def range(self) -> Range:
        low, high = super().range()
        low, high = min(low, 0.0), max(high, 0.0)
        if self.symmetric:
            low, high = -max(-low, high), max(-low, high)
        if high - low < 1e-12:
            return low, high
        x, weight = self.centres(), self.counts.astype(np.float64)
        keep = weight > 0
        x, weight = x[keep], weight[keep]
        best = (self.cost(x, weight, low, high), low, high)
        sides = ((True, True), (True, False), (False, True))
        for moves_low, moves_high in sides[: 1 if self.symmetric else 3]:
            for share in np.linspace(1, 0, self.STEPS, endpoint=False)[1:]:
                a = best[1] if not moves_low else low * share
                b = best[2] if not moves_high else high * share
                if b - a > 1e-12:
                    best = min(best, (self.cost(x, weight, a, b), a, b))
        return best[1], best[2]

    @abstractmethod
    def cost(self, x: np.ndarray, weight: np.ndarray, low: float, high: float) -> float:
        """What representing low..high costs values `x`, each there `weight` times."""

    def rounded(self, x: np.ndarray, low: float, high: float) -> np.ndarray:
        """The level, from 0, that each of `x` gets."""
        step = (high - low) / (self.levels - 1)
        return np.clip(np.round(x / step) + round(-low / step), 0, self.levels - 1)


class MeanSquaredError(_Search, name="mse"):
    """The range whose levels have the least squared error, clipping and rounding together."""

    def cost(self, x: np.ndarray, weight: np.ndarray, low: float, high: float) -> float:
        step = (high - low) / (self.levels - 1)
        real = (self.rounded(x, low, high) - round(-low / step)) * step
        return float((weight * (real - x) ** 2).sum())


class Entropy(_Search, name="kl"):
    """The range whose levels tell most of the distribution (as TensorRT calibrates, Migacz 2017).

    Compared are the histogram, what is clipped counted at the ends, and the same mass spread evenly
    over the bins that share a level: their Kullback-Leibler divergence.
    """

    def cost(self, x: np.ndarray, weight: np.ndarray, low: float, high: float) -> float:
        true = weight / weight.sum()
        inside = (x >= low) & (x <= high)
        if not inside.any():
            return np.inf
        clipped = np.where(inside, true, 0.0)
        first, last = np.flatnonzero(inside)[[0, -1]]
        p = clipped.copy()
        p[first] += true[x < low].sum()
        p[last] += true[x > high].sum()
        level = self.rounded(x, low, high).astype(np.int64)
        mass = np.bincount(level[inside], clipped[inside], self.levels)
        bins = np.bincount(level[inside], minlength=self.levels)
        q = mass[level[inside]] / bins[level[inside]] / clipped.sum()
        return float((p[inside] * np.log(p[inside] / q)).sum())


class LeastSquares(Observer, name="least-squares"):
    """Symmetric; the range with the least squared error of the very values, not of a histogram.

    Keeps all that it sees: for weights, and for channels with few numbers.
    """

    STEPS = 80

    def __init__(self) -> None:
        self.values: list[np.ndarray] = []

    def see(self, values: np.ndarray) -> None:
        self.values.append(values.astype(np.float64).ravel())

    def range(self) -> Range:
        x = np.concatenate(self.values or [np.zeros(0)])
        if not x.size:
            raise TinykitError("an observer has seen no values: calibrate with at least one")
        top = max((self.levels - 1) // 2, 1)
        widest = float(np.abs(x).max()) / top
        if widest == 0:
            return 0.0, 0.0
        step = widest * np.linspace(1, 0.2, self.STEPS)[:, None]
        error = ((np.clip(np.round(x / step), -top, top) * step - x) ** 2).sum(axis=1)
        best = float(step[error.argmin(), 0]) * top
        return -best, best


OBSERVERS = Observer.registry


def observer(name: str, levels: int = 256, symmetric: bool = False) -> Observer:
    """A fresh observer by name: minmax, ema, percentile, mse, kl, least-squares, or one's own.

    Parameters
    ----------
    levels : how many integers will represent the range; matters to mse, kl, least-squares
    symmetric : whether the range will be symmetric; matters to the same
    """
    if name not in OBSERVERS:
        raise TinykitError(f"no observer {name!r}; there are: {', '.join(OBSERVERS)}")
    made = OBSERVERS[name]()
    made.levels, made.symmetric = levels, symmetric
    return made


class PerRow:
    """One observer for each row of what it sees: a range per channel, or per group.

    Parameters
    ----------
    name, levels, symmetric : as `observer` takes them
    """

    def __init__(self, name: str, levels: int = 256, symmetric: bool = False) -> None:
        observer(name)  # an unknown name is told now
        self.like = name, levels, symmetric
        self.each: list[Observer] = []

    def update(self, rows: np.ndarray) -> None:
        """Take `rows` (scales, values) in; their number stays."""
        if not self.each:
            self.each = [observer(*self.like) for _ in rows]
        for one, row in zip(self.each, rows, strict=True):
            one.update(row)

    def range(self) -> tuple[np.ndarray, np.ndarray]:
        """Lows and highs, float64 (scales,)."""
        if not self.each:
            raise TinykitError("an observer has seen no values: run examples through the model")
        low, high = zip(*(one.range() for one in self.each), strict=True)
        return np.array(low, np.float64), np.array(high, np.float64)

"""Observers: from the values a tensor took to the range that is worth representing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from tinykit.graph.errors import TinykitError

Range = tuple[float, float]


class Observer(Protocol):
    """Sees values one array at a time, then says which range to represent."""

    def update(self, values: np.ndarray) -> None: ...

    def range(self) -> Range: ...


class MinMax:
    """The smallest and largest value ever seen."""

    def __init__(self) -> None:
        self.low, self.high = np.inf, -np.inf

    def update(self, values: np.ndarray) -> None:
        self.low = min(self.low, float(values.min(initial=np.inf)))
        self.high = max(self.high, float(values.max(initial=-np.inf)))

    def range(self) -> Range:
        if self.low > self.high:
            raise TinykitError(
                "an observer has seen no values: calibrate with at least one example"
            )
        return self.low, self.high


class MovingAverage(MinMax):
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

    def update(self, values: np.ndarray) -> None:
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

    def update(self, values: np.ndarray) -> None:
        if not values.size:
            return
        super().update(values)
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


class Percentile(Histogram):
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


class MeanSquaredError(Histogram):
    """The range whose 256 levels have the least squared error, clipping and rounding together.

    The extremes are scaled down in 64 steps, together and (where the range has two sides) one at a
    time; a bin's values are taken at its centre, so the error is that of the histogram.
    """

    LEVELS = 256
    STEPS = 64

    def range(self) -> Range:
        low, high = super().range()
        low, high = min(low, 0.0), max(high, 0.0)
        if high - low < 1e-12:
            return low, high
        x, weight = self.centres(), self.counts.astype(np.float64)
        keep = weight > 0
        x, weight = x[keep], weight[keep]
        best = (self._error(x, weight, low, high), low, high)
        for moves_low, moves_high in ((True, True), (True, False), (False, True)):
            for share in np.linspace(1, 0, self.STEPS, endpoint=False)[1:]:
                a = best[1] if not moves_low else low * share
                b = best[2] if not moves_high else high * share
                if b - a > 1e-12:
                    best = min(best, (self._error(x, weight, a, b), a, b))
        return best[1], best[2]

    def _error(self, x: np.ndarray, weight: np.ndarray, low: float, high: float) -> float:
        step = (high - low) / (self.LEVELS - 1)
        zero = round(-low / step)
        q = np.clip(np.round(x / step) + zero, 0, self.LEVELS - 1)
        return float((weight * ((q - zero) * step - x) ** 2).sum())


OBSERVERS: dict[str, Callable[[], Observer]] = {
    "minmax": MinMax,
    "ema": MovingAverage,
    "percentile": Percentile,
    "mse": MeanSquaredError,
}


def observer(name: str) -> Observer:
    """A fresh observer by name: minmax, ema, percentile or mse."""
    if name not in OBSERVERS:
        raise TinykitError(f"no observer {name!r}; there are: {', '.join(OBSERVERS)}")
    return OBSERVERS[name]()

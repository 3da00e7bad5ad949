"""Numbers on a line, with counts, and what it costs to cut them into clusters."""

from __future__ import annotations

import numpy as np


class Line:
    """Distinct numbers in ascending order, each with a count.

    Clusters are intervals between breaks, which are positions 0 … n. Means and costs are summed
    from a value inside the cluster, so that they are right to rounding wherever it lies.
    """

    def __init__(self, values: np.ndarray, counts: np.ndarray) -> None:
        self.values, self.counts, self.n = values, counts, len(values)
        self.weight = np.concatenate(([0.0], np.cumsum(counts)))  # whole numbers, so exact

    @classmethod
    def of(cls, values: np.ndarray) -> Line:
        points = np.sort(values)
        first = np.flatnonzero(np.concatenate(([True], points[1:] != points[:-1])))
        counts = np.diff(np.append(first, len(points))).astype(np.float64)
        return cls(points[first].astype(np.float64), counts)

    def means(self, breaks: np.ndarray) -> np.ndarray:
        """The mean of each cluster between `breaks`, which rise and have 0 and n at the ends."""
        anchor = np.repeat(self.values[breaks[:-1]], np.diff(breaks))
        sums = np.add.reduceat(self.counts * (self.values - anchor), breaks[:-1])
        return self.values[breaks[:-1]] + sums / np.diff(self.weight[breaks])

    def cost(self, breaks: np.ndarray) -> float:
        """The sum of squared distances to these means."""
        gaps = self.values - np.repeat(self.means(breaks), np.diff(breaks))
        return float((self.counts * gaps * gaps).sum())

    def lloyd(self, breaks: np.ndarray, turns: int = 100) -> np.ndarray:
        """Breaks midway between means, until they stay. Clusters that become empty go."""
        breaks = np.unique(breaks)
        middle = self.values[self.n // 2]
        sums = np.concatenate(([0.0], np.cumsum(self.counts * (self.values - middle))))
        for _ in range(turns):
            means = middle + np.diff(sums[breaks]) / np.diff(self.weight[breaks])
            moved = np.searchsorted(self.values, (means[1:] + means[:-1]) / 2)
            moved = np.unique(np.concatenate(([0], moved, [self.n])))
            if np.array_equal(moved, breaks):
                break
            breaks = moved
        return breaks

    def cells(self, count: int) -> np.ndarray:
        """Where about `count` cells begin, and n: every so many positions' worth of levels.

        Levels of an optimum lie as dense as the cube root of the numbers' density f (Panter and
        Dite, 1951); ∫ f^⅓ dx, over runs of a few numbers, is what each cell has as much of.
        """
        run = 16
        ends = np.append(np.arange(0, self.n - 1, run), self.n - 1)
        share = np.diff(self.weight[ends]) ** (1 / 3) * np.diff(self.values[ends]) ** (2 / 3)
        total = np.concatenate(([0.0], np.cumsum(share)))
        where = np.interp(np.linspace(0, total[-1], count + 1), total, ends)
        return np.unique(np.concatenate(([0], where[1:-1].astype(np.int64), [self.n])))

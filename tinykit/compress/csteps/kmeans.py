"""The best K levels for numbers on a line: exact, in numpy, by dynamic programming that prunes.

Clusters of sorted numbers are intervals, so a solution is K − 1 breaks, and the least cost of the
first j numbers in k clusters is  D_k(j) = min_i D_{k−1}(i) + cost(i, j).  Costs are Monge, so the
best i rises with j, and divide and conquer finds a layer in N log N (Grønlund et al., "Fast exact
k-means, k-medians and Bregman divergence clustering in 1D", arXiv:1701.07204). Two things make it
fast without compiled code, and it stays exact:

- one level of the divide and conquer at a time, over all its midpoints at once;
- most breaks are ruled out before. Breaks are first looked for in cells of many positions. What
  lies between the cells of two breaks costs at least as much as the numbers between these cells,
  which the same recurrence bounds from below, from both ends; Lloyd's algorithm bounds the
  optimum from above. Cells that cannot be in an optimum go, the others are cut finer, and with
  one position a cell the bound is the optimum.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinykit.compress.csteps._breaks import best_breaks
from tinykit.compress.csteps._line import Line

#: up to so many distinct numbers, every interval's cost is tabulated
TABLE = 256


@dataclass(frozen=True)
class Levels:
    """The best levels.

    Parameters
    ----------
    levels : float64 (K,), ascending; fewer than asked for where there are fewer distinct values
    uppers : float64 (K − 1,), the least value of each cluster but the first
    cost : the least sum of squared distances
    """

    levels: np.ndarray
    uppers: np.ndarray
    cost: float

    def codes(self, values: np.ndarray) -> np.ndarray:
        """int64, which level each of `values` belongs to; same shape."""
        return np.searchsorted(self.uppers, values, side="right")


def optimal_levels(values: np.ndarray, k: int) -> Levels:
    """The `k` levels with the least Σ (v − nearest level)².

    Parameters
    ----------
    values : (n,), finite, n > 0
    k : > 0

    Notes
    -----
    Time grows as k n log n at most; where breaks can be ruled out (see above), it is near that of
    sorting. Costs are computed from sums over numbers near each level, so that neither an offset
    nor narrow clusters far apart cancel.
    """
    line = Line.of(values)
    if line.n <= k:
        breaks = np.arange(line.n + 1)
    elif k == 1:
        breaks = np.array([0, line.n])
    else:
        breaks = _tabulated(line, k) if line.n <= TABLE else best_breaks(line, k)
    return Levels(line.means(breaks), line.values[breaks[1:-1]], line.cost(breaks))


def _tabulated(line: Line, k: int) -> np.ndarray:
    """Breaks from a table of all costs, each a sum of positive terms, so nothing cancels."""
    n = line.n
    table = np.full((n + 1, n + 1), np.inf)  # of numbers i … j − 1
    weight, mean, cost = np.zeros(n), np.zeros(n), np.zeros(n)
    for j in range(n):  # Welford's update of all intervals that end here, West (1979)
        open_ = slice(0, j + 1)
        mean[j] = line.values[j]
        total = weight[open_] + line.counts[j]
        gap = line.values[j] - mean[open_]
        cost[open_] += line.counts[j] * weight[open_] / total * gap * gap
        mean[open_] += gap * (line.counts[j] / total)
        weight[open_] = total
        table[open_, j + 1] = cost[open_]
    best = table[0]
    origins = []
    for _ in range(k - 1):
        sums = best[:, None] + table
        origin = sums.argmin(axis=0)
        best = sums[origin, np.arange(n + 1)]
        origins.append(origin)
    breaks = [n]
    for origin in reversed(origins):
        breaks.append(int(origin[breaks[-1]]))
    return np.array([0, *reversed(breaks)])

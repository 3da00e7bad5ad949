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

#: up to so many distinct numbers, every interval's cost is tabulated
TABLE = 256
#: cells of the coarsest cut, at least; and how many times finer each next one is
CELLS, FINER = 3000, 8
#: bound of the rounding of a difference of prefix sums, as a share of the whole sum
ROUNDING = 2e-13
#: as above, what it is typically, and the share of the cost that it may spoil at the end
TYPICAL, SPOILED = 1e-15, 1e-13


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
    points = np.sort(values)
    first = np.flatnonzero(np.concatenate(([True], points[1:] != points[:-1])))
    counts = np.diff(np.append(first, len(points))).astype(np.float64)
    line = _Line(points[first].astype(np.float64), counts)
    if line.n <= k:
        return line.levels(np.arange(line.n + 1))
    if k == 1:
        return line.levels(np.array([0, line.n]))
    breaks = _tabulated(line, k) if line.n <= TABLE else _pruned(line, k)
    return line.levels(breaks)


class _Line:
    """Distinct numbers in ascending order, each with a count; breaks are positions 0 … n."""

    def __init__(self, values: np.ndarray, counts: np.ndarray) -> None:
        self.values, self.counts, self.n = values, counts, len(values)
        self.weight = np.concatenate(([0.0], np.cumsum(counts)))  # whole numbers, so exact

    def means(self, breaks: np.ndarray) -> np.ndarray:
        """The mean of each cluster, to rounding: summed from the cluster's own first value."""
        anchor = np.repeat(self.values[breaks[:-1]], np.diff(breaks))
        sums = np.add.reduceat(self.counts * (self.values - anchor), breaks[:-1])
        return self.values[breaks[:-1]] + sums / np.diff(self.weight[breaks])

    def cost(self, breaks: np.ndarray) -> float:
        gaps = self.values - np.repeat(self.means(breaks), np.diff(breaks))
        return float((self.counts * gaps * gaps).sum())

    def levels(self, breaks: np.ndarray) -> Levels:
        return Levels(self.means(breaks), self.values[breaks[1:-1]], self.cost(breaks))


# --- few numbers -------------------------------------------------------------------------------


def _tabulated(line: _Line, k: int) -> np.ndarray:
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


# --- many numbers ------------------------------------------------------------------------------


@dataclass
class _Side:
    """Sums up to some positions: of counts, values and squares, values less an anchor."""

    weight: np.ndarray
    sums: np.ndarray
    squares: np.ndarray

    def __getitem__(self, where: slice | np.ndarray) -> _Side:
        return _Side(self.weight[where], self.sums[where], self.squares[where])

    def mirrored(self) -> _Side:
        """Seen from the other end: only differences are ever used, so signs are all."""
        return _Side(-self.weight[::-1], -self.sums[::-1], -self.squares[::-1])


def _between(left: _Side, right: _Side) -> np.ndarray:
    """The cost of what lies between, by pairs; never negative."""
    sums = right.sums - left.sums
    weight = np.maximum(right.weight - left.weight, 1.0)
    return np.maximum(right.squares - left.squares - sums * sums / weight, 0.0)


def _prefix(terms: np.ndarray) -> np.ndarray:
    """0, then running sums, in blocks so that rounding grows with √n additions, not n."""
    width = 512
    rows = -(-len(terms) // width)
    padded = np.zeros(rows * width)
    padded[: len(terms)] = terms
    inner = np.cumsum(padded.reshape(rows, width), axis=1)
    inner[1:] += np.cumsum(inner[:-1, -1])[:, None]
    return np.concatenate(([0.0], inner.ravel()[: len(terms)]))


def _pruned(line: _Line, k: int) -> np.ndarray:
    size = 1
    while line.n // size > CELLS * FINER // 2:
        size *= FINER
    best = _lloyd(line, np.linspace(0, line.n, k + 1).astype(np.int64), turns=20)
    bound = line.cost(best)
    low, high = np.arange(1, k), line.n - k + np.arange(1, k)  # where each break can be, inclusive
    coarse = True
    while True:
        level = _Level(line, low, high, size, None if coarse else line.means(best))
        values, path = level.forward()
        tried = _lloyd(line, path)
        if len(tried) == k + 1 and (cost := line.cost(tried)) <= bound:
            best, bound = tried, cost
        if size == 1 and TYPICAL * level.scale <= SPOILED * bound:
            break
        slack = bound * 1e-12 + ROUNDING * level.scale
        new_low, new_high = level.prune(values, bound + slack, best)
        if size == 1 and not coarse and (new_high - new_low).sum() * 2 > (high - low).sum():
            break
        low, high = new_low, new_high
        size, coarse = max(1, size // FINER), False
    if size == 1 and len(path) == k + 1 and line.cost(path) < bound:
        return path
    return best


def _lloyd(line: _Line, breaks: np.ndarray, turns: int = 100) -> np.ndarray:
    """Breaks midway between means until they stay; empty clusters go."""
    breaks = np.unique(breaks)
    start = line.values[line.n // 2]
    sums = np.concatenate(([0.0], np.cumsum(line.counts * (line.values - start))))
    for _ in range(turns):
        means = start + np.diff(sums[breaks]) / np.diff(line.weight[breaks])
        moved = np.searchsorted(line.values, (means[1:] + means[:-1]) / 2)
        moved = np.unique(np.concatenate(([0], moved, [line.n])))
        if np.array_equal(moved, breaks):
            break
        breaks = moved
    return breaks


class _Level:
    """The recurrence over cells of `size` positions; break b (of k − 1) is in low[b] … high[b].

    `anchors` are what each cluster's values are taken less of, in its sums; None: the mean of all.
    `scale` is the sum of squares that these differences are taken of, for their rounding.
    """

    def __init__(
        self,
        line: _Line,
        low: np.ndarray,
        high: np.ndarray,
        size: int,
        anchors: np.ndarray | None,
    ) -> None:
        self.size, self.k, self.n = size, len(low) + 1, line.n
        self.low, self.high = low // size, high // size  # cells, inclusive
        self.scale = 0.0
        #: of cluster c: sums at its left break's last positions, at its right break's first ones
        self.left: list[_Side] = []
        self.right: list[_Side] = []
        whole: _Side | None = None
        for c in range(self.k):
            begin = 0 if c == 0 else int(self.low[c - 1]) * size
            end = line.n if c == self.k - 1 else int(self.high[c]) * size
            if anchors is None:
                begin, end = 0, line.n
                whole = whole or _sums(line, 0, line.n, line.means(np.array([0, line.n]))[0])
                side = whole
            else:
                side = _sums(line, begin, max(begin, end), anchors[c])
            self.scale += float(side.squares[-1])
            last = np.zeros(1, np.int64) if c == 0 else self._cells(c - 1) * size + size - 1
            first = np.full(1, line.n, np.int64) if c == self.k - 1 else self._cells(c) * size
            # a cell may reach past the last position that the cluster can begin at
            self.left.append(side[np.minimum(last - begin, len(side.weight) - 1)])
            self.right.append(side[np.maximum(first - begin, 0)])

    def _cells(self, b: int) -> np.ndarray:
        return np.arange(self.low[b], self.high[b] + 1)

    def forward(self) -> tuple[list[np.ndarray], np.ndarray]:
        """The least cost up to each cell of each break; the best breaks, 0 and n among them."""
        values = [_between(self.left[0], self.right[0])]
        origins = []
        for c in range(1, self.k - 1):
            found, origin = _layer(
                values[-1], self.left[c], self.right[c], self.low[c - 1], self.low[c], self.size > 1
            )
            values.append(found)
            origins.append(origin)
        last = values[-1] + _between(self.left[-1], self.right[-1])
        cells = [int(self.low[-1] + last.argmin())]
        for c in range(self.k - 2, 0, -1):
            cells.append(int(origins[c - 1][cells[-1] - self.low[c]]))
        return values, np.array([0, *(cell * self.size for cell in reversed(cells)), self.n])

    def backward(self) -> list[np.ndarray]:
        """The least cost from each cell of each break to the end."""
        values = [_between(self.left[-1], self.right[-1])]
        for c in range(self.k - 2, 0, -1):
            found, _ = _layer(
                values[-1][::-1],
                self.right[c].mirrored(),
                self.left[c].mirrored(),
                -self.high[c],
                -self.high[c - 1],
                self.size > 1,
            )
            values.append(found[::-1])
        return values[::-1]

    def prune(
        self, forward: list[np.ndarray], bound: float, best: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """First and last position of each break in solutions that can cost `bound` or less."""
        low, high = np.empty(self.k - 1, np.int64), np.empty(self.k - 1, np.int64)
        for b, (before, after) in enumerate(zip(forward, self.backward(), strict=True)):
            cells = self.low[b] + np.flatnonzero(before + after <= bound)
            ends = [cells[0], cells[-1]] if len(cells) else []
            if len(best) == self.k + 1:
                ends.append(best[b + 1] // self.size)
            low[b] = min(ends, default=self.low[b]) * self.size
            high[b] = max(ends, default=self.high[b]) * self.size + self.size - 1
        count = np.arange(1, self.k)
        low = np.maximum.accumulate(np.maximum(low, count) - count) + count
        high = np.minimum(high, self.n - self.k + count)
        return low, np.minimum.accumulate((high - count)[::-1])[::-1] + count


def _sums(line: _Line, begin: int, end: int, anchor: float) -> _Side:
    terms = line.values[begin:end] - anchor
    weighted = line.counts[begin:end] * terms
    return _Side(line.weight[begin : end + 1], _prefix(weighted), _prefix(weighted * terms))


def _layer(
    before: np.ndarray, left: _Side, right: _Side, from_: int, to: int, stay: bool
) -> tuple[np.ndarray, np.ndarray]:
    """min over cells a < b of before[a] + cost(a, b), for each b; and the best a.

    Parameters
    ----------
    before, left : by cells from_, from_ + 1, …
    right : by cells to, to + 1, …; to ≥ from_
    stay : whether a = b is allowed, at no cost

    Returns
    -------
    values, cells a
    """
    rows = len(right.weight)
    values, origins = np.full(rows, np.inf), np.full(rows, from_)
    skip = max(0, from_ + 1 - to)  # the first cell has none before it
    gain = before - left.squares
    limit = len(before) - 1
    best = np.empty(rows + 1, np.int64)  # columns; the last place is for "none before"
    stride = 1
    while stride * 2 <= rows - skip:
        stride *= 2
    while stride and rows > skip:
        row = np.arange(skip + stride - 1, rows, 2 * stride)
        low = np.zeros(len(row), np.int64)
        inner = row - stride >= skip
        low[inner] = best[row[inner] - stride]
        high = np.minimum(limit, row + (to - from_ - 1))
        inner = row + stride < rows
        np.minimum.at(high, np.flatnonzero(inner), best[row[inner] + stride])
        length = high - low + 1
        start = np.cumsum(length) - length
        column = np.arange(length.sum()) + np.repeat(low - start, length)
        sums = np.repeat(right.sums[row], length) - left.sums[column]
        weight = np.repeat(right.weight[row], length) - left.weight[column]
        cost = gain[column] - sums * sums / weight
        least = np.minimum.reduceat(cost, start)
        hits = np.flatnonzero(cost == np.repeat(least, length))
        chosen = column[hits[np.searchsorted(hits, start)]]
        best[row], origins[row] = chosen, chosen + from_
        values[row] = least + right.squares[row]
        stride //= 2
    np.maximum(values, before[origins - from_], out=values)
    if stay:
        cells = np.arange(max(to, from_), min(to + rows, from_ + len(before)))
        here, there = cells - to, cells - from_
        better = before[there] < values[here]
        values[here[better]] = before[there[better]]
        origins[here[better]] = cells[better]
    return values, origins

"""The best breaks of many numbers: the recurrence over cells of positions, cut ever finer.

One `Level` bounds what solutions cost from below, with each break known to lie in some window of
cells; with one position a cell the bound is the optimum itself. `best_breaks` goes from coarse to
fine, and drops at each level the cells that no optimum can have a break in.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from tinykit.compress.csteps._line import Line

#: cells of the coarsest level, and how many times more each next one has
CELLS, FINER = 3000, 8
#: bound of the rounding of a cost, as a share of the sums of squares that it is a difference of;
#: and the share of the optimum that it may amount to
ROUNDING, SPOILED = 4e-15, 1e-13


def best_breaks(line: Line, k: int) -> np.ndarray:
    """The breaks, 0 and n among them, of `k` clusters of the least cost; 1 < k < n."""
    count = np.arange(1, k)
    low, high = count.copy(), line.n - k + count  # where each break can be, inclusive
    best = line.lloyd(np.linspace(0, line.n, k + 1).astype(np.int64), turns=20)
    bound = line.cost(best)
    cells = CELLS
    anchors: np.ndarray | None = None  # all cells see all numbers at first
    while True:
        last = cells * FINER // 2 > line.n
        starts = np.arange(line.n + 1) if last else line.cells(cells)
        level = Level(line, low, high, starts, anchors, bound if last else np.inf)
        values, path = level.forward()
        for tried in (line.lloyd(path), path) if last else (line.lloyd(path),):
            if len(np.unique(tried)) == k + 1 and (cost := line.cost(tried)) <= bound:
                best, bound = tried, cost
        if last and ROUNDING * level.scale <= SPOILED * bound:
            return best
        limit = bound + 1e-12 * bound + ROUNDING * level.scale
        low, high, before = *level.prune(values, limit, best), (high - low).sum()
        if last and anchors is not None and 2 * (high - low).sum() > before:
            return best  # as narrow as it gets
        cells *= FINER
        anchors = line.means(best) if len(best) == k + 1 else None


@dataclass
class _Side:
    """Sums up to some positions, of counts, values and squares, from where the segment begins."""

    segment: np.ndarray
    weight: np.ndarray
    sums: np.ndarray
    squares: np.ndarray

    def mirrored(self) -> _Side:
        """Seen from the other end: only differences are ever used, so signs are all."""
        return _Side(-self.segment[::-1], -self.weight[::-1], -self.sums[::-1], -self.squares[::-1])


def _between(left: _Side, right: _Side) -> np.ndarray:
    """The cost of what lies between, by pairs; infinite across segments."""
    sums = right.sums - left.sums
    weight = np.maximum(right.weight - left.weight, 1.0)
    cost = np.maximum(right.squares - left.squares - sums * sums / weight, 0.0)
    return np.where(right.segment == left.segment, cost, np.inf)


def _running(terms: np.ndarray) -> np.ndarray:
    """0, then running sums, each right to its own rounding (Knuth's two-sum, one second pass)."""
    total = np.concatenate(([0.0], np.cumsum(terms)))
    before, after = total[:-1], total[1:]
    part = after - before
    total[1:] += np.cumsum((before - (after - part)) + (terms - part))
    return total


class Level:
    """The recurrence over cells; break b (of k − 1) lies in positions low[b] … high[b].

    Parameters
    ----------
    starts : where cells begin, and n at the end, or 0 … n for one position a cell
    anchors : what each cluster's values are taken less of in its sums, so that they do not
        cancel; None: the mean of all
    bound : of what the best solution costs. A gap between neighbours that costs more cannot be
        inside a cluster: it parts two segments, each with sums of its own
    """

    def __init__(
        self,
        line: Line,
        low: np.ndarray,
        high: np.ndarray,
        starts: np.ndarray,
        anchors: np.ndarray | None,
        bound: float,
    ) -> None:
        self.line, self.k, self.n = line, len(low) + 1, line.n
        self.starts, self.exact = starts, len(starts) > line.n
        self.low = np.searchsorted(starts, low, side="right") - 1  # cells, inclusive
        self.high = np.searchsorted(starts, high, side="right") - 1
        gap, pair = np.diff(line.values), line.counts[1:] * line.counts[:-1]
        apart = gap * gap * pair / (line.counts[1:] + line.counts[:-1]) > bound * (1 + 1e-9)
        self.edges = np.concatenate(([0], np.flatnonzero(apart) + 1, [line.n]))  # of segments
        #: sums of squares that costs are differences of, for their rounding
        self.scale = 0.0
        #: of cluster c: sums at its left break's last positions, at its right break's first ones
        self.left: list[_Side] = []
        self.right: list[_Side] = []
        whole = self._sums(0, line.n, None) if anchors is None else None
        for c in range(self.k):
            firsts, lasts = np.zeros(1, np.int64), np.full(1, line.n)
            if c:
                firsts = self._last(np.arange(self.low[c - 1], self.high[c - 1] + 1))
            if c < self.k - 1:
                lasts = starts[self.low[c] : self.high[c] + 1]
            begin = int(firsts[0])
            if whole is None:
                assert anchors is not None
                sums = self._sums(begin, max(int(lasts[-1]), begin), anchors[c])
            else:
                begin, sums = 0, whole
            self.scale += sums[2]
            # a cell may end after the last position, or begin before the first one, that counts
            places = len(sums[0].weight) - 1
            for sides, side, at in (
                (self.left, sums[0], np.minimum(firsts - begin, places)),
                (self.right, sums[1], np.maximum(lasts - begin, 0)),
            ):
                sides.append(
                    _Side(side.segment[at], side.weight[at], side.sums[at], side.squares[at])
                )

    def _last(self, cells: np.ndarray) -> np.ndarray:
        return cells if self.exact else self.starts[cells + 1] - 1

    def _sums(self, begin: int, end: int, anchor: float | None) -> tuple[_Side, _Side, float]:
        """Of numbers begin … end − 1: for breaks to their left and to their right; the scale."""
        line = self.line
        first = int(np.searchsorted(self.edges, begin, side="right")) - 1
        cuts = [begin, *(int(e) for e in self.edges[first + 1 :] if e < end), end]
        starts_at = np.zeros((3, end - begin + 1))
        ends_at = np.zeros((3, end - begin + 1))
        segments = np.full((2, end - begin + 1), first)
        scale = 0.0
        for s, (a, b) in enumerate(pairwise(cuts)):
            values, counts = line.values[a:b], line.counts[a:b]
            if anchor is None or (len(cuts) > 2 and not values[0] <= anchor <= values[-1]):
                near = values[0] + float((counts * (values - values[0])).sum() / counts.sum())
            else:
                near = anchor
            terms = values - near
            weighted = counts * terms
            table = np.stack(
                (line.weight[a : b + 1], _running(weighted), _running(weighted * terms))
            )
            inside = slice(a - begin, b - begin)
            starts_at[:, inside] = table[:, :-1]
            ends_at[:, a - begin + 1 : b - begin + 1] = table[:, 1:]
            segments[0, inside] = segments[1, a - begin + 1 : b - begin + 1] = first + s
            scale = max(scale, float(table[2, -1]))
        # past the end nothing begins, before the start nothing ends: an interval of no numbers
        starts_at[:, -1], segments[0, -1] = ends_at[:, -1], segments[1, -1]
        ends_at[:, 0], segments[1, 0] = starts_at[:, 0], segments[0, 0]
        return _Side(segments[0], *starts_at), _Side(segments[1], *ends_at), scale

    def forward(self) -> tuple[list[np.ndarray], np.ndarray]:
        """The least cost up to each cell of each break; the best breaks, 0 and n among them."""
        values = [_between(self.left[0], self.right[0])]
        origins = []
        for c in range(1, self.k - 1):
            found, origin = _layer(
                values[-1], self.left[c], self.right[c], self.low[c - 1], self.low[c], self.exact
            )
            values.append(found)
            origins.append(origin)
        last = values[-1] + _between(self.left[-1], self.right[-1])
        cells = [int(self.low[-1] + last.argmin())]
        for c in range(self.k - 2, 0, -1):
            cells.append(int(origins[c - 1][cells[-1] - self.low[c]]))
        return values, np.array([0, *(int(self.starts[c]) for c in reversed(cells)), self.n])

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
                self.exact,
            )
            values.append(found[::-1])
        return values[::-1]

    def prune(
        self, forward: list[np.ndarray], limit: float, best: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """First and last position of each break in solutions that can cost `limit` or less."""
        low, high = np.empty(self.k - 1, np.int64), np.empty(self.k - 1, np.int64)
        for b, (before, after) in enumerate(zip(forward, self.backward(), strict=True)):
            cells = self.low[b] + np.flatnonzero(before + after <= limit)
            if not len(cells):  # rounding only: the optimum is within the limit
                cells = np.arange(self.low[b], self.high[b] + 1)
            low[b], high[b] = self.starts[cells[0]], self._last(cells[-1:])[0]
            if len(best) == self.k + 1:
                low[b], high[b] = min(low[b], best[b + 1]), max(high[b], best[b + 1])
        count = np.arange(1, self.k)  # breaks differ, so there is a number between any two
        low = np.maximum.accumulate(np.maximum(low, count) - count) + count
        high = np.minimum(high, self.n - self.k + count)
        return low, np.minimum.accumulate((high - count)[::-1])[::-1] + count


def _layer(
    before: np.ndarray, left: _Side, right: _Side, from_: int, to: int, exact: bool
) -> tuple[np.ndarray, np.ndarray]:
    """min over cells a < b of before[a] + cost(a, b), for each b; and the best a.

    The best a rises with b, so that the one of a b in the middle bounds those of the b's to
    either side: one turn of the loop does all the middles that the last one has left.

    Parameters
    ----------
    before, left : by cells from_, from_ + 1, …
    right : by cells to, to + 1, …; to ≥ from_
    exact : one position a cell; else two breaks may share one, at no cost

    Returns
    -------
    values, cells a
    """
    rows = len(right.weight)
    values, origins = np.full(rows, np.inf), np.full(rows, from_)
    skip = max(0, from_ + 1 - to)  # the first cell has none before it
    # each segment's columns; rows of segments that begin after the last column have none
    begin = np.searchsorted(left.segment, right.segment)
    stop = int(np.searchsorted(begin, len(before)))
    gain = before - left.squares
    limit = len(before) - 1
    best = np.empty(rows, np.int64)  # columns
    stride = 1
    while stride * 2 <= stop - skip:
        stride *= 2
    while stride and stop > skip:
        row = np.arange(skip + stride - 1, stop, 2 * stride)
        low = begin[row]
        inner = row - stride >= skip
        low[inner] = np.maximum(low[inner], best[row[inner] - stride])
        high = np.minimum(limit, row + (to - from_ - 1))
        inner = row + stride < stop
        high[inner] = np.minimum(high[inner], best[row[inner] + stride])
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
        values[row] = np.maximum(least + right.squares[row], before[chosen])
        stride //= 2
    if not exact:
        cells = np.arange(max(to, from_), min(to + rows, from_ + len(before)))
        here, there = cells - to, cells - from_
        better = before[there] < values[here]
        values[here[better]] = before[there[better]]
        origins[here[better]] = cells[better]
    return values, origins

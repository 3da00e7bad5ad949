"""A tensor's format, and the levels that follow from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

#: ranges that are tried for the least squared error, from the whole down
_SHARES = 64


@dataclass(frozen=True)
class Format:
    """How one tensor is quantized.

    Parameters
    ----------
    bits : 2 to 8
    scales : how many: one for the tensor, one a channel, one for `group` inputs of a channel.
        Activations have one.
    symmetric : zero point 0, and the most negative integer left out; else the range lies anywhere
        around 0, with one integer more
    observer : how the range is found: minmax, ema, percentile (1 % of the values clipped), mse; or
        "hand": `share` of what min-max finds
    share : in (0, 1]
    group : of scales="group"
    """

    bits: int = 8
    scales: Literal["tensor", "channel", "group"] = "channel"
    symmetric: bool = True
    observer: str = "minmax"
    share: float = 1.0
    group: int = 8


@dataclass(frozen=True)
class Levels:
    """The levels of a tensor, (low - zero) · scale .. (high - zero) · scale.

    Attributes
    ----------
    scale, zero : one for each row of values that shares them: (rows,)
    low, high : the integers
    per : values that share a scale: "tensor", "channel" or "group"; may be coarser than asked for
    """

    scale: np.ndarray
    zero: np.ndarray
    low: int
    high: int
    per: str

    @property
    def ends(self) -> tuple[np.ndarray, np.ndarray]:
        """The outermost levels of each row, in real numbers: (rows,) each."""
        return (self.low - self.zero) * self.scale, (self.high - self.zero) * self.scale

    def of(self, row: int) -> np.ndarray:
        """All levels of one row, ascending."""
        return (np.arange(self.low, self.high + 1) - self.zero[row]) * self.scale[row]


def least_squares_ranges(
    rows: np.ndarray, count: int, symmetric: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Of each row the range whose `count` levels have the least squared error: (rows,) each.

    The choices are those of the observers mse and least-squares, all rows at once: the extremes
    scaled down together and, where they may differ, one at a time.
    """
    x = rows.astype(np.float64)
    low, high = np.minimum(x.min(1), 0), np.maximum(x.max(1), 0)
    if symmetric:
        high = np.maximum(-low, high)
        low = -high
    # a row of zeros: any range will do
    high = np.where(high - low < 1e-12, 1.0, high)
    best = low.copy(), high.copy(), np.full(len(x), np.inf)
    for moves_low, moves_high in ((1, 1), (1, 0), (0, 1))[: 1 if symmetric else 3]:
        start = best[0].copy(), best[1].copy()
        for share in np.linspace(1, 0, _SHARES, endpoint=False):
            a = low * share if moves_low else start[0]
            b = high * share if moves_high else start[1]
            step = np.maximum(b - a, 1e-12) / (count - 1)
            zero = np.round(-a / step)
            inverse, zero_ = (1 / step)[:, None], zero[:, None]
            level = np.clip(np.round(x * inverse) + zero_, 0, count - 1) - zero_
            error = ((level * step[:, None] - x) ** 2).sum(1)
            better = error < best[2]
            best = tuple(np.where(better, n, o) for n, o in zip((a, b, error), best, strict=True))  # type: ignore[assignment]
    return best[0], best[1]

"""Low rank as a C step: a matrix as a product of two thin ones, of a rank given or chosen.

Idelbayev and Carreira-Perpiñán, "Low-rank compression of neural nets: learning the rank of each
layer" (CVPR 2020). Both are exact, by Eckart and Young: no matrix of rank r is nearer than the
first r terms of the singular value decomposition, and it misses Σ_{i>r} s².
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from torch import Tensor

from tinykit.compress.csteps._checks import CStepError, matrix, number, single, whole
from tinykit.compress.csteps.base import CStep, View
from tinykit.compress.csteps.theta import Dense, Factors, Theta


@dataclass(frozen=True)
class LowRank(CStep):
    """The nearest matrix of rank `rank`.

    Parameters
    ----------
    rank : 0 (a zero matrix) to min(rows, columns) (the matrix itself, to rounding)
    """

    rank: int
    view: ClassVar[View] = "matrix"

    def __post_init__(self) -> None:
        whole("rank", self.rank, 0)

    def __call__(self, x: Tensor, mu: float = 1.0, previous: Theta | None = None) -> Factors:
        values = matrix(x)
        if self.rank > min(values.shape):
            raise CStepError(
                f"rank is {self.rank}, but a matrix of {values.shape[0]} x {values.shape[1]} has "
                f"at most rank {min(values.shape)}"
            )
        return _factors(np.linalg.svd(values, full_matrices=False), self.rank)


@dataclass(frozen=True)
class RankSelection(CStep):
    """The rank too: argmin_r α · cost(r) + μ/2 ‖x − Δ_r‖², the smallest rank among equals.

    cost(r) = r (rows + columns) while factors are smaller than the matrix. Where they are not,
    the matrix itself costs less, rows · columns, and loses nothing, so it takes the place of all
    these ranks and the result is `Dense`: either factors save something, or nothing is lost.

    Parameters
    ----------
    alpha : α ≥ 0, what a unit of cost is worth
    cost : "parameters" counts numbers stored, "macs" multiplications for one input
    positions : how often the matrix is multiplied with for one input ("macs" only): 1 in a fully
        connected layer, the number of output pixels in a convolution
    max_rank : ranks above are not considered, nor is the matrix itself if factors of `max_rank`
        are smaller; None: no limit
    """

    alpha: float
    cost: Literal["parameters", "macs"] = "parameters"
    positions: int = 1
    max_rank: int | None = None
    view: ClassVar[View] = "matrix"
    penalised: ClassVar[bool] = True

    def __post_init__(self) -> None:
        number("alpha", self.alpha)
        if self.cost not in ("parameters", "macs"):
            raise CStepError(f"cost is {self.cost!r}; it must be 'parameters' or 'macs'")
        whole("positions", self.positions, 1)
        if self.max_rank is not None:
            whole("max_rank", self.max_rank, 0)

    def cost_of(self, rank: int, rows: int, columns: int) -> int:
        """cost(rank), in numbers or multiplications: that of factors, or of the matrix if less."""
        least = min(rank * (rows + columns), rows * columns)
        return least * (self.positions if self.cost == "macs" else 1)

    def __call__(
        self, x: Tensor, mu: float = 1.0, previous: Theta | None = None
    ) -> Factors | Dense:
        number("mu", mu, positive=True)
        values = matrix(x)
        rows, columns = values.shape
        smaller = -(-rows * columns // (rows + columns))  # this many ranks, from 0, save something
        last = smaller if self.max_rank is None else min(smaller, self.max_rank)
        svd = np.linalg.svd(values, full_matrices=False)
        missed = np.append(np.cumsum(svd[1][::-1] ** 2)[::-1], 0.0)[: last + 1]
        if last == smaller:
            missed[last] = 0.0
        price = np.array([self.cost_of(r, rows, columns) for r in range(last + 1)], np.float64)
        best = int((self.alpha * price + mu / 2 * missed).argmin())
        if best == smaller:
            return Dense((rows, columns), single(values))
        return _factors(svd, best)

    def penalty(self, theta: Theta) -> float:
        rows, columns = theta.shape
        if isinstance(theta, Factors):
            return self.alpha * self.cost_of(theta.rank, rows, columns)
        if isinstance(theta, Dense):
            return self.alpha * self.cost_of(min(rows, columns), rows, columns)
        raise CStepError(f"theta is {type(theta).__name__}, but this step makes Factors or Dense")


def _factors(svd: tuple[np.ndarray, np.ndarray, np.ndarray], rank: int) -> Factors:
    """The first terms; each singular value is shared out evenly, so that both factors are alike."""
    left, values, right = svd
    root = np.sqrt(values[:rank])
    return Factors(
        (left.shape[0], right.shape[1]),
        single(left[:, :rank] * root),
        single(root[:, None] * right[:rank]),
    )

"""Other ways to the optimum of each C step: brute force, scipy, numpy, kmeans1d, ckwrap.

Each `*_gap(rng)` makes one random case and returns by what share the step's result is above the
oracle's, in float64; negative where it is below.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from itertools import combinations, pairwise, product
from typing import Literal

import ckwrap
import kmeans1d
import numpy as np
import torch
from scipy.optimize import brentq, minimize_scalar

from tinykit.compress.csteps import (
    AdaptiveCodebook,
    CStep,
    Factors,
    L0Penalty,
    L1Constraint,
    L1Penalty,
    LowRank,
    RankSelection,
    ScaledBinary,
    ScaledTernary,
    Theta,
)
from tinykit.compress.csteps.kmeans import optimal_levels

Gap = Callable[[np.random.Generator], float]


def float32(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.asarray(values, np.float32))


def share_above(got: float, best: float) -> float:
    """(got − best)/best, where best may be 0."""
    return (got - best) / best if best > 0 else math.inf if got > 0 else 0.0


def vectors(rng: np.random.Generator, most: int = 40) -> np.ndarray:
    """Float32: smooth, with ties, with zeros, of one value, nearly so, of very different sizes."""
    n = int(rng.integers(1, most + 1))
    kind = rng.integers(6)
    if kind == 0:
        values = rng.normal(size=n)
    elif kind == 1:
        values = rng.integers(-3, 4, size=n) / 2
    elif kind == 2:
        values = rng.normal(size=n) * (rng.random(n) < 0.4)
    elif kind == 3:
        values = np.full(n, rng.normal())
    elif kind == 4:
        values = rng.normal() + 1e-4 * rng.normal(size=n)
    else:
        values = rng.normal(size=n) * 10 ** rng.uniform(-6, 3, size=n)
    return values.astype(np.float32)


# --- levels --------------------------------------------------------------------------------------


def lines(rng: np.random.Generator) -> np.ndarray:
    """What clusters can be found in: also few, tight, far apart, far from zero, heavy of tail."""
    n = int(rng.choice([2, 3, 5, 12, 40, 150, 400, 1500, 5000], p=[0.1] * 6 + [0.2, 0.15, 0.05]))
    kind = rng.integers(8)
    if kind == 0:
        values = rng.normal(size=n)
    elif kind == 1:
        values = 1000 + 1e-3 * rng.random(n)
    elif kind == 2:
        values = rng.integers(0, 20, size=n).astype(float)
    elif kind == 3:
        values = rng.choice(rng.normal(size=5), size=n) + 10 ** rng.uniform(-7, -1) * rng.normal(
            size=n
        )
    elif kind == 4:
        values = rng.laplace(size=n) ** 3
    elif kind == 5:
        values = np.arange(n) / 2  # many optima
    elif kind == 6:
        values = np.full(n, rng.normal())
    else:
        values = rng.normal(size=n) * 10 ** rng.uniform(-6, 0, size=n)
    return rng.permutation(values.astype(np.float32))


def clustering_cost(values: np.ndarray, labels: np.ndarray) -> float:
    """Σ (v − mean of its cluster)², from each cluster's own first value, so nothing cancels."""
    total = []
    for label in np.unique(labels):
        inside = values[labels == label].astype(np.float64)
        inside = inside - inside[0]
        total.append(math.fsum((inside - math.fsum(inside) / len(inside)) ** 2))
    return math.fsum(total)


def levels_gap(rng: np.random.Generator, oracle: str) -> float:
    values = lines(rng)
    k = int(rng.integers(1, min(40, len(np.unique(values))) + 1))
    got = clustering_cost(values, optimal_levels(values.astype(np.float64), k).codes(values))
    doubles = values.astype(np.float64)
    if oracle == "kmeans1d":
        labels = np.array(kmeans1d.cluster(doubles, k).clusters)
    else:
        labels = np.array(ckwrap.ckmeans(doubles, k).labels)
    return share_above(got, clustering_cost(values, labels))


def partitions_gap(rng: np.random.Generator) -> float:
    """All ways to cut at most 10 sorted numbers, costs as fractions: no rounding at all."""
    values = rng.permutation(lines(rng))[:10]
    k = int(rng.integers(1, min(5, len(values)) + 1))
    exact = [Fraction(float(v)) for v in np.sort(values)]
    cost = {}
    for i, j in combinations(range(len(exact) + 1), 2):
        mean = sum(exact[i:j]) / (j - i)
        cost[i, j] = sum((v - mean) ** 2 for v in exact[i:j])
    best = min(
        sum(cost[pair] for pair in pairwise((0, *inner, len(exact))))
        for inner in combinations(range(1, len(exact)), k - 1)
    )
    got = optimal_levels(values.astype(np.float64), k)
    if best == 0:
        return got.cost
    return max(
        abs(float((Fraction(got.cost) - best) / best)),
        share_above(clustering_cost(values, got.codes(values)), float(best)),
    )


def distance(step: CStep, x: torch.Tensor, mu: float = 1.0) -> tuple[float, Theta]:
    theta = step(x, mu)
    return step.objective(x, theta, mu), theta


def scaled_binary_gap(rng: np.random.Generator) -> float:
    """All signs, each with its own best c."""
    x = vectors(rng, 8)
    wide = x.astype(np.float64)
    signs = np.array(list(product((-1, 1), repeat=len(x))))
    return above_floor(ScaledBinary(), x, wide @ wide - ((signs @ wide) ** 2).max() / len(x))


def scaled_ternary_gap(rng: np.random.Generator) -> float:
    """All of {−1, 0, 1}ⁿ, each with its own best c."""
    x = vectors(rng, 8)
    wide = x.astype(np.float64)
    codes = np.array(list(product((-1, 0, 1), repeat=len(x))))
    count = np.maximum(np.abs(codes).sum(axis=1), 1)
    return above_floor(ScaledTernary(), x, wide @ wide - ((codes @ wide) ** 2 / count).max())


def above_floor(step: CStep, x: np.ndarray, best: float) -> float:
    """Above an optimum that is a difference of squares, and for levels in float32: of ‖x‖²."""
    got, _ = distance(step, float32(x))
    squares = float((x.astype(np.float64) ** 2).sum())
    return (got - best) / squares if squares else got


# --- pruning -------------------------------------------------------------------------------------


def l1_gap(rng: np.random.Generator) -> float:
    """The threshold as the root of Σ max(|x| − t, 0) = radius; the result must be feasible."""
    x = vectors(rng)
    size = np.abs(x.astype(np.float64))
    radius = float(rng.uniform(0.01, 1.2) * size.sum())
    theta = L1Constraint(radius)(float32(x))
    got = theta.decompress().double().numpy()
    if math.fsum(np.abs(got)) > radius:
        return math.inf
    threshold = 0.0
    if size.sum() > radius:
        threshold = brentq(
            lambda t: np.maximum(size - t, 0).sum() - radius, 0, size.max(), xtol=1e-300, rtol=1e-14
        )
    want = np.copysign(np.maximum(size - threshold, 0), x)
    return float(np.abs(got - want).max() / size.max()) if size.max() else float(got.any())


def scalar_gap(rng: np.random.Generator, step: type[L0Penalty] | type[L1Penalty]) -> float:
    """Each weight by itself: the better of zero and the best number on its own side."""
    x = vectors(rng, 12)
    alpha, mu = 10 ** rng.uniform(-3, 1), 10 ** rng.uniform(-2, 2)

    def price(v: float) -> float:
        return alpha * (v != 0 if step is L0Penalty else abs(v))

    def best(value: float) -> float:
        def of(v: float) -> float:
            return price(v) + mu / 2 * (value - v) ** 2

        found = [of(0.0), of(value)]
        if value:
            ends = (min(0.0, value), max(0.0, value))
            xatol = 1e-12 * abs(value)
            found.append(
                minimize_scalar(of, bounds=ends, method="bounded", options={"xatol": xatol}).fun
            )
        return min(found)

    got, _ = distance(step(alpha), float32(x), mu)
    scale = mu / 2 * float((x.astype(np.float64) ** 2).sum())
    gap = got - math.fsum(best(float(v)) for v in x)
    return gap / scale if scale else gap


# --- low rank ------------------------------------------------------------------------------------


def matrices(rng: np.random.Generator) -> np.ndarray:
    rows, columns = (int(d) for d in rng.integers(1, 14, size=2))
    kind = rng.integers(3)
    values = rng.normal(size=(rows, columns))
    if kind == 1:
        values = rng.normal(size=(rows, 2)) @ rng.normal(size=(2, columns))
    elif kind == 2:
        values = values * 0.5 ** np.arange(columns)
    return values.astype(np.float32)


def svd_gap(rng: np.random.Generator) -> float:
    """Eckart and Young's bound, from the eigenvalues of the Gram matrix; a share of ‖x‖²."""
    x = matrices(rng)
    rank = int(rng.integers(0, min(x.shape) + 1))
    wide = x.astype(np.float64)
    gram = wide @ wide.T if x.shape[0] < x.shape[1] else wide.T @ wide
    missed = np.sort(np.maximum(np.linalg.eigvalsh(gram), 0))[::-1][rank:].sum()
    got, theta = distance(LowRank(rank), float32(x))
    assert np.linalg.matrix_rank(theta.decompress().numpy()) <= rank
    return (got - float(missed)) / float((wide**2).sum())


def selection_gap(rng: np.random.Generator) -> float:
    """Each rank's truncation written out; ranks whose factors save nothing cost as the matrix."""
    x = matrices(rng)
    rows, columns = x.shape
    wide, full = x.astype(np.float64), min(x.shape)
    mu, positions = 10 ** rng.uniform(-2, 2), int(rng.integers(1, 5))
    cost: Literal["macs", "parameters"] = "macs" if rng.random() < 0.5 else "parameters"
    alpha = 10 ** rng.uniform(-4, 1) * mu
    most = None if rng.random() < 0.5 else int(rng.integers(0, full + 1))
    u, s, v = np.linalg.svd(wide)
    found = []
    for rank in range(full + 1 if most is None else most + 1):
        near = sum((s[i] * np.outer(u[:, i], v[i]) for i in range(rank)), np.zeros_like(wide))
        factors, times = rank * (rows + columns), positions if cost == "macs" else 1
        if factors >= rows * columns:
            factors, near = rows * columns, wide
        found.append(alpha * factors * times + mu / 2 * ((wide - near) ** 2).sum())
    got, theta = distance(RankSelection(alpha, cost, positions, most), float32(x), mu)
    dense = -(-rows * columns // (rows + columns))
    chosen = theta.rank if isinstance(theta, Factors) else dense
    scale = mu / 2 * float((wide**2).sum())
    if abs(got - found[chosen]) > 1e-7 * scale:  # factors are in float32
        return math.inf
    return (found[chosen] - min(found)) / scale


def codebook_gap(rng: np.random.Generator) -> float:
    """The step as a whole, with levels in float32: a share of ‖x − mean‖² above kmeans1d's."""
    x = lines(rng)
    k = int(rng.integers(1, min(8, len(np.unique(x))) + 1))
    best = clustering_cost(x, np.array(kmeans1d.cluster(x.astype(np.float64), k).clusters))
    got, _ = distance(AdaptiveCodebook(k), float32(x))
    squares = float((x.astype(np.float64) ** 2).sum())
    return (got - best) / squares if squares else got


#: what is exact → one case's gap, and how large that may be: rounding of float64 for costs, of
#: float32 for results that are not themselves numbers of x
CLAIMS: dict[str, tuple[Gap, float]] = {
    "levels against all partitions, in rationals": (partitions_gap, 1e-12),
    "levels against kmeans1d": (lambda rng: levels_gap(rng, "kmeans1d"), 1e-12),
    "levels against ckwrap": (lambda rng: levels_gap(rng, "ckwrap"), 1e-12),
    "codebook, levels in float32": (codebook_gap, 1e-12),
    "{−c, c} against all signs": (scaled_binary_gap, 1e-12),
    "{−c, 0, c} against all codes": (scaled_ternary_gap, 1e-12),
    "ℓ1 ball against the root of its dual": (l1_gap, 2e-7),
    "ℓ0 penalty against scipy": (lambda rng: scalar_gap(rng, L0Penalty), 1e-12),
    "ℓ1 penalty against scipy": (lambda rng: scalar_gap(rng, L1Penalty), 2e-7),
    "truncated SVD against Eckart and Young": (svd_gap, 1e-7),
    "rank selection against all ranks": (selection_gap, 1e-12),
}

"""C steps against other ways to the optimum, many random cases each; how long the best levels take.

The oracles and the tolerances are those of the tests (tests/compress/csteps/oracles.py).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import kmeans1d
import numpy as np
import torch

from tests.benchmarks import Figure, at_least, at_most, plain
from tests.compress.csteps.oracles import CLAIMS, clustering_cost, share_above
from tinykit.compress.csteps import AdaptiveCodebook

#: random cases of each claim; TINYKIT_EACH makes a quick look
EACH = int(os.environ.get("TINYKIT_EACH", "1200"))
#: what a LeNet-300-100 has, about; and levels of four bits
WEIGHTS, LEVELS = 235_000, 16
#: the best of so many turns counts
TURNS = 3
DATA: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "normal": lambda rng: rng.normal(size=WEIGHTS),
    "heavy tails": lambda rng: rng.laplace(size=WEIGHTS) ** 3,
    # towards the end of the learning-compression algorithm
    "nearly clustered": lambda rng: (
        rng.choice(rng.normal(size=LEVELS), WEIGHTS) + 1e-4 * rng.normal(size=WEIGHTS)
    ),
}


def run() -> list[Figure]:
    figures = []
    for name, (gap, tolerance) in CLAIMS.items():
        rng = np.random.default_rng(2024)
        gaps = np.array([gap(rng) for _ in range(EACH)])
        figures += [
            at_least(f"{name}: cases", len(gaps), "cases", min(EACH, 1000)),
            at_most(
                f"{name}: above the optimum by more", int((gaps > tolerance).sum()), "cases", 0
            ),
            at_most(f"{name}: largest share above", float(gaps.max()), "", tolerance),
            # where the oracle's own sums cancel, mostly
            plain(f"{name}: the oracle above us by more", int((gaps < -tolerance).sum()), "cases"),
        ]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for name, draw in DATA.items():
            figures += timed(name, draw(np.random.default_rng(0)).astype(np.float32))
    finally:
        torch.set_num_threads(threads)
    return figures


def timed(name: str, weights: np.ndarray) -> list[Figure]:
    """The whole C step, tensor to Θ, in turns with kmeans1d's compiled recurrence."""
    step, x = AdaptiveCodebook(LEVELS), torch.from_numpy(weights)
    doubles = weights.astype(np.float64)
    ours, theirs = [], []
    for _ in range(TURNS):
        begun = time.perf_counter()
        theta = step(x)
        ours.append(time.perf_counter() - begun)
        begun = time.perf_counter()
        labels = kmeans1d.cluster(doubles, LEVELS).clusters
        theirs.append(time.perf_counter() - begun)
    gap = share_above(
        clustering_cost(weights, theta.codes.numpy()), clustering_cost(weights, np.array(labels))
    )
    what = f"K = {LEVELS}, {WEIGHTS:,} weights, {name}"
    return [
        plain(f"{what}: C step", min(ours), "s", {"name": "kmeans1d, s", "value": min(theirs)}),
        plain(f"{what}: times kmeans1d", min(theirs) / min(ours), "×"),
        at_most(f"{what}: share above kmeans1d", gap, "", 1e-12),
    ]

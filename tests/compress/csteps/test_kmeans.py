"""Optimal levels where random cases seldom go: many numbers, narrow clusters, offsets."""

from __future__ import annotations

import kmeans1d
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.compress.csteps.oracles import clustering_cost, lines, share_above
from tinykit.compress.csteps import _breaks, kmeans
from tinykit.compress.csteps._breaks import Level
from tinykit.compress.csteps._line import Line
from tinykit.compress.csteps.kmeans import optimal_levels

RNG = np.random.default_rng(3)
MANY = {
    "normal": RNG.normal(size=30_000),
    "heavy tails": RNG.laplace(size=30_000) ** 3,
    "many optima": np.arange(30_000) / 8,
    "narrow clusters": RNG.choice(RNG.normal(size=16), 30_000) + 1e-5 * RNG.normal(size=30_000),
    "two far apart": np.concatenate((RNG.random(15_000), 1e5 + RNG.random(15_000))),
    "two alike": np.concatenate((np.arange(6000) / 64, 1e4 + np.arange(6000) / 64)),
    "weights near zero": RNG.normal(size=30_000) * (RNG.random(30_000) < 0.1),
    "large offset": 1000 + 0.01 * RNG.normal(size=30_000),
}


@pytest.mark.parametrize("k", [2, 3, 16])
@pytest.mark.parametrize("name", MANY)
def test_many_numbers(name: str, k: int) -> None:
    """In cells, coarse to fine; kmeans1d has a plain recurrence."""
    values = MANY[name].astype(np.float32).astype(np.float64)
    got = optimal_levels(values, k)
    labels = got.codes(values)
    cost = clustering_cost(values, labels)
    assert (
        share_above(cost, clustering_cost(values, np.array(kmeans1d.cluster(values, k).clusters)))
        <= 1e-12
    )
    assert got.cost == pytest.approx(cost, rel=1e-12)
    for code, level in enumerate(got.levels):
        assert level == pytest.approx(values[labels == code].mean(), rel=1e-9, abs=1e-12)


@given(st.lists(st.integers(-40, 40), min_size=1, max_size=60), st.integers(1, 70))
@settings(max_examples=200, deadline=None)
def test_ties_and_more_levels_than_values(numbers: list[int], k: int) -> None:
    values = np.array(numbers, np.float64)
    got = optimal_levels(values, k)
    distinct = len(set(numbers))
    assert len(got.levels) == min(k, distinct)
    assert (np.diff(got.levels) > 0).all()
    nearest = np.abs(values[:, None] - got.levels).min(axis=1)
    assert got.cost == pytest.approx(float((nearest**2).sum()), abs=1e-9)
    assert (got.cost == 0) == (k >= distinct)


def test_an_offset_changes_nothing() -> None:
    """In float64, 2²⁰ away: these values stay exact, so breaks and cost do too."""
    values = RNG.integers(0, 2**16, 5000) / 2**16
    near, far = optimal_levels(values, 12), optimal_levels(values + 2.0**20, 12)
    assert (near.codes(values) == far.codes(values + 2.0**20)).all()
    assert far.cost == pytest.approx(near.cost, rel=1e-12)


@pytest.mark.parametrize("size", [40, 400])
def test_coarse_cells_bound_the_optimum_from_below(size: int) -> None:
    """What pruning rests on: for any cells, and for each break's cell by itself."""
    values = np.unique(RNG.laplace(size=700).astype(np.float32)).astype(np.float64)
    line, k = Line.of(values), 5
    count = np.arange(1, k)
    low, high = count, line.n - k + count
    fine = Level(line, low, high, np.arange(line.n + 1), None, np.inf)
    ahead, _ = fine.forward()
    exact = [a + b for a, b in zip(ahead, fine.backward(), strict=True)]
    best = optimal_levels(values, k).cost
    starts = line.cells(size)
    coarse = Level(line, low, high, starts, None, np.inf)
    ahead, _ = coarse.forward()
    for b, (before, after) in enumerate(zip(ahead, coarse.backward(), strict=True)):
        assert exact[b].min() == pytest.approx(best, rel=1e-9)
        cells = np.searchsorted(starts, np.arange(low[b], high[b] + 1), side="right") - 1
        assert ((before + after)[cells - coarse.low[b]] <= exact[b] * (1 + 1e-9)).all()


def test_any_cells_lead_to_the_optimum(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few numbers, cut as many are, against the table of all costs."""
    rng = np.random.default_rng(7)
    for _ in range(150):
        values = np.unique(lines(rng).astype(np.float64))[: kmeans.TABLE - 1]
        values = np.repeat(values, rng.integers(1, 4, size=len(values)))
        k = int(rng.integers(1, 30))
        best = optimal_levels(values, k)
        with monkeypatch.context() as patch:
            patch.setattr(kmeans, "TABLE", 0)
            patch.setattr(_breaks, "CELLS", int(rng.integers(2, 60)))
            patch.setattr(_breaks, "FINER", int(rng.integers(2, 9)))
            got = optimal_levels(values, k)
        assert got.cost == pytest.approx(best.cost, rel=1e-12)

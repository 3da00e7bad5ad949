"""Sums: alternation never makes its objective worse, in any mixture of steps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.compress.csteps.oracles import float32
from tinykit.compress.csteps import (
    AdaptiveCodebook,
    Additive,
    CStep,
    L0Constraint,
    L0Penalty,
    L1Constraint,
    L1Penalty,
    LowRank,
    RankSelection,
    ScaledTernary,
    Sum,
)

STEP = st.one_of(
    st.builds(L0Constraint, st.integers(0, 12)),
    st.builds(L1Constraint, st.floats(0, 10)),
    st.builds(L0Penalty, st.floats(0, 2)),
    st.builds(L1Penalty, st.floats(0, 2)),
    st.builds(AdaptiveCodebook, st.integers(1, 4)),
    st.builds(ScaledTernary),
    st.builds(LowRank, st.integers(0, 3)),
    st.builds(RankSelection, st.floats(0, 1)),
)
STEPS = st.lists(STEP, min_size=2, max_size=3).map(tuple)


def sample(seed: int, step: CStep) -> torch.Tensor:
    x = float32(np.random.default_rng(seed).normal(size=(5, 4)))
    return x if step.view == "matrix" else x.reshape(-1)


@given(STEPS, st.integers(0, 10**6), st.floats(0.1, 10))
@settings(max_examples=150, deadline=None)
def test_more_sweeps_are_never_worse(steps: tuple[CStep, ...], seed: int, mu: float) -> None:
    last = np.inf
    for sweeps in (1, 2, 3, 6):
        step = Additive(steps, sweeps=sweeps, tolerance=0.0)
        x = sample(seed, step)
        now = step.objective(x, step(x, mu), mu)
        # sums are of float32 terms: adding them up rounds
        assert now <= last + 1e-6 * (1 + float((x**2).sum()) * mu)
        last = now


@given(STEPS, st.integers(0, 10**6), st.floats(0.1, 10))
@settings(max_examples=150, deadline=None)
def test_going_on_is_never_worse(steps: tuple[CStep, ...], seed: int, mu: float) -> None:
    """Also where x has moved, as in the learning-compression algorithm."""
    step = Additive(steps, sweeps=2)
    x = sample(seed, step)
    first = step(x, mu)
    moved = x + 0.1 * sample(seed + 1, step)
    second = step(moved, mu, first)
    rounding = 1e-5 * (1 + float((moved**2).sum()) * mu)
    assert step.objective(moved, second, mu) <= step.objective(moved, first, mu) + rounding


@given(STEPS, st.integers(0, 10**6))
@settings(max_examples=100, deadline=None)
def test_the_objective_is_distance_and_all_penalties(steps: tuple[CStep, ...], seed: int) -> None:
    step = Additive(steps)
    x, mu = sample(seed, step), 3.0
    theta = step(x, mu)
    parts = [t.decompress().double().reshape(x.shape) for t in theta.terms]
    squares = float(((x.double() - sum(parts)) ** 2).sum())
    want = sum(s.penalty(t) for s, t in zip(steps, theta.terms, strict=True))
    want += squares * (mu / 2 if any(s.penalised for s in steps) else 1)
    assert step.objective(x, theta, mu) == pytest.approx(want, rel=1e-4, abs=1e-5)


def test_a_matrix_step_makes_it_a_matrix() -> None:
    assert Additive((AdaptiveCodebook(2), L0Constraint(1))).view == "vector"
    step = Additive((LowRank(1), L0Constraint(2)))
    assert step.view == "matrix"
    x = torch.outer(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, -1.0]))
    x[1, 1] += 50.0
    theta = step(x)
    assert isinstance(theta, Sum)
    assert theta.terms[0].shape == (3, 2)
    assert theta.terms[1].shape == (6,)
    assert step.objective(x, theta) < LowRank(1).objective(x, LowRank(1)(x))


def test_a_sparse_correction_finds_outliers() -> None:
    """Two levels and three outliers: exact, which neither is alone."""
    x = torch.tensor([-1.0, 1.0] * 20)
    x[[3, 10, 25]] = torch.tensor([9.0, -7.0, 5.5])
    step = Additive((L0Constraint(3), AdaptiveCodebook(2)))
    theta = step(x)
    torch.testing.assert_close(theta.decompress(), x)
    assert sorted(theta.terms[0].index.tolist()) == [3, 10, 25]


def test_nested_sums() -> None:
    step = Additive((Additive((AdaptiveCodebook(2), L0Constraint(1))), LowRank(1)))
    x = sample(4, step)
    theta = step(x)
    assert step.objective(x, step(x, 1.0, theta)) <= step.objective(x, theta) + 1e-5

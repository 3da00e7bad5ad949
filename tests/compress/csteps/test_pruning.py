"""Pruning steps at their edges: none kept, all kept, ties, feasibility."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.compress.csteps.oracles import float32
from tinykit.compress.csteps import L0Constraint, L0Penalty, L1Constraint, L1Penalty

FLOATS = st.floats(-1e6, 1e6, width=32)
VECTORS = st.lists(FLOATS, min_size=1, max_size=30).map(lambda v: float32(np.array(v)))


@given(VECTORS, st.data())
def test_the_largest_stay_and_ties_go_by_place(x: torch.Tensor, data: st.DataObject) -> None:
    keep = data.draw(st.integers(0, len(x)))
    theta = L0Constraint(keep)(x)
    order = sorted(range(len(x)), key=lambda i: (-abs(float(x[i])), i))
    assert theta.index.tolist() == sorted(order[:keep])
    assert torch.equal(theta.values, x[theta.index])


def test_none_and_all() -> None:
    x = torch.tensor([1.0, 0.0, -3.0])
    assert torch.equal(L0Constraint(0)(x).decompress(), torch.zeros(3))
    for keep in (3, 1.0):
        assert torch.equal(L0Constraint(keep)(x).decompress(), x)
    assert L0Constraint(1)(x).decompress().tolist() == [0.0, 0.0, -3.0]


@pytest.mark.parametrize(
    ("share", "size", "kept"), [(0.05, 1000, 50), (0.07, 100, 7), (0.001, 10, 1), (0.5, 3, 2)]
)
def test_shares(share: float, size: int, kept: int) -> None:
    assert L0Constraint(share).count(size) == kept
    assert len(L0Constraint(share)(torch.ones(size)).index) == kept


@given(VECTORS, st.floats(0, 1e7))
def test_the_l1_ball_is_never_left(x: torch.Tensor, radius: float) -> None:
    got = L1Constraint(radius)(x).decompress().double()
    assert math.fsum(got.abs().tolist()) <= radius
    if math.fsum(x.double().abs().tolist()) <= radius:
        assert torch.equal(got.float(), x)
    assert ((got == 0) | (got.sign() == x.sign())).all()


def test_the_l1_ball_of_many_weights() -> None:
    x = torch.from_numpy(np.random.default_rng(1).normal(size=235_000).astype(np.float32))
    got = L1Constraint(1000.0)(x).decompress().double()
    assert 1000 * (1 - 1e-6) < math.fsum(got.abs().tolist()) <= 1000


def test_penalties_have_their_thresholds() -> None:
    x = torch.tensor([-2.0, -1.0, 0.0, 0.5, 1.0, 3.0])
    # √(2α/μ) = 1, at which both cost the same and zero is taken
    assert L0Penalty(2.0)(x, mu=4.0).decompress().tolist() == [-2.0, 0.0, 0.0, 0.0, 0.0, 3.0]
    assert L1Penalty(2.0)(x, mu=4.0).decompress().tolist() == [-1.5, -0.5, 0.0, 0.0, 0.5, 2.5]
    assert torch.equal(L0Penalty(0.0)(x).decompress(), x)
    assert torch.equal(L1Penalty(0.0)(x).decompress(), x)


@given(VECTORS, st.floats(1e-3, 1e3), st.floats(1e-3, 1e3))
def test_objectives_of_penalties(x: torch.Tensor, alpha: float, mu: float) -> None:
    for step, order in ((L0Penalty(alpha), 0), (L1Penalty(alpha), 1)):
        theta = step(x, mu)
        delta = theta.decompress().double()
        cost = alpha * float(torch.linalg.vector_norm(delta, order))
        want = cost + mu / 2 * float(((x.double() - delta) ** 2).sum())
        assert step.objective(x, theta, mu) == pytest.approx(want, rel=1e-9, abs=1e-30)
        assert step.penalised

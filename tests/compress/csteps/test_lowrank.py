"""Low rank at its edges, and when a matrix stays as it is."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.compress.csteps.oracles import float32
from tinykit.compress.csteps import Dense, Factors, LowRank, RankSelection

X = float32(np.random.default_rng(0).normal(size=(12, 7)))


def test_no_rank_and_full_rank() -> None:
    nothing, everything = LowRank(0)(X), LowRank(7)(X)
    assert nothing.rank == 0
    assert torch.equal(nothing.decompress(), torch.zeros(12, 7))
    torch.testing.assert_close(everything.decompress(), X, rtol=1e-5, atol=1e-6)


def test_factors_are_alike_in_size() -> None:
    theta = LowRank(3)(X)
    assert float(theta.left.norm()) == pytest.approx(float(theta.right.norm()), rel=1e-5)
    assert theta.numbers == 3 * (12 + 7)


def test_a_high_price_takes_everything_and_none_takes_nothing() -> None:
    cheap = RankSelection(0.0)(X)
    assert isinstance(cheap, Dense)
    assert torch.equal(cheap.decompress(), X)
    dear = RankSelection(1e6)(X)
    assert isinstance(dear, Factors)
    assert dear.rank == 0


def test_what_is_chosen_saves_something_or_loses_nothing() -> None:
    seen = set()
    for alpha in np.geomspace(1e-4, 10, 60):
        theta = RankSelection(float(alpha))(X)
        seen.add(type(theta))
        if isinstance(theta, Factors):
            assert theta.numbers < X.numel()
        else:
            assert torch.equal(theta.decompress(), X)
    assert seen == {Factors, Dense}


def test_positions_are_a_price_per_multiplication() -> None:
    for alpha in (0.01, 0.05, 0.2):
        macs = RankSelection(alpha, cost="macs", positions=10)(X)
        parameters = RankSelection(alpha * 10)(X)
        assert torch.equal(macs.decompress(), parameters.decompress())
        assert RankSelection(alpha, positions=10)(X).numbers >= macs.numbers


def test_the_highest_rank() -> None:
    theta = RankSelection(0.0, max_rank=2)(X)
    assert isinstance(theta, Factors)
    assert theta.rank == 2
    assert isinstance(RankSelection(0.0, max_rank=5)(X), Dense), "5 · 19 is above 12 · 7"


def test_views() -> None:
    assert LowRank(1).view == RankSelection(1.0).view == "matrix"
    assert not LowRank(1).penalised
    assert RankSelection(1.0).penalised

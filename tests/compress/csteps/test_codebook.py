"""Codebooks: every weight at the nearest level; what the levels and their kinds are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.compress.csteps.oracles import float32
from tinykit.compress.csteps import (
    AdaptiveCodebook,
    Binary,
    CStep,
    FixedGrid,
    PowersOfTwo,
    ScaledBinary,
    ScaledTernary,
    Ternary,
)

VECTORS = st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=30).map(
    lambda v: float32(np.array(v))
)
STEPS = [
    (Binary(), "binary", [-1, 1]),
    (Ternary(), "ternary", [-1, 0, 1]),
    (FixedGrid(-1.0, 0.25, 7), "grid", [-1, -0.75, -0.5, -0.25, 0, 0.25, 0.5]),
    (PowersOfTwo(-1, 1), "powers", [-2, -1, -0.5, 0, 0.5, 1, 2]),
    (PowersOfTwo(0, 0, zero=False), "powers", [-1, 1]),
]


@pytest.mark.parametrize(("step", "kind", "levels"), STEPS)
@given(x=VECTORS)
def test_levels_that_are_given(
    step: CStep, kind: str, levels: list[float], x: torch.Tensor
) -> None:
    theta = step(x)
    assert theta.kind == kind
    assert theta.levels.tolist() == levels
    gaps = (x.double()[:, None] - torch.tensor(levels).double()).abs()
    assert torch.equal((x.double() - theta.decompress().double()).abs(), gaps.min(dim=1).values)


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        (AdaptiveCodebook(3), "free"),
        (ScaledBinary(), "scaled-binary"),
        (ScaledTernary(), "scaled-ternary"),
    ],
)
@given(x=VECTORS)
def test_levels_that_are_found_have_each_weight_at_the_nearest(
    step: CStep, kind: str, x: torch.Tensor
) -> None:
    theta = step(x)
    assert theta.kind == kind
    gaps = (x.double()[:, None] - theta.levels.double()).abs().min(dim=1).values
    got = (x.double() - theta.decompress().double()).abs()
    assert float((got - gaps).abs().max()) <= 1e-6 * max(1.0, float(x.abs().max()))
    again = theta.with_continuous(theta.continuous())
    assert torch.equal(again.decompress(), theta.decompress())


def test_scales() -> None:
    assert ScaledBinary()(torch.tensor([1.0, -2.0, 0.0, 3.0])).decompress().tolist() == [
        1.5, -1.5, 1.5, 1.5,
    ]  # fmt: skip
    assert ScaledTernary()(torch.tensor([1.0, 0.1, -1.0, 0.0])).decompress().tolist() == [
        1.0, 0.0, -1.0, 0.0,
    ]  # fmt: skip
    for step in (ScaledBinary(), ScaledTernary()):
        assert step(torch.zeros(4)).decompress().tolist() == [0.0] * 4


def test_fewer_values_than_levels() -> None:
    x = torch.tensor([0.5, -1.0, 0.5])
    theta = AdaptiveCodebook(8)(x)
    assert theta.levels.tolist() == [-1.0, 0.5]
    assert torch.equal(theta.decompress(), x)


def test_codes_are_small() -> None:
    x = torch.arange(400.0)
    assert AdaptiveCodebook(256)(x).codes.dtype is torch.uint8
    assert AdaptiveCodebook(257)(x).codes.dtype is torch.int16
    assert torch.equal(FixedGrid(0.0, 1.0, 400)(x).decompress(), x)

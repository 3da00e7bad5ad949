"""What compression steps find, as files: each in the few bytes that its kind promises."""

from __future__ import annotations

from math import log2, prod

import pytest
import torch

from tests.compress.encoded.thetas import assert_same
from tinykit.compress.csteps.additive import Additive
from tinykit.compress.csteps.base import CStep
from tinykit.compress.csteps.codebook import (
    AdaptiveCodebook,
    Binary,
    FixedGrid,
    PowersOfTwo,
    ScaledBinary,
    ScaledTernary,
    Ternary,
)
from tinykit.compress.csteps.lowrank import LowRank
from tinykit.compress.csteps.pruning import L0Constraint
from tinykit.compress.encoded import Part, encode, read

SHAPE = (60, 90)
N = prod(SHAPE)
#: beside the codes: tag, shape, how and how many
FEW = 20


@pytest.mark.parametrize(
    ("step", "most", "how"),
    [
        (Binary(), N / 8, "known"),
        (Ternary(), N * 2 / 8, "known"),
        (ScaledBinary(), N / 8, "scale"),
        (ScaledTernary(), N * 2 / 8 + 4, "scale"),
        (AdaptiveCodebook(4), N * 2 / 8 + 4 * 4, "stored"),
        (AdaptiveCodebook(300), N * 9 / 8 + 300 * 4, "stored"),
        (FixedGrid(-1.7, 0.1, 35), N * 6 / 8 + 16, "first and step"),
        (FixedGrid(-4, 1 / 32, 256), N + 16, "first and step"),
        (PowersOfTwo(-6, 1), N * log2(17) / 8 + 17, "exponents"),
        (PowersOfTwo(-126, 127, zero=False), N * 9 / 8 + 508, "exponents"),
        (L0Constraint(270), 270 * (4 + 1), "gaps"),
        (LowRank(3), 3 * 150 * 4, "rank 3"),
        (Additive((AdaptiveCodebook(2), L0Constraint(54))), N / 8 + 8 + 54 * 5.1, "2 levels"),
        (Additive((LowRank(2), L0Constraint(54))), 2 * 150 * 4 + 54 * 5.1, "rank 2"),
    ],
)
def test_bytes_of_what_a_step_finds(step: CStep, most: float, how: str) -> None:
    weight = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1))
    matrix = step.view == "matrix"
    theta = step(weight if matrix else weight.reshape(-1))
    part = Part(("fc.weight",), (SHAPE,), theta, 1 if matrix else None)
    encoded = encode([part])
    (row,) = encoded.rows
    assert row.bytes <= most + FEW
    assert how in row.how
    (back,) = read(encoded.data)
    assert_same(back.theta, theta)
    assert torch.equal(back.tensors()["fc.weight"], theta.decompress().reshape(SHAPE))

"""Compressed tensors of all kinds for property tests."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

from tinykit.compress.csteps.theta import Coded, Dense, Factors, Sparse, Sum, Theta

shapes = st.lists(st.integers(0, 6), max_size=4).map(tuple)
seeds = st.integers(0, 2**32 - 1)
#: special bit patterns among ordinary numbers
SPECIAL = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e38, 1.0], dtype=np.float32)


def floats(seed: int, *shape: int) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    values = rng.standard_normal(shape).astype(np.float32)
    special = rng.random(shape) < 0.2
    return torch.from_numpy(np.where(special, rng.choice(SPECIAL, shape), values))


@st.composite
def sparse(draw: Any, shape: tuple[int, ...]) -> Sparse:
    size = prod(shape)
    share = draw(st.sampled_from([0.0, 0.05, 0.3, 0.9, 1.0]))
    rng = np.random.default_rng(draw(seeds))
    index = np.flatnonzero(rng.random(size) < share)
    return Sparse(shape, torch.from_numpy(index), floats(draw(seeds), len(index)))


@st.composite
def coded(draw: Any, shape: tuple[int, ...]) -> Coded:
    wide = draw(st.booleans())
    count = draw(st.sampled_from([1, 2, 3, 5, 16, 256] + ([257, 1000] if wide else [])))
    rng = np.random.default_rng(draw(seeds))
    skew = draw(st.sampled_from([0.0, 1.0, 3.0]))
    odds = (1.0 + rng.permutation(count)) ** -skew
    codes = rng.choice(count, size=shape, p=odds / odds.sum())
    levels = {
        "free": floats(draw(seeds), count),
        "grid": torch.arange(-(count // 2), count - count // 2) * np.float32(rng.random() + 0.01),
        "powers": torch.tensor([2.0 ** -(i % 100) for i in range(count)]).sort().values,
    }
    if count == 2:
        levels["binary"] = torch.tensor([-1.0, 1.0])
        levels["scaled-binary"] = torch.tensor([-1.0, 1.0]) * float(rng.random())
    if count == 3:
        levels["ternary"] = torch.tensor([-1.0, 0.0, 1.0])
        levels["scaled-ternary"] = torch.tensor([-1.0, 0.0, 1.0]) * float(rng.random())
        levels["powers"] = torch.tensor([-0.25, 0.0, 8.0])
    kind = draw(st.sampled_from(sorted(levels)))
    dtype = torch.int16 if wide else torch.uint8
    return Coded(shape, torch.from_numpy(codes).to(dtype), levels[kind], kind)


@st.composite
def factors(draw: Any, shape: tuple[int, ...]) -> Factors:
    rows, rank = (shape[0] if shape else 1), draw(st.integers(0, 4))
    columns = prod(shape[1:]) if prod(shape) else draw(st.integers(0, 3)) * (rows == 0)
    left, right = floats(draw(seeds), rows, rank), floats(draw(seeds), rank, columns)
    if draw(st.booleans()):
        left = left.t().contiguous().t()
    if draw(st.booleans()):
        right = torch.cat([right, right], 1)[:, :columns]
    return Factors(shape, left, right)


def thetas(shape: tuple[int, ...], depth: int = 2) -> st.SearchStrategy[Theta]:
    kinds: list[st.SearchStrategy[Any]] = [
        seeds.map(lambda seed: Dense(shape, floats(seed, *shape))),
        sparse(shape),
        coded(shape),
        factors(shape),
    ]
    if depth:
        below = st.lists(thetas(shape, depth - 1), min_size=1, max_size=3)
        kinds.append(below.map(lambda terms: Sum(shape, tuple(terms))))
    return st.one_of(kinds)


def bits(t: torch.Tensor) -> bytes:
    return t.detach().contiguous().numpy().tobytes()


def assert_same(a: Theta, b: Theta) -> None:
    """Every number of Θ has the same bits, and so has Δ."""
    assert type(a) is type(b)
    assert tuple(a.shape) == tuple(b.shape)
    if isinstance(a, Sum):
        assert isinstance(b, Sum)
        assert len(a.terms) == len(b.terms)
        for x, y in zip(a.terms, b.terms, strict=True):
            assert_same(x, y)
    else:
        for name, value in vars(a).items():
            other = getattr(b, name)
            if isinstance(value, torch.Tensor):
                assert value.dtype == other.dtype
                assert value.shape == other.shape
                assert bits(value) == bits(other), name
            else:
                assert value == other
    assert bits(a.decompress()) == bits(b.decompress())

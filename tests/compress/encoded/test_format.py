"""Files against a reader of the test's own, written from the page that tells the format."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.compress.encoded.plain_reader import Plain
from tests.compress.encoded.thetas import bits, floats, sparse, thetas
from tinykit.compress.csteps.theta import Coded, Dense, Factors, Sparse, Sum, Theta
from tinykit.compress.encoded import Part, raw, write

shapes = st.sampled_from([(), (0,), (7,), (1, 9), (300,), (20, 30), (4, 3, 5, 2)])


def same_floats(a: Any, t: torch.Tensor) -> None:
    """A list of the plain reader's against a tensor; NaNs may differ in what Python keeps."""
    want = np.frombuffer(bits(t), dtype=np.float32)
    got = np.array(a, dtype=np.float32).reshape(-1)
    assert np.array_equal(got, want, equal_nan=True)
    assert (np.signbit(got) == np.signbit(want))[~np.isnan(want)].all()


def same(read: Any, theta: Theta) -> None:
    kind, shape, *held = read
    assert shape == tuple(theta.shape)
    if isinstance(theta, Dense):
        assert kind == "dense"
        same_floats(held[0], theta.values)
    elif isinstance(theta, Sparse):
        assert held[0] == theta.index.tolist()
        same_floats(held[1], theta.values)
    elif isinstance(theta, Coded):
        assert held[0] == theta.codes.flatten().tolist()
        same_floats(held[1], theta.levels)
        assert held[2:] == [theta.kind, str(theta.codes.dtype).removeprefix("torch.")]
    elif isinstance(theta, Factors):
        same_floats(held[0], theta.left)
        same_floats(held[1], theta.right)
    else:
        assert isinstance(theta, Sum)
        for a, b in zip(held[0], theta.terms, strict=True):
            same(a, b)


@given(st.lists(shapes.flatmap(thetas), max_size=3))
@settings(max_examples=100, deadline=None)
def test_files_are_what_the_page_says(several: list[Theta]) -> None:
    parts = [Part((f"ü{i}",), (tuple(t.shape),), t) for i, t in enumerate(several)]
    read = Plain(write(parts)).model()
    assert len(read) == len(parts)
    for (names, sizes, view, theta), part in zip(read, parts, strict=True):
        assert (names, sizes, view) == (list(part.names), list(part.shapes), 0)
        same(theta, part.theta)


@given(st.sampled_from([0.005, 0.02, 0.2]), st.integers(0, 99), st.booleans())
@settings(max_examples=40, deadline=None)
def test_gaps_and_huffman_codes(share: float, seed: int, pruned: bool) -> None:
    """Sizes at which files choose gaps and Huffman codes, which small ones seldom do."""
    rng = np.random.default_rng(seed)
    index = torch.from_numpy(np.flatnonzero(rng.random(3000) < share))
    few = Sparse((3000,), index, floats(seed, len(index)))
    odds = np.array([1 - share, *[share / 9] * 9])
    codes = rng.choice(10, 3000, p=odds if pruned else odds[::-1] * 0.5 + 0.05)
    coded = Coded((3000,), torch.from_numpy(codes).short(), floats(seed, 10))
    parts = [Part(("a",), ((3000,),), few), Part(("b", "c"), ((1000, 2), (1000,)), coded)]
    read = Plain(write(parts)).model()
    same(read[0][3], few)
    same(read[1][3], coded)


def test_views_and_halves() -> None:
    theta = Factors((8, 15), floats(1, 8, 2), floats(2, 2, 15))
    values = torch.tensor([1 / 3, -2.5])
    for shaping, shape in ((1, (8, 3, 5, 1)), (2, (4, 3, 2, 5))):
        parts = [Part(("w",), (shape,), theta, shaping), raw("bias", values)]  # type: ignore[arg-type]
        matrix, bias = Plain(write(parts, half=True)).model()
        assert matrix[:3] == (["w"], [shape], shaping)
        same(matrix[3], theta)
        assert bias[3][2] == [struct.unpack("<e", struct.pack("<e", v))[0] for v in (1 / 3, -2.5)]


@given(sparse((40,)))
@settings(max_examples=20, deadline=None)
def test_what_is_said_of_a_joint_part(few: Sparse) -> None:
    part = Part(("a", "b"), ((5, 6), (10,)), few)
    ((names, sizes, view, theta),) = Plain(write([part])).model()
    assert (names, sizes, view) == (["a", "b"], [(5, 6), (10,)], 0)
    same(theta, few)

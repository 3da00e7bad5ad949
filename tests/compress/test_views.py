"""Weights as matrices and back."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tinykit.compress.views import Shaping, from_matrix, matrix_shape, to_matrix
from tinykit.graph.errors import TinykitError

sizes = st.integers(0, 5)
conv_shapes = st.tuples(sizes, sizes, sizes, sizes)
linear_shapes = st.tuples(sizes, sizes)
shapings = st.sampled_from([1, 2])


def numbered(shape: tuple[int, ...]) -> torch.Tensor:
    """All values differ, so that a wrong place shows."""
    return torch.arange(torch.Size(shape).numel(), dtype=torch.float32).reshape(shape)


@given(st.one_of(conv_shapes, linear_shapes), shapings)
@settings(max_examples=80, deadline=None)
def test_there_and_back(shape: tuple[int, ...], shaping: Shaping) -> None:
    weight = numbered(shape)
    matrix = to_matrix(weight, shaping)
    assert tuple(matrix.shape) == matrix_shape(shape, shaping)
    back = from_matrix(matrix, shape, shaping)
    assert back.shape == weight.shape
    assert torch.equal(back, weight)
    rows, columns = matrix.shape
    other = numbered((rows, columns)) + 0.5
    assert torch.equal(to_matrix(from_matrix(other, shape, shaping), shaping), other)


@given(conv_shapes)
@settings(max_examples=30, deadline=None)
def test_places_by_their_definition(shape: tuple[int, int, int, int]) -> None:
    weight = numbered(shape)
    _, m, d1, d2 = shape
    one, two = to_matrix(weight, 1), to_matrix(weight, 2)
    for n, c, i, j in product(*map(range, shape)):
        assert one[n, (c * d1 + i) * d2 + j] == weight[n, c, i, j]
        assert two[n * d1 + i, c * d2 + j] == weight[n, c, i, j]
    assert two.shape[1] == m * d2


def test_a_linear_weight_stays() -> None:
    weight = numbered((3, 4))
    assert torch.equal(to_matrix(weight, 1), weight)
    assert torch.equal(to_matrix(weight, 2), weight)


def test_gradients_pass() -> None:
    weight = numbered((2, 3, 2, 3)).requires_grad_()
    from_matrix(2 * to_matrix(weight, 2), (2, 3, 2, 3), 2).sum().backward()
    assert weight.grad is not None
    assert torch.equal(weight.grad, torch.full((2, 3, 2, 3), 2.0))


def test_errors_say_what_to_do() -> None:
    with pytest.raises(TinykitError, match="not biases"):
        to_matrix(torch.zeros(3))
    with pytest.raises(TinykitError, match="take 1 or 2"):
        to_matrix(torch.zeros(3, 2), 3)  # type: ignore[arg-type]
    with pytest.raises(TinykitError, match="take shaping 1"):
        to_matrix(torch.zeros(3, 2, 5), 2)
    with pytest.raises(TinykitError, match=r"matrix of \(2, 12\)"):
        from_matrix(torch.zeros(3, 8), (2, 3, 2, 2), 1)

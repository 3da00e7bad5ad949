"""Ranges set by hand: the errors are those of the definition, and nothing else is quantized."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from tinykit import data
from tinykit.data.types import Dataset
from tinykit.graph.errors import TinykitError
from tinykit.nn.train import fit, tensors
from tinykit.nn.zoo import mlp
from tinykit.quant.ranges import Ranged, clip_gradients, symmetric_error


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return data.load("digits")


@pytest.fixture(scope="module")
def model(digits: Dataset) -> torch.nn.Module:
    made = mlp(digits.spec, 0.1, seed=3)
    fit(made, digits, 2, progress=False)
    return made


@given(
    st.lists(st.floats(-4, 4, width=32), min_size=1, max_size=30),
    st.floats(0.25, 4),
    st.integers(2, 8),
)
def test_symmetric_error_is_the_distance_to_the_nearest_level(
    values: list[float], end: float, bits: int
) -> None:
    x, top = np.array(values), 2 ** (bits - 1) - 1
    levels = np.arange(-top, top + 1) * (end / top)
    nearest = np.abs(x[:, None] - levels).min(axis=1) ** 2
    clipping, rounding = symmetric_error(x, end, bits)
    assert clipping + rounding == pytest.approx(nearest.mean(), abs=1e-6)
    if not np.any(np.abs(np.abs(x) - end) < 1e-5):
        assert clipping == pytest.approx(nearest[np.abs(x) > end].sum() / x.size, abs=1e-6)


def test_weights_alone_are_quantized(digits: Dataset, model: torch.nn.Module) -> None:
    ranged = Ranged.of(model, digits, "weights")
    layers = [m for m in model.modules() if isinstance(m, torch.nn.Linear)]
    assert ranged.tops == tuple(float(m.weight.detach().abs().max()) for m in layers)
    small = ranged.at(3, [0.5 * top for top in ranged.tops])
    x, _ = tensors(digits.test.x[:32], digits.test.y[:32])
    y = x.flatten(1)
    for k, (layer, top) in enumerate(zip(layers, ranged.tops, strict=True)):
        step = 0.5 * top / 3
        w = (layer.weight / step).round().clamp(-3, 3) * step
        y = F.linear(y, w, layer.bias)
        y = y.relu() if k < 2 else y
    assert torch.allclose(small(x), y, atol=1e-5)


def test_hidden_activations_alone_are_quantized(digits: Dataset, model: torch.nn.Module) -> None:
    ranged = Ranged.of(model, digits, "activations")
    assert len(ranged.tops) == 2
    small = ranged.at(2, [0.4 * top for top in ranged.tops])
    x, _ = tensors(digits.test.x[:32], digits.test.y[:32])
    layers = [m for m in model.modules() if isinstance(m, torch.nn.Linear)]
    y, beyond, count = x.flatten(1), 0, 0
    for layer, end in zip(layers, [0.4 * top for top in ranged.tops], strict=False):
        y = layer(y).relu()
        y = (y / (end / 3)).round().clamp(0, 3) * (end / 3)
    assert torch.allclose(small(x), layers[2](y), atol=1e-4)

    y, _ = tensors(digits.train.x, digits.train.y)
    y = y.flatten(1)
    for layer, end in zip(layers, [0.4 * top for top in ranged.tops], strict=False):
        y = layer(y).relu()
        beyond, count = beyond + int((y > end).sum()), count + y.numel()
        y = (y / (end / 3)).round().clamp(0, 3) * (end / 3)
    assert ranged.clipped(small) == pytest.approx(beyond / count, abs=1e-4)


@pytest.mark.parametrize("what", ["weights", "activations"])
def test_minmax_observes_the_largest_and_ends_are_kept(
    digits: Dataset, model: torch.nn.Module, what: str
) -> None:
    ranged = Ranged.of(model, digits, what)
    assert ranged.observed(4, "minmax") == pytest.approx(ranged.tops)
    for kind in ("clipped", "identity", "lsq"):
        ends = [0.3 * top for top in ranged.tops]
        assert ranged.ends(ranged.at(4, ends, kind)) == pytest.approx(ends, rel=1e-5)
    clipping, rounding = ranged.errors(ranged.at(8, ranged.tops))
    assert clipping == pytest.approx(0, abs=1e-9)
    assert 0 < rounding < 1e-3


def test_gradients_are_shortened_each_by_itself(model: torch.nn.Module) -> None:
    twin = mlp(data.load("digits").spec, 0.1, seed=3)
    twin.load_state_dict(model.state_dict())
    x = torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    clip_gradients(twin, 0.01)
    for net in (model, twin):
        (30 * net(x)).square().sum().backward()
    for free, held in zip(model.parameters(), twin.parameters(), strict=True):
        assert free.grad is not None
        assert held.grad is not None
        assert held.grad.norm() <= 0.01 * (1 + 1e-4)
        along = F.cosine_similarity(free.grad.flatten(), held.grad.flatten(), dim=0)
        assert along == pytest.approx(1, abs=1e-4)
    model.zero_grad()


def test_what_is_wrong_is_said(digits: Dataset, model: torch.nn.Module) -> None:
    with pytest.raises(TinykitError, match="weights, activations"):
        Ranged.of(model, digits, "biases")
    flat = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    with pytest.raises(TinykitError, match="no activations to quantize"):
        Ranged.of(flat, digits, "activations")

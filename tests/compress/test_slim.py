"""Layers in two against the layer with the product as its weight, and really smaller graphs."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

import tinykit as tk
from tinykit.compress.csteps.theta import Factors
from tinykit.compress.slim import replace_layers, saves, split_conv, split_linear
from tinykit.compress.views import Shaping, from_matrix, matrix_shape, to_matrix
from tinykit.data import Dataset
from tinykit.graph.errors import TinykitError


def factors(layer: Any, rank: int, shaping: Shaping = 1) -> Factors:
    """The best of this rank, or with luck the layer's own."""
    matrix = to_matrix(layer.weight.detach(), shaping)
    u, s, v = torch.linalg.svd(matrix, full_matrices=False)
    return Factors(tuple(matrix.shape), u[:, :rank] * s[:rank], v[:rank])


def dense(layer: Any, theta: Factors, shaping: Shaping = 1) -> Any:
    """The layer itself, with Δ(Θ) as its weight."""
    made = copy.deepcopy(layer)
    with torch.no_grad():
        made.weight.copy_(from_matrix(theta.decompress(), tuple(layer.weight.shape), shaping))
    return made


def numbers(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def assert_close(a: torch.Tensor, b: torch.Tensor) -> None:
    assert a.shape == b.shape
    assert (a - b).abs().max() <= 1e-5 * max(1.0, float(b.abs().max()))


pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


# torch says so of "same" with even kernels, of the layer itself as of those in its place
@pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")
@given(
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    stride=pairs,
    dilation=pairs,
    padding=st.sampled_from(["valid", "same", 0, 2, (0, 1), (2, 0), (1, 3)]),
    mode=st.sampled_from(["zeros", "zeros", "reflect", "replicate", "circular"]),
    channels=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    rank=st.integers(0, 3),
    shaping=st.sampled_from([1, 2]),
    bias=st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_a_convolution_in_two_is_the_convolution(
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    padding: Any,
    mode: str,
    channels: tuple[int, int],
    rank: int,
    shaping: Shaping,
    bias: bool,
) -> None:
    if padding == "same":
        stride = (1, 1)
    conv = nn.Conv2d(
        *channels, kernel, stride, padding, dilation, bias=bias, padding_mode=mode
    ).eval()
    theta = factors(conv, rank, shaping)
    rows, columns = matrix_shape(tuple(conv.weight.shape), shaping)
    assume(theta.rank == rank)
    x = torch.randn(2, channels[0], 15, 14)
    made = split_conv(conv, theta.left, theta.right, shaping)
    with torch.no_grad():
        assert_close(made(x), dense(conv, theta, shaping)(x))
    assert isinstance(made, nn.Sequential) == saves(rows, columns, rank)
    if isinstance(made, nn.Sequential):
        own = bias * channels[1]
        assert numbers(made) == own + max(rank, 1) * (rows + columns) < own + rows * columns
        assert not made.training


@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 6), st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_linear_layer_in_two(inputs: int, outputs: int, rank: int, bias: bool) -> None:
    linear = nn.Linear(inputs, outputs, bias=bias)
    theta = factors(linear, rank)
    made = split_linear(linear, theta.left, theta.right)
    x = torch.randn(3, inputs)
    with torch.no_grad():
        assert_close(made(x), dense(linear, theta)(x))
    assert isinstance(made, nn.Sequential) == saves(outputs, inputs, theta.rank)
    assert numbers(made) <= numbers(linear)
    made(x).sum().backward()
    assert all(p.grad is not None for p in made.parameters())
    assert all(p.grad is None for p in linear.parameters())


def test_which_way_each_convolution_of_scheme_2_looks() -> None:
    conv = nn.Conv2d(8, 16, (3, 5), stride=(2, 3), padding=(1, 2), dilation=(1, 2))
    theta = factors(conv, 4, 2)
    first, second = split_conv(conv, theta.left, theta.right, 2)  # type: ignore[misc]
    assert first.kernel_size == (1, 5)
    assert (first.stride, first.padding, first.dilation) == ((1, 3), (0, 2), (1, 2))
    assert second.kernel_size == (3, 1)
    assert (second.stride, second.padding, second.dilation) == ((2, 1), (1, 0), (1, 1))
    assert first.bias is None
    assert torch.equal(second.bias, conv.bias)


@pytest.fixture(scope="module")
def data() -> Dataset:
    return tk.data.load("digits")


@pytest.mark.parametrize("shaping", [1, 2])
def test_a_network_in_factors_is_a_smaller_graph(shaping: Shaping, data: Dataset) -> None:
    model = tk.zoo.lenet(data.spec, seed=3).eval()
    ranks = {"3": 4, "7.weight": 10, "9": 12, "11.weight": 9}  # the last would be no smaller
    layers: dict[str, Any] = {
        name: (factors(model.get_submodule(name.split(".")[0]), rank, shaping), shaping)
        for name, rank in ranks.items()
    }
    whole = copy.deepcopy(model)
    for name in ("3", "7", "9", "11"):
        theta = layers.get(name) or layers[f"{name}.weight"]
        setattr(whole, name, dense(model.get_submodule(name), theta[0], shaping))
    before = {name: p.clone() for name, p in model.state_dict().items()}
    state = torch.random.get_rng_state()
    small = replace_layers(model, layers)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(p, before[name]) for name, p in model.state_dict().items())

    assert [type(small.get_submodule(n)).__name__ for n in ("3", "7", "9", "11")] == [
        "Sequential",
        "Sequential",
        "Sequential",
        "Linear",
    ]
    x = torch.from_numpy(data.test.x[:40]).permute(0, 3, 1, 2)
    with torch.no_grad():
        assert_close(small(x), whole(x))
    graph, dense_graph = tk.to_graph(small), tk.to_graph(whole)
    # TFLite's layers always have a bias: zeros for the first of two; and the shape of a reshape
    assert graph.weight_bytes == 4 * (numbers(small) + 4 + 10 + 12) + 8
    assert graph.weight_bytes < dense_graph.weight_bytes / 2
    integer = tk.to_graph(small, calibrate=data)
    assert {t.dtype for _, t in integer.activations()} == {"int8"}
    assert integer.weight_bytes < tk.to_graph(whole, calibrate=data).weight_bytes / 1.8
    assert tk.evaluate(graph, data.subset(100)) == tk.evaluate(small, data.subset(100))


def test_places_of_a_layer() -> None:
    linear = nn.Linear(20, 20)
    theta = factors(linear, 2)
    alone = replace_layers(linear, {"weight": theta})
    assert isinstance(alone, nn.Sequential)
    twice = replace_layers(nn.Sequential(linear, nn.ReLU(), linear), {"0": theta})
    assert twice[0] is twice[2]  # type: ignore[index]
    linear.weight.requires_grad_(False)
    frozen = split_linear(linear, theta.left, theta.right)
    assert [p.requires_grad for p in frozen.parameters()] == [False, False, True]


def test_errors_name_the_layer() -> None:
    model = nn.Sequential(nn.Conv2d(4, 4, 3, groups=4), nn.ReLU(), nn.Linear(9, 9))
    theta = factors(model[2], 1)
    with pytest.raises(TinykitError, match=r"0\.weight: .*groups=1"):
        replace_layers(model, {"0.weight": theta})
    with pytest.raises(TinykitError, match="1: a ReLU"):
        replace_layers(model, {"1": theta})
    with pytest.raises(TinykitError, match="head: no such layer; there are 0, 2"):
        replace_layers(model, {"head": theta})
    with pytest.raises(TinykitError, match=r"2: factors .* 9 × 9"):
        replace_layers(model, {"2": Factors((9, 8), theta.left, theta.right[:, :8])})
    with pytest.raises(TinykitError, match="only Conv2d"):
        split_conv(nn.ConvTranspose2d(2, 2, 2), theta.left, theta.right)  # type: ignore[arg-type]

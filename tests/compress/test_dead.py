"""Units that make no difference removed: the same outputs from fewer numbers."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import prune

import tinykit as tk
from tinykit.compress.dead import drop_dead
from tinykit.data import Dataset, DataSpec
from tinykit.graph.errors import TinykitError


def numbers(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def lively(model: nn.Module, seed: int) -> nn.Module:
    """Biases and batch norms with numbers of their own, as after training."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for m in model.modules():
            if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d)):
                for t in (m.weight, m.bias, m.running_mean):
                    t.copy_(torch.randn(t.shape, generator=generator))  # type: ignore[union-attr]
                m.running_var.uniform_(0.5, 2, generator=generator)  # type: ignore[union-attr]
            elif isinstance(m, (nn.Conv2d, nn.Linear)) and m.bias is not None:
                m.bias.copy_(torch.randn(m.bias.shape, generator=generator))
    return model.eval()


def kill(layer: Any, *rows: int) -> None:
    with torch.no_grad():
        layer.weight[list(rows)] = 0


def mute(layer: Any, *columns: int) -> None:
    with torch.no_grad():
        layer.weight[:, list(columns)] = 0


def same(model: nn.Module, small: nn.Module, *shape: int) -> None:
    x = torch.randn(16, *shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        a, b = model(x), small(x)
    assert (a - b).abs().max() <= 1e-5 * max(1.0, float(a.abs().max()))


@given(
    seed=st.integers(0, 10**6),
    activation=st.sampled_from([nn.ReLU, nn.Sigmoid, nn.Hardswish, nn.Identity]),
    norm=st.booleans(),
    dead=st.lists(st.sets(st.integers(0, 8)), min_size=2, max_size=2),
    unread=st.sets(st.integers(0, 8)),
)
@settings(max_examples=60, deadline=None)
def test_mlps(
    seed: int, activation: type[nn.Module], norm: bool, dead: list[set[int]], unread: set[int]
) -> None:
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for inputs, outputs in ((6, 9), (9, 9)):
        layers += [nn.Linear(inputs, outputs, bias=seed % 2 == 0)]
        layers += [nn.BatchNorm1d(outputs)] * norm + [activation(), nn.Dropout()]
    model = lively(nn.Sequential(*layers, nn.Linear(9, 4, bias=False)), seed)
    linear: list[Any] = [m for m in model if isinstance(m, nn.Linear)]  # type: ignore[attr-defined]
    for layer, rows in zip(linear, dead, strict=False):
        kill(layer, *rows)
    mute(linear[2], *unread)
    before = copy.deepcopy(model.state_dict())
    small = drop_dead(model, shape=(6,))
    same(model, small, 6)
    assert all(torch.equal(t, before[k]) for k, t in model.state_dict().items())
    left: list[int] = [m.out_features for m in small.modules() if isinstance(m, nn.Linear)]
    assert left[1] == max(9 - len(dead[1] | unread), 1)
    assert left[0] <= max(9 - len(dead[0]), 1)
    assert left[2] == 4


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("value", [-2.0, 0.7])
def test_a_constant_goes_through_a_convolution_only_where_it_pads_nothing(
    padding: int, value: float
) -> None:
    model: Any = nn.Sequential(
        nn.Conv2d(2, 5, 3),
        nn.ReLU(),
        nn.MaxPool2d(2, padding=1),
        nn.Conv2d(5, 4, 3, padding=padding),
    )
    model.append(nn.Flatten()).append(nn.Linear(4 * (3 + 2 * padding) ** 2, 3))
    lively(model, 1)
    kill(model[0], 1, 3)
    model[0].bias.data[[1, 3]] = value
    kill(model[3], 0)
    small: Any = drop_dead(model, shape=(10, 10, 2))
    same(model, small, 2, 10, 10)
    exact = padding == 0 or value < 0  # relu makes it zero
    assert small[0].out_channels == small[3].in_channels == (3 if exact else 5)
    assert small[3].out_channels == 3
    assert small[5].in_features == 3 * (3 + 2 * padding) ** 2


def test_nothing_reads_a_channel_whatever_it_says() -> None:
    model: Any = nn.Sequential(nn.Conv2d(1, 6, 3), nn.Tanh(), nn.Conv2d(6, 4, 3, padding=1))
    lively(model, 2)
    mute(model[2], 0, 5)
    small: Any = drop_dead(model, shape=(8, 8, 1))
    same(model, small, 1, 8, 8)
    assert small[0].out_channels == 4


def test_what_lost_its_inputs_goes_too() -> None:
    """Unit 1 of the second layer reads only unit 0 of the first, which is constant."""
    model: Any = nn.Sequential(
        nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2)
    )
    lively(model, 3)
    kill(model[0], 0)
    model[0].bias.data[0] = 1.5
    model[2].weight.data[1] = torch.tensor([2.0, 0.0, 0.0])
    model[2].bias.data[1] = 0.25
    small: Any = drop_dead(model, (4,))
    same(model, small, 4)
    assert [m.out_features for m in small if isinstance(m, nn.Linear)] == [2, 2, 2]


class Own(nn.Module):
    """Functions in forward, a branch, a layer used twice."""

    input_shape = (9, 9, 2)

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 6, 3, padding=1)
        self.a = nn.Conv2d(6, 6, 1)
        self.b = nn.Conv2d(6, 6, 3, padding=1)
        self.twice = nn.Conv2d(6, 6, 1)
        self.last = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.stem(x))
        x = x + self.b(torch.relu(self.a(x)))
        x = self.twice(F.relu(self.twice(x)))
        x = torch.flatten(F.relu(x).mean((2, 3)), 1)
        out: torch.Tensor = self.last(x)
        return out


def test_branches_and_shared_layers_keep_their_channels() -> None:
    model: Any = lively(Own(), 4)
    for layer in (model.stem, model.a, model.b, model.twice):
        kill(layer, 1, 2)
        layer.bias.data[[1, 2]] = -1
    small: Any = drop_dead(model)
    same(model, small, 2, 9, 9)
    assert [small.stem.out_channels, small.b.out_channels, small.twice.out_channels] == [6, 6, 6]
    assert small.a.out_channels == small.b.in_channels == 4
    assert tk.to_graph(small).weight_bytes < tk.to_graph(model).weight_bytes


class Doubled(nn.ReLU):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) + x.mean()


@pytest.mark.parametrize(
    "between",
    [
        nn.Softmax(1),
        nn.LayerNorm(5),
        Doubled(),
        nn.BatchNorm1d(5, track_running_stats=False),
        nn.Sequential(nn.Unflatten(1, (5, 1)), nn.Flatten()),
    ],
)
def test_what_mixes_or_is_not_known_keeps_its_channels(between: nn.Module) -> None:
    model: Any = nn.Sequential(nn.Linear(3, 5), between, nn.Linear(5, 2)).eval()
    kill(model[0], 2)
    small: Any = drop_dead(model, (3,))
    assert small[0].out_features == 5
    same(model, small, 3)


def test_linear_layers_over_rows_are_left_alone() -> None:
    model: Any = nn.Sequential(nn.Linear(3, 5), nn.Flatten(), nn.Linear(20, 2))
    kill(model[0], 2)
    small: Any = drop_dead(model, (4, 3))
    same(model, small, 4, 3)
    assert small[0].out_features == 5


def test_a_hooked_layer_is_left_alone() -> None:
    model: Any = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))
    prune.l1_unstructured(model[0], "weight", 5)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        model[0].weight_orig[1] = 0
        model(torch.zeros(1, 3))  # makes a weight that can be copied
    small: Any = drop_dead(model, (3,))
    assert small[0].out_features == 5
    same(model, small, 3)


def test_errors() -> None:
    class Turns(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if x.sum() > 0 else -x

    with pytest.raises(TinykitError, match="shape="):
        drop_dead(nn.Linear(2, 2))
    with pytest.raises(TinykitError, match="cannot follow what Turns computes"):
        drop_dead(Turns(), (2,))
    with pytest.raises(TinykitError, match="cannot follow what Linear computes: mat1 and mat2"):
        drop_dead(nn.Linear(2, 2), (3,))


@pytest.mark.parametrize("name", tk.zoo.__all__)
@pytest.mark.parametrize("share", [0.3, 1.0])
def test_networks_of_the_zoo(name: str, share: float) -> None:
    spec = DataSpec("probe", (16, 16, 3), tuple("abcd"))
    model = lively(getattr(tk.zoo, name)(spec, width=0.25, seed=1), 5)
    generator = torch.Generator().manual_seed(7)
    layers: list[Any] = [m for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    for layer in layers[:-1]:
        dead = torch.rand(len(layer.weight), generator=generator) < share
        layer.weight.data[dead] = 0
    small = drop_dead(model)
    same(model, small, 3, 16, 16)
    assert numbers(small) < numbers(model)
    assert drop_dead(small).state_dict().keys() == small.state_dict().keys()
    assert numbers(drop_dead(small)) == numbers(small)
    # a float graph and an integer one come out smaller, too
    assert tk.to_graph(small).weight_bytes < tk.to_graph(model).weight_bytes


def test_a_sparse_mlp_as_an_integer_graph() -> None:
    data: Dataset = tk.data.load("digits")
    model: Any = tk.zoo.mlp(data.spec, width=0.3)
    tk.fit(model, data, epochs=2)
    model.eval()
    for layer in (model[1], model[3]):  # the weakest units of each, and single weights
        norms = layer.weight.detach().norm(dim=1)
        kill(layer, *norms.argsort()[: len(norms) // 2].tolist())
    small = drop_dead(model)
    integer, whole = tk.to_graph(small, calibrate=data), tk.to_graph(model, calibrate=data)
    assert integer.weight_bytes < 0.55 * whole.weight_bytes
    assert tk.evaluate(small, data) == pytest.approx(tk.evaluate(model, data), abs=0.004)

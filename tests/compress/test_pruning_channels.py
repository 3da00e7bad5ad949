"""Channels: removed and masked are the same network, and the removed one is smaller everywhere."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import tinykit as tk
from tinykit.compress.pruning import masked, masks_of, nonzero, parameters, pruned
from tinykit.compress.pruning.channels import Channels
from tinykit.compress.pruning.cut import example_of
from tinykit.data import Dataset
from tinykit.graph import TinykitError
from tinykit.nn import predict

NETS = ("ds_cnn", "resnet8", "mobilenet", "lenet", "mlp")


@pytest.fixture(scope="module")
def data() -> Dataset:
    return tk.data.load("digits")


def lively(model: nn.Module, seed: int) -> nn.Module:
    """Batch norm with statistics, factors and shifts as after training; all biases non-zero."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for m in model.modules():
            if isinstance(m, nn.BatchNorm2d):
                m.running_mean.normal_(0, 0.3, generator=random)  # type: ignore[union-attr]
                m.running_var.uniform_(0.3, 3, generator=random)  # type: ignore[union-attr]
                m.weight.uniform_(0.2, 2, generator=random)
                m.bias.normal_(0, 0.5, generator=random)
            elif getattr(m, "bias", None) is not None:
                m.bias.normal_(0, 0.2, generator=random)  # type: ignore[operator, union-attr]
    return model.eval()


def roots(model: nn.Module) -> list[str]:
    return [g.root for g in Channels(model, example_of(model)).groups]


def logits(model: nn.Module, count: int = 16) -> torch.Tensor:
    x = torch.rand(count, *example_of(model).shape[1:], generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        return model(x)


@settings(max_examples=30, deadline=None)
@given(
    name=st.sampled_from(NETS),
    seed=st.integers(0, 1000),
    amount=st.floats(0.05, 0.85),
    multiple=st.sampled_from([1, 4]),
    scope=st.sampled_from(["layer", "global"]),
    criterion=st.sampled_from(["magnitude", "random", "fpgm"]),
)
def test_removed_and_masked_are_the_same_network(
    name: str, seed: int, amount: float, multiple: int, scope: str, criterion: str
) -> None:
    spec = tk.data.load("digits").spec
    model = lively(getattr(tk.zoo, name)(spec, width=0.5, seed=seed), seed)
    how = {"criterion": criterion, "scope": scope, "multiple": multiple, "seed": seed}
    least = pruned(model, dict.fromkeys(roots(model), 0.999), multiple=multiple)
    if parameters(least) > (1 - amount) * parameters(model):
        with pytest.raises(TinykitError, match="cannot be removed by channels"):
            pruned(model, amount, **how)
        return
    small = pruned(model, amount, **how)
    sparse = masked(model, amount, **how)
    torch.testing.assert_close(logits(sparse), logits(small), rtol=0, atol=1e-5)
    assert parameters(small) <= (1 - amount) * parameters(model)
    assert parameters(sparse) == parameters(model)
    # what is masked is what is removed, number by number
    masks = masks_of(sparse)
    assert parameters(model) - masks.removed(sparse) == parameters(small)
    assert nonzero(sparse) <= parameters(small)
    left = dict(small.named_parameters())
    for name_, whole in sparse.named_parameters():
        kept = whole[masks.keep[name_]] if name_ in masks.keep else whole.flatten()
        assert torch.equal(kept, left[name_].flatten())


@pytest.mark.parametrize("name", NETS)
def test_masking_zeroes_a_channel_s_contribution(name: str, data: Dataset) -> None:
    """Each masked filter's output is zero after its batch norm, and nothing reads it."""
    model = lively(getattr(tk.zoo, name)(data.spec, width=0.5), 1)
    sparse = masked(model, 0.5)
    seen = 0
    for key, mask in masks_of(sparse).keep.items():
        if key.endswith("bias") and not mask.all():
            module = sparse.get_submodule(key.rpartition(".")[0])
            made = torch.zeros(0)

            def keep(_: nn.Module, __: object, output: torch.Tensor) -> None:
                nonlocal made
                made = output

            hook = module.register_forward_hook(keep)
            logits(sparse)
            hook.remove()
            assert float(made[:, ~mask].abs().max()) == 0.0
            seen += 1
    assert seen


@pytest.mark.parametrize("name", NETS)
def test_the_exported_graph_is_smaller_and_the_same(name: str, data: Dataset) -> None:
    model = lively(getattr(tk.zoo, name)(data.spec, width=0.5), 2)
    small = pruned(model, 0.6)
    before, after = tk.to_graph(model, softmax=False), tk.to_graph(small, softmax=False)
    target = tk.targets.load("stm32f446")
    assert after.weight_bytes < 0.45 * before.weight_bytes
    macs = [sum(row["macs"] for row in tk.profile(g, target).layers) for g in (before, after)]
    assert macs[1] < 0.75 * macs[0]
    x = data.test.x[:8]
    got = np.concatenate([after.run(image[None])[0] for image in x])
    np.testing.assert_allclose(got, predict(small, x), rtol=1e-4, atol=1e-4)


class Joined(nn.Module):
    """A concatenation that is flattened, which torch-pruning loses track of."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(1, 6, 1), nn.Conv2d(1, 4, 1)
        self.last = nn.Linear(640, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(torch.cat([self.one(x), self.two(x)], 1).flatten(1))


def test_what_the_dependency_graph_gets_wrong_is_told(data: Dataset) -> None:
    for how in (pruned, masked):
        with pytest.raises(TinykitError, match=r"'one', 'two'.*torch-pruning"):
            how(Joined(), 0.5, data=data)


class Odd(nn.Module):
    """What the zoo lacks: groups, a transposed convolution, a concatenation, dead ends, reuse."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 8, 3, padding=1)
        self.grouped = nn.Conv2d(8, 12, 3, padding=1, groups=2)
        self.slope = nn.PReLU(12)
        self.up = nn.ConvTranspose2d(12, 6, 2, stride=2)
        self.norm = nn.BatchNorm2d(6)
        self.side = nn.Conv2d(1, 4, 1)
        self.mix = nn.Conv2d(10, 7, 1)
        self.last = nn.Linear(7 * 16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(self.up(self.slope(self.grouped(torch.relu(self.first(x))))))
        both = torch.cat([y, nn.functional.interpolate(self.side(x), scale_factor=2.0)], 1)
        mixed = self.mix(torch.sigmoid(both))
        return self.last(nn.functional.avg_pool2d(torch.sigmoid(mixed), 4).flatten(1))


@pytest.mark.parametrize("amount", [0.3, {"first": 0.5}, {"grouped": 0.5, "side": 0.25, "up": 0.5}])
@pytest.mark.parametrize("criterion", ["magnitude", "taylor", "fpgm", "lamp"])
def test_other_layers(amount: float, criterion: str, data: Dataset) -> None:
    if criterion == "lamp" and isinstance(amount, dict):
        pytest.skip("by layer it is magnitude")
    torch.manual_seed(3)
    model = lively(Odd(), 3)
    how = {"criterion": criterion, "multiple": 1, "data": data.subset(64)}
    small, sparse = pruned(model, amount, **how), masked(model, amount, **how)
    x = torch.rand(4, 1, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(sparse(x), small(x), rtol=0, atol=1e-5)
    assert parameters(model) - masks_of(sparse).removed(sparse) == parameters(small)
    assert small.grouped.in_channels % 2 == small.grouped.out_channels % 2 == 0
    if isinstance(amount, dict):
        for name, share in amount.items():
            layer = small.get_submodule(name)
            assert layer.out_channels == model.get_submodule(name).out_channels * (1 - share)


def test_amounts_by_layer(data: Dataset) -> None:
    model = tk.zoo.resnet8(data.spec)
    small = pruned(model, {"1.first.0": 0.5, "2.short.0": 0.25})
    assert small.get_submodule("1.first.0").out_channels == 8
    assert small.get_submodule("2.second.0").out_channels == 24  # added to what is named
    assert small.get_submodule("3.first.1").out_channels == 64
    same = pruned(model, {"2.second.0": 0.25, "2.short.0": 0.25})
    assert same.get_submodule("2.second.0").out_channels == 24
    with pytest.raises(TinykitError, match=r"'2.second.0'.*'2.short.0'.*can only go together"):
        pruned(model, {"2.second.0": 0.5, "2.short.0": 0.25})
    with pytest.raises(TinykitError, match=r"names layer '6'.*there are '3.short.0'"):
        pruned(model, {"6": 0.5})  # its outputs are the classes
    # one channel, or `multiple` of them, stay
    assert pruned(model, {"1.first.0": 0.99}).get_submodule("1.first.0").out_channels == 4
    least = pruned(model, {"1.first.0": 0.99}, multiple=1)
    assert least.get_submodule("1.first.0").out_channels == 1
    assert logits(least).shape == (16, 10)


def test_only_a_model_that_says_its_shape_needs_no_data() -> None:
    with pytest.raises(TinykitError, match="pass data"):
        pruned(nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(144, 10)), 0.5)


def test_masks_shrink_with_the_channels(data: Dataset) -> None:
    """Channels taken from a sparse network: what was zero is zero still, and held."""
    sparse = masked(tk.zoo.resnet8(data.spec), 0.5, structure="unstructured")
    small = pruned(sparse, 0.5)
    masks = masks_of(small)
    there = dict(small.named_parameters())
    assert all(there[n].shape == m.shape for n, m in masks.keep.items())
    before = nonzero(small)
    with torch.no_grad():
        for p in small.parameters():
            p.add_(1.0)
    masks.hold(small)
    assert all(bool(((there[n] == 0) == ~m).all()) for n, m in masks.keep.items())
    assert before <= nonzero(small)


def test_the_graph_looks_at_a_model_without_changing_it(data: Dataset) -> None:
    model = tk.zoo.mobilenet(data.spec, width=0.5).train()
    first = next(model.parameters())
    first.requires_grad_(False)
    state = copy.deepcopy(model.state_dict())
    channels = Channels(model, example_of(model))
    assert model.training
    assert not first.requires_grad
    assert all(torch.equal(state[k], v) for k, v in model.state_dict().items())
    makers = [name for g in channels.groups for name in g.makers]
    assert len(makers) == len(set(makers)) == 17  # all convolutions, not the classes

"""Criteria against the papers' formulas, written as plain loops, and against the loss itself."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import tinykit as tk
from tinykit.compress.pruning import Criterion
from tinykit.compress.pruning.channels import Channels
from tinykit.compress.pruning.criteria import Context, criterion
from tinykit.compress.pruning.cut import example_of
from tinykit.data import Dataset
from tinykit.graph import TinykitError
from tinykit.nn.train import tensors


@pytest.fixture(scope="module")
def data() -> Dataset:
    return tk.data.load("digits")


@pytest.fixture(scope="module")
def model(data: Dataset) -> nn.Module:
    model = tk.zoo.resnet8(data.spec, width=0.5)
    tk.fit(model, data.subset(400), epochs=2)
    return model


def weight_scores(name: str, model: nn.Module, data: Dataset, key: str) -> torch.Tensor:
    score = criterion(name, "weights")
    return score.score(lambda v: v[key].reshape(-1, 1), Context(model, data, 0))


def test_lamp_is_the_paper_s_formula() -> None:
    """score(u) = W[u]² / Σ_{v ≥ u} W[v]², weights sorted ascending by magnitude."""
    weights = torch.randn(40, generator=torch.Generator().manual_seed(0))
    square = sorted((float(w) ** 2, at) for at, w in enumerate(weights))
    want = np.zeros(40)
    for u in range(40):
        want[square[u][1]] = square[u][0] / sum(square[v][0] for v in range(u, 40))
    layer = nn.Linear(40, 1)
    with torch.no_grad():
        layer.weight[0] = weights
    got = criterion("lamp", "weights").score(
        lambda v: v["weight"].reshape(-1, 1), Context(layer, None, 0)
    )
    np.testing.assert_allclose(got, want, rtol=1e-5)
    assert float(got.max()) == pytest.approx(1)


def test_lamp_ranks_layers_together() -> None:
    """A layer's scale does not matter; its own distribution does."""
    from tinykit.compress.pruning import masked

    model = nn.Sequential(nn.Linear(30, 20), nn.Linear(20, 30))
    scaled = copy.deepcopy(model)
    with torch.no_grad():
        scaled[0].weight *= 1000
    for net in (model, scaled):
        small = masked(net, 0.6, structure="unstructured", criterion="lamp")
        counts = [int((m.weight == 0).sum()) for m in small]
        if net is model:
            first = counts
    assert counts == first
    assert sum(counts) == 720


def batches(data: Dataset) -> list[tuple[torch.Tensor, torch.Tensor]]:
    x, y = tensors(*data.train.take(512, 0))
    return list(zip(x.double().split(32), y.split(32), strict=True))


def test_taylor_of_weights_is_the_loss_s_change(model: nn.Module, data: Dataset) -> None:
    """Against central differences: scale one weight by 1 ± h, in float64."""
    key = "2.first.1.weight"
    scores = weight_scores("taylor", model, data, key)
    exact = copy.deepcopy(model).double().eval()
    weight = exact.get_parameter(key)
    parts, h = batches(data), 1e-4
    for at in (0, 37, 200, int(scores.argmax())):
        total = 0.0
        value = weight.detach().flatten()[at].item()
        for x, y in parts:
            loss = []
            for factor in (1 + h, 1 - h):
                with torch.no_grad():
                    weight.view(-1)[at] = value * factor
                    loss.append(float(F.cross_entropy(exact(x), y)))
            total += ((loss[0] - loss[1]) / (2 * h)) ** 2
        with torch.no_grad():
            weight.view(-1)[at] = value
        assert float(scores[at]) == pytest.approx(total / len(parts), rel=1e-3, abs=1e-12)


def test_taylor_of_channels_is_the_loss_s_change(model: nn.Module, data: Dataset) -> None:
    """Fade one channel, by scaling what reads it; and remove one that was tiny, altogether."""
    exact = copy.deepcopy(model).double().eval()
    channels = Channels(model, example_of(model, data))
    reads = {g.root: [p for p in g.parts if p.reads] for g in channels.groups}
    group = next(g for g in channels.groups if len(g.makers) > 1 and len(reads[g.root]) > 1)
    raw = criterion("taylor")
    raw.comparable = lambda score: score  # type: ignore[method-assign]
    scores = channels.scores(raw, Context(model, data, 0))[group.root]
    readers = reads[group.root]
    parts, h = batches(data), 1e-4
    for channel in (0, 5):

        def losses(factor: float, net: nn.Module, channel: int = channel) -> np.ndarray:
            faded = copy.deepcopy(net)
            with torch.no_grad():
                for part in readers:
                    at = [i for i, u in zip(part.index, part.unit, strict=True) if u == channel]
                    faded.get_parameter(f"{part.name}.weight")[:, at] *= factor
                return np.array([float(F.cross_entropy(faded(x), y)) for x, y in parts])

        slope = (losses(1 + h, exact) - losses(1 - h, exact)) / (2 * h)
        assert float(scores[channel]) == pytest.approx(float(np.mean(slope**2)), rel=1e-3)
        # zeroing: to first order the same, the better the smaller the channel is
        tiny = copy.deepcopy(model)
        with torch.no_grad():
            for part in readers:
                at = [i for i, u in zip(part.index, part.unit, strict=True) if u == channel]
                tiny.get_parameter(f"{part.name}.weight")[:, at] *= 1e-3
        small = Channels(tiny, example_of(model, data)).scores(raw, Context(tiny, data, 0))
        net = copy.deepcopy(tiny).double().eval()
        change = losses(0.0, net) - losses(1.0, net)
        assert float(small[group.root][channel]) == pytest.approx(
            float(np.mean(change**2)), rel=0.05
        )


def test_gradients_leave_the_model_alone(data: Dataset) -> None:
    model = tk.zoo.lenet(data.spec).train()
    next(model.parameters()).requires_grad_(False)
    before = copy.deepcopy(model.state_dict())
    Context(model, data.subset(100), 0).products()
    assert model.training
    assert all(p.grad is None for p in model.parameters())
    assert [p.requires_grad for p in model.parameters()][:2] == [False, True]
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


def test_fpgm_is_the_sum_of_distances(model: nn.Module, data: Dataset) -> None:
    channels = Channels(model, example_of(model, data))
    raw = criterion("fpgm")
    raw.comparable = lambda score: score  # type: ignore[method-assign]
    scores = channels.scores(raw, Context(model, data, 0))
    seen = 0
    for group in channels.groups:
        filters = np.concatenate(
            [
                model.get_parameter(f"{name}.weight").detach().double().flatten(1).numpy()
                for name in group.makers
            ],
            axis=1,
        )
        want = [sum(np.sqrt(((a - b) ** 2).sum()) for b in filters) for a in filters]
        np.testing.assert_allclose(scores[group.root], want, rtol=1e-6)
        seen += len(group.makers)
    assert seen == 9  # all convolutions of ResNet-8


def test_fpgm_removes_the_filter_between_the_others(data: Dataset) -> None:
    """What the norm would keep: a large filter that is the mean of two others."""
    from tinykit.compress.pruning import pruned

    model = nn.Sequential(nn.Conv2d(1, 4, 1), nn.Flatten(), nn.Linear(4 * 64, 10))
    with torch.no_grad():
        model[0].weight[:, 0, 0, 0] = torch.tensor([0.5, 9.0, 10.0, 11.0])
    for name, gone in (("fpgm", 9.0), ("magnitude", 0.5)):
        with torch.no_grad():
            model[2].weight.fill_(0.1)
        small = pruned(model, {"0": 0.25}, criterion=name, multiple=1, data=data)
        assert gone not in small[0].weight.flatten().tolist()
        assert small[0].out_channels == 3


def test_magnitude_of_channels_is_torch_pruning_s(model: nn.Module, data: Dataset) -> None:
    import torch_pruning as tp

    channels = Channels(model, example_of(model, data))
    scores = channels.scores(criterion("magnitude"), Context(model, data, 0))
    for group in channels.groups:
        root = model.get_submodule(group.root)
        found = channels.graph.get_pruning_group(
            root, tp.prune_conv_out_channels, list(range(group.channels))
        )
        want = tp.importance.GroupMagnitudeImportance()(found)
        np.testing.assert_allclose(scores[group.root], want, rtol=1e-5)


def test_a_criterion_of_one_s_own(data: Dataset) -> None:
    from tinykit.compress.pruning import masked

    class Last(Criterion):
        name = "last"

        def score(self, gather, context) -> torch.Tensor:  # type: ignore[no-untyped-def]
            return torch.arange(len(gather(context.weights)), 0, -1).double()

    try:
        model = nn.Sequential(nn.Linear(10, 4))
        small = masked(model, 0.5, structure="unstructured", criterion="last")
        assert (small[0].weight == 0).tolist() == [[False] * 10] * 2 + [[True] * 10] * 2
    finally:
        del Criterion.known["last"]
    with pytest.raises(TinykitError, match="not 'last'"):
        criterion("last")

"""Schedules: how much is gone when, that it stays gone, and what is trained in between."""

from __future__ import annotations

import copy
import itertools

import numpy as np
import pytest
import torch
from torch import nn

import tinykit as tk
from tinykit.compress import finetune
from tinykit.compress.pruning import masks_of, nonzero, parameters
from tinykit.compress.pruning.schedules import after_round, cubic
from tinykit.data import Dataset
from tinykit.graph import TinykitError
from tinykit.nn import predict


@pytest.fixture(scope="module")
def data() -> Dataset:
    return tk.data.load("digits").subset(320)


@pytest.fixture(scope="module")
def trained(data: Dataset) -> tuple[nn.Module, dict[str, torch.Tensor]]:
    """A network and its initial state."""
    model = tk.zoo.ds_cnn(data.spec, width=0.25)
    start = copy.deepcopy(model.state_dict())
    tk.fit(model, data, epochs=3)
    return model, start


def weights(model: nn.Module) -> torch.Tensor:
    found = [m.weight.flatten() for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    return torch.cat(found).detach()


def names(model: nn.Module) -> list[str]:
    return [n for n, m in model.named_modules() if isinstance(m, (nn.Conv2d, nn.Linear))]


def test_the_cubic_is_the_paper_s() -> None:
    """s_t = s_f + (s_i − s_f)(1 − (t − t₀)/(nΔt))³ with s_i = 0."""
    for t in range(11):
        assert cubic(0.9, t / 10) == pytest.approx(0.9 + (0 - 0.9) * (1 - t / 10) ** 3)
    assert cubic(0.9, 0) == 0
    assert cubic(0.9, 1.5) == 0.9


def test_rounds_remove_equal_shares_of_the_rest() -> None:
    left = [1 - after_round(0.9, k, 4) for k in range(5)]
    np.testing.assert_allclose(np.divide(left[1:], left[:-1]), 0.1**0.25)
    assert after_round(0.9, 4, 4) == 0.9


def watch(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, float]]:
    """(what, share of zero weights) at each step of all training."""
    seen: list[tuple[str, float]] = []
    fit = finetune.fit

    def watched(model, data, epochs, *, on_step=None, **kwargs):  # type: ignore[no-untyped-def]
        def step() -> None:
            if on_step:
                on_step()
            seen.append((kwargs["what"], float((weights(model) == 0).double().mean())))

        return fit(model, data, epochs, on_step=step, **kwargs)

    monkeypatch.setattr(finetune, "fit", watched)
    return seen


def test_gradual_follows_the_cubic(
    trained: tuple[nn.Module, dict], data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = watch(monkeypatch)
    scheme = tk.Prune(0.8, structure="unstructured", schedule="gradual", epochs=6)
    small = tk.compress(trained[0], data, scheme)
    shares = [share for _, share in seen]
    assert len(shares) == 30
    assert all(b >= a for a, b in itertools.pairwise(shares))
    # 20 updates in the first two thirds: one a step here, none later
    for step, share in enumerate(shares[:20], 1):
        assert share == pytest.approx(cubic(0.8, step / 20), abs=1e-3)
    assert shares[20:] == [pytest.approx(0.8, abs=1e-3)] * 10
    assert float((weights(small) == 0).double().mean()) == pytest.approx(0.8, abs=1e-3)


def test_gradual_channels_are_masked_then_gone(
    trained: tuple[nn.Module, dict], data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = watch(monkeypatch)
    model = trained[0]
    scheme = tk.Prune(0.6, schedule="gradual", epochs=6, multiple=1, criterion="taylor")
    small = tk.compress(model, data, scheme)
    assert 0.35 < parameters(small) / parameters(model) <= 0.4
    shares = [share for _, share in seen]
    assert all(b >= a for a, b in itertools.pairwise(shares))
    assert 0 < shares[0] < shares[10] < shares[-1]
    assert nonzero(small) > 0.99 * parameters(small)
    assert not masks_of(small).keep
    assert tk.to_graph(small).weight_bytes < 0.45 * tk.to_graph(model).weight_bytes
    assert predict(small, data.test.x).shape == (360, 10)
    without = tk.compress(model, data, tk.Prune(0.6, schedule="gradual", epochs=0, multiple=1))
    once = tk.compress(model, data, tk.Prune(0.6, epochs=0, multiple=1))
    np.testing.assert_array_equal(predict(without, data.test.x), predict(once, data.test.x))


@pytest.mark.parametrize("structure", ["unstructured", "2x2", "channel"])
def test_rewind_goes_back_to_the_early_weights(
    structure: str, trained: tuple[nn.Module, dict], data: Dataset
) -> None:
    """With no training after it, what is left is the start, at the places the end chose."""
    model, start = trained
    scheme = tk.Prune(0.7, structure=structure, schedule="rewind", rewind_to=start, epochs=0)
    small = tk.compress(model, data, scheme)
    early = tk.zoo.ds_cnn(data.spec, width=0.25)
    early.load_state_dict(start)
    chosen = tk.compress(model, data, tk.Prune(0.7, structure=structure, epochs=0))
    if structure == "channel":
        # the filters that stay are filters of the start
        first = small[0][0].weight.flatten(1)
        rows = {tuple(r) for r in early[0][0].weight.flatten(1).tolist()}
        assert all(tuple(r) in rows for r in first.tolist())
        assert parameters(small) == parameters(chosen)
        return
    keep = weights(chosen) != 0
    assert torch.equal(weights(small), weights(early) * keep)


def test_rewind_in_rounds_trains_each_ticket(
    trained: tuple[nn.Module, dict], data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = watch(monkeypatch)
    model, start = trained
    scheme = tk.Prune(
        0.75, structure="unstructured", schedule="rewind", rewind_to=start, rounds=2, epochs=2
    )
    before = {k: v.clone() for k, v in start.items()}
    small = tk.compress(model, data, scheme)
    assert [s for _, s in seen] == [pytest.approx(0.5, abs=1e-3)] * 10 + [
        pytest.approx(0.75, abs=1e-3)
    ] * 10
    assert all(torch.equal(before[k], v) for k, v in start.items())
    # trained from the start: near it, and no longer there
    keep = weights(small) != 0
    first = torch.cat([start[f"{n}.weight"].flatten() for n in names(small)])
    assert 0 < float((weights(small) - first)[keep].abs().mean()) < 0.1
    seen.clear()
    tk.compress(model, data.subset(64), tk.Prune(
        structure="2:4", schedule="rewind", rewind_to=start
    ))  # fmt: skip
    assert len(seen) == 60, "without epochs it trains as long as from scratch"


def test_what_one_cannot_go_back_to(trained: tuple[nn.Module, dict], data: Dataset) -> None:
    model, start = trained
    other = tk.zoo.ds_cnn(data.spec, width=0.5).state_dict()
    for state, why in (
        (model.state_dict(), "nothing to go back to; a state_dict changes with its model"),
        ({}, "no state of this model: '0.0.weight' is in one of them alone"),
        (other, r"'0.0.weight' is \(32, 1, 3, 3\), the model's is \(16, 1, 3, 3\)"),
    ):
        with pytest.raises(TinykitError, match=why):
            tk.compress(model, data, tk.Prune(0.5, schedule="rewind", rewind_to=state))
    assert start


@pytest.mark.parametrize("structure", ["unstructured", "2:4", "1x4", "pattern"])
def test_zeros_survive_quantization(
    structure: str, trained: tuple[nn.Module, dict], data: Dataset
) -> None:
    amount = 0.6 if structure in ("unstructured", "1x4") else None
    scheme = tk.Prune(amount, structure=structure, epochs=1)
    sparse = tk.compress(trained[0], data, scheme)
    both = tk.compress(sparse, data, tk.Quantize(epochs=2))
    masks = masks_of(sparse).keep
    assert set(masks) == set(masks_of(both).keep)
    for name, mask in masks.items():
        assert float(both.get_parameter(name).detach()[~mask].abs().max()) == 0.0
    chained = tk.compress(trained[0], data, scheme + tk.Quantize(epochs=2))
    graph = tk.to_graph(chained)
    stored = [graph.tensors[op.inputs[1]].data for op in graph.ops if len(op.inputs) == 3]  # type: ignore[index]
    zeros = sum(int((t == 0).sum()) for t in stored if t is not None)
    assert zeros >= sum(int((~m).sum()) for m in masks.values())


def test_masked_channels_survive_batch_norm_s_folding(
    trained: tuple[nn.Module, dict], data: Dataset
) -> None:
    """Folding gives convolutions a bias, which training would bring back to life."""
    from tinykit.compress.pruning import masked

    sparse = masked(trained[0], 0.5)
    both = tk.compress(sparse, data, tk.Quantize(epochs=2))
    masks = masks_of(sparse).keep
    biases = [n for n, m in masks.items() if n.endswith("bias") and not m.all()]
    # batch norms are gone, folded into the convolutions before them
    convolutions = {n for n, m in both.named_modules() if isinstance(m, nn.Conv2d)}
    held = [n for n in biases if n.removesuffix(".bias") in convolutions]
    assert len(held) == 9, "one for each convolution"
    for name in held:
        assert float(both.get_parameter(name).detach()[~masks[name]].abs().max()) == 0.0


def test_a_weight_that_is_zero_by_chance_may_come_back(data: Dataset) -> None:
    model = tk.zoo.mlp(data.spec, width=0.1)
    sparse = tk.compress(model, data, tk.Prune(0.5, structure="unstructured", epochs=0))
    mask = masks_of(sparse).keep["1.weight"]
    at = mask.nonzero()[-1].tolist()
    with torch.no_grad():
        sparse[1].weight[at[0], at[1]] = 0.0
    tuned = tk.compress(sparse, data, tk.Prune(0.5, structure="unstructured", epochs=2))
    assert int((weights(tuned) == 0).sum()) == int((~torch.cat(
        [m.flatten() for n, m in masks_of(tuned).keep.items() if n.endswith("weight")]
    )).sum())  # fmt: skip


def test_same_seed_same_result(trained: tuple[nn.Module, dict], data: Dataset) -> None:
    model, start = trained
    for scheme in (
        tk.Prune(0.6, structure="1x4", criterion="random", schedule="gradual", epochs=1),
        tk.Prune(0.6, schedule="rewind", rewind_to=start, criterion="taylor", epochs=1),
    ):
        one, same = (tk.compress(model, data, scheme, seed=4).state_dict() for _ in range(2))
        assert all(torch.equal(one[k], same[k]) for k in one)

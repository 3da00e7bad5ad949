"""The workbench: what it says of a cut is what the cut network does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import tinykit as tk
from tinykit.compress.pruning import masked, parameters, pruned
from tinykit.compress.workbench import Workbench
from tinykit.data import Dataset, Split


@pytest.fixture(scope="module")
def data() -> Dataset:
    digits = tk.data.load("digits")
    few = [Split(part.x[:120], part.y[:120]) for part in (digits.train, digits.val, digits.test)]
    return Dataset(digits.name, digits.spec, *few)


@pytest.fixture(scope="module", params=["lenet", "ds_cnn", "resnet8"])
def model(request: pytest.FixtureRequest, data: Dataset) -> nn.Module:
    made: nn.Module = getattr(tk.zoo, request.param)(data.spec, width=0.5, seed=1)
    tk.fit(made, data, epochs=2, progress=False)
    return made


@pytest.mark.parametrize("criterion", ["magnitude", "taylor", "fpgm", "random"])
def test_channels_are_counted_and_measured_as_if_they_were_removed(
    model: nn.Module, data: Dataset, criterion: str
) -> None:
    bench = Workbench(model, data, "channel", criterion)
    ratios = dict(zip(bench.layers, [0.5, 0.25, 0.6, 0.3, 0.5, 0.7], strict=False))
    trial = bench.try_out(ratios)
    small = pruned(model, ratios, criterion=criterion, multiple=1, data=data)
    assert trial.parameters == parameters(small) < bench.parameters
    assert trial.macs == tk.to_graph(small).macs < bench.macs
    assert trial.accuracy == pytest.approx(tk.evaluate(small, data), abs=1 / 120)
    for name, module in small.named_modules():
        if name in trial.kept:
            assert int(trial.kept[name].sum()) == module.weight.numel()  # type: ignore[operator,union-attr]


@pytest.mark.parametrize("structure", ["unstructured", "1x4"])
@pytest.mark.parametrize("criterion", ["magnitude", "taylor", "lamp", "random"])
def test_zeros_are_those_of_prune(
    model: nn.Module, data: Dataset, structure: str, criterion: str
) -> None:
    bench = Workbench(model, data, structure, criterion)
    trial = bench.try_out(0.6)
    for seed in (0, 0):  # the same again: nothing is left of the trial before
        other = masked(model, 0.6, structure=structure, criterion=criterion, data=data, seed=seed)
        assert trial.accuracy == pytest.approx(tk.evaluate(other, data))
        for name, kept in trial.kept.items():
            zero = other.get_submodule(name).weight == 0  # type: ignore[operator]
            assert np.array_equal(~kept, zero.numpy()), name
        trial = bench.try_out(0.6)
    assert trial.macs == bench.macs == tk.to_graph(model).macs
    assert trial.parameters == bench.parameters - sum((~k).sum() for k in trial.kept.values())


def test_fixed_structures_take_the_layers_that_fit(model: nn.Module, data: Dataset) -> None:
    bench = Workbench(model, data, "2:4")
    assert bench.fixed == 0.5
    trial = bench.try_out(dict.fromkeys(bench.layers, 0.5))
    other = masked(model, structure="2:4", data=data)
    for name, kept in trial.kept.items():
        assert np.array_equal(~kept, (other.get_submodule(name).weight == 0).numpy())  # type: ignore[operator]
        if name not in bench.layers:
            assert kept.all()


@pytest.mark.parametrize("structure", ["unstructured", "channel"])
def test_a_layer_alone_is_what_the_scan_says(
    model: nn.Module, data: Dataset, structure: str
) -> None:
    bench = Workbench(model, data, structure)
    shares: list[float] = []
    scan = bench.scan((0.3, 0.8), tick=lambda share, what: shares.append(share or 0))
    assert scan.layers == bench.layers
    assert shares == pytest.approx(np.arange(1, len(shares) + 1) / len(shares))
    assert len(shares) == 2 * len(scan.layers)
    for row, name in enumerate(scan.layers):
        for column, ratio in enumerate(scan.ratios):
            trial = bench.try_out({name: ratio}, split="val")
            assert trial.accuracy == pytest.approx(scan.accuracy[row, column])
            assert trial.removed[name] == pytest.approx(scan.removed[row, column])
            assert sum(trial.removed.values()) == pytest.approx(trial.removed[name])


def test_training_what_is_left_is_what_compress_does(data: Dataset) -> None:
    model = tk.zoo.lenet(data.spec, width=0.5, seed=1)
    tk.fit(model, data, epochs=2, progress=False)
    before = [p.clone() for p in model.parameters()]
    bench = Workbench(model, data, "unstructured")
    accuracy = bench.finetuned(bench.try_out(0.5), 2)
    small = tk.compress(model, data, tk.Prune(0.5, "unstructured", epochs=2), progress=False)
    assert accuracy == pytest.approx(tk.evaluate(small, data))
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_work_can_be_stopped(data: Dataset) -> None:
    bench = Workbench(tk.zoo.lenet(data.spec, width=0.5), data, "unstructured")

    def stop(share: float | None, what: str) -> None:
        raise KeyError(what)

    with pytest.raises(KeyError):
        bench.scan(tick=stop)
    with pytest.raises(KeyError):
        bench.finetuned(bench.try_out(0.5), 1, tick=stop)
    assert bench.try_out({}).parameters == bench.parameters


@pytest.mark.parametrize(
    ("structure", "criterion", "amount", "words"),
    [
        ("unstructured", "fpgm", 0.5, "whole filters"),
        ("2:4", "lamp", 0.5, "as magnitude does"),
        ("unstructured", "magnitude", {"attic": 0.5}, "'attic'"),
        ("channel", "magnitude", {"0": 1.5}, "1.5"),
        ("weights", "magnitude", 0.5, "structures"),
    ],
)
def test_mistakes_are_told(
    data: Dataset, structure: str, criterion: str, amount: Any, words: str
) -> None:
    with pytest.raises(tk.TinykitError, match=words):
        Workbench(tk.zoo.lenet(data.spec), data, structure, criterion).try_out(amount)

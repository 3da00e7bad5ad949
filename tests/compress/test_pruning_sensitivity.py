"""The scan says what pruning one layer does, and what it proposes keeps its promise."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

import tinykit as tk
from tinykit.compress.pruning import Sensitivity, masked, nonzero, parameters, pruned, sensitivity
from tinykit.data import Dataset
from tinykit.graph import TinykitError


@pytest.fixture(scope="module")
def data() -> Dataset:
    return tk.data.load("digits")


@pytest.fixture(scope="module")
def model(data: Dataset) -> nn.Module:
    model = tk.zoo.resnet8(data.spec)
    tk.fit(model, data, epochs=4)
    return model


@pytest.fixture(scope="module")
def scan(model: nn.Module, data: Dataset) -> Sensitivity:
    return sensitivity(model, data, (0.25, 0.5, 0.9))


def test_each_entry_is_one_layer_pruned(model: nn.Module, data: Dataset, scan: Sensitivity) -> None:
    """Measured again with the channels really gone; the scan masks them."""
    assert scan.baseline == tk.evaluate(model, data, "val")
    assert scan.layers == ("0.0", "1.first.0", "2.first.1", "2.short.0", "3.first.1", "3.short.0")
    for i, layer in enumerate(scan.layers):
        for j, ratio in enumerate(scan.ratios):
            small = pruned(model, {layer: ratio})
            assert scan.accuracy[i, j] == tk.evaluate(small, data, "val")
            share = parameters(small) / parameters(model)
            assert scan.left({layer: ratio}) == pytest.approx(share, rel=1e-9)
            gone = (
                1
                - small.get_submodule(layer).out_channels / model.get_submodule(layer).out_channels
            )
            assert scan.removed[i, j] == pytest.approx(gone)


@pytest.mark.parametrize("structure", ["unstructured", "1x4", "2:4", "pattern"])
def test_structures(structure: str, model: nn.Module, data: Dataset) -> None:
    scan = sensitivity(
        model, data, (0.5, 0.8) if structure in ("unstructured", "1x4") else None,
        structure=structure, split="test",
    )  # fmt: skip
    for i, layer in enumerate(scan.layers):
        ratio = scan.ratios[-1]
        small = masked(model, {layer: ratio}, structure=structure)
        assert scan.accuracy[i, -1] == tk.evaluate(small, data)
        assert nonzero(small) / nonzero(model) == pytest.approx(scan.left({layer: ratio}), abs=1e-3)
    every = dict.fromkeys(scan.layers, scan.ratios[-1])
    small = masked(model, every, structure=structure)
    assert nonzero(small) / nonzero(model) == pytest.approx(scan.left(every), abs=1e-3)


def test_it_leaves_the_model_alone_and_repeats(data: Dataset) -> None:
    model = tk.zoo.lenet(data.spec).train()
    state = copy.deepcopy(model.state_dict())
    one, same = (
        sensitivity(model, data, (0.5,), criterion=c, structure="unstructured", seed=3)
        for c in ("random", "random")
    )
    np.testing.assert_array_equal(one.accuracy, same.accuracy)
    assert model.training
    assert not hasattr(model, "masks")
    assert all(torch.equal(state[k], v) for k, v in model.state_dict().items())


def made(drops: list[list[float]], counts: list[int]) -> Sensitivity:
    """A scan with the given drops; each layer has its own weights."""
    ratios = (0.2, 0.4, 0.8)
    names = tuple("abc"[: len(drops)])
    return Sensitivity(
        names, ratios, 0.9 - np.array(drops), np.tile(ratios, (len(drops), 1)), 0.9,
        "unstructured", "magnitude", "val",
        tuple((n, (name,)) for n, name in zip(counts, names, strict=True)),
    )  # fmt: skip


def test_ratios_within_a_drop() -> None:
    scan = made([[0.0, 0.01, 0.5], [0.2, 0.0, 0.0], [-0.01, -0.02, 0.02]], [100, 100, 100])
    # the second layer is not trusted beyond its first ratio, which costs too much already
    assert scan.ratios_for(max_drop=0.01) == {"a": 0.4, "c": 0.4}
    assert scan.ratios_for(max_drop=0.02) == {"a": 0.4, "c": 0.8}
    assert scan.ratios_for(max_drop=0.2) == {"a": 0.4, "b": 0.8, "c": 0.8}


def test_ratios_for_a_budget() -> None:
    scan = made([[0.0, 0.01, 0.5], [0.01, 0.01, 0.01]], [100, 300])
    assert scan.left({"a": 0.4, "b": 0.8}) == pytest.approx((60 + 60) / 400)
    assert scan.ratios_for(budget=0.05) == {"a": 0.2}
    # at the next limit both could go further; the one that brings more is enough
    assert scan.ratios_for(budget=0.6) == {"a": 0.2, "b": 0.8}
    assert scan.ratios_for(budget=0.66) == {"a": 0.4, "b": 0.8}
    assert scan.ratios_for(budget=0.75) == {"a": 0.8, "b": 0.8}
    with pytest.raises(TinykitError, match=r"80% of the parameters at most.*scan larger ratios"):
        scan.ratios_for(budget=0.85)


def test_the_proposal_is_what_prune_takes(
    model: nn.Module, data: Dataset, scan: Sensitivity
) -> None:
    ratios = scan.ratios_for(budget=0.4)
    small = tk.compress(model, data, tk.Prune(ratios, epochs=0))
    # rows and columns of one weight are rounded down to fours each
    assert parameters(small) / parameters(model) == pytest.approx(scan.left(ratios), rel=1e-9)
    assert scan.left(ratios) <= 0.6
    # spread by what layers can bear, rather than evenly
    even = tk.compress(model, data, tk.Prune(1 - scan.left(ratios), epochs=0))
    assert tk.evaluate(small, data, "val") > tk.evaluate(even, data, "val")


def test_arguments_out_of_range(data: Dataset, scan: Sensitivity) -> None:
    model = tk.zoo.mlp(data.spec, width=0.1)
    for how, why in (
        ({"ratios": (0.5, 1.0)}, "shares in"),
        ({"ratios": ()}, "at least one"),
        ({"criterion": "lamp"}, "ranks as 'magnitude'"),
        ({"split": "vall"}, "no split 'vall'"),
        ({"structure": "pattern"}, "not 3×3"),
        ({"structure": "2:4", "ratios": (0.3,)}, "removes 0.5 of the weights by itself"),
    ):
        with pytest.raises(TinykitError, match=why):
            sensitivity(model, data, **how)  # type: ignore[arg-type]
    for how, why in (
        ({}, "one of budget and max_drop"),
        ({"budget": 0.5, "max_drop": 0.1}, "one of budget and max_drop"),
        ({"budget": 1.5}, "0 < budget < 1"),
        ({"max_drop": -0.1}, "at least 0"),
    ):
        with pytest.raises(TinykitError, match=why):
            scan.ratios_for(**how)
    with pytest.raises(TinykitError, match=r"not '0.0' at 0.3"):
        scan.left({"0.0": 0.3})

"""Structures against brute force: which weights go, and in what shape."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import tinykit as tk
from tinykit.compress.pruning import attach, masked, masks_of, nonzero, parameters
from tinykit.compress.pruning.cut import example_of
from tinykit.compress.pruning.layers import Layer, layers_of
from tinykit.compress.pruning.masks import Masks
from tinykit.graph import TinykitError

QUICK = settings(max_examples=40, deadline=None)


def conv(o: int, i: int, k: int = 3, groups: int = 1, seed: int = 0) -> nn.Conv2d:
    layer = nn.Conv2d(i, o, k, groups=groups)
    with torch.no_grad():
        layer.weight.normal_(generator=torch.Generator().manual_seed(seed))
    return layer


def zeros(layer: nn.Module) -> np.ndarray:
    return layer.weight.detach().numpy() == 0  # type: ignore[operator]


@QUICK
@given(
    o=st.integers(1, 5),
    i=st.integers(4, 11),
    k=st.sampled_from([1, 3]),
    nm=st.sampled_from([(1, 2), (2, 4), (1, 4), (3, 4), (1, 3)]),
    seed=st.integers(0, 99),
)
def test_n_of_m_keeps_the_largest_of_each_stretch(
    o: int, i: int, k: int, nm: tuple[int, int], seed: int
) -> None:
    n, m = nm
    layer = conv(o, i, k, seed=seed)
    before = layer.weight.detach().numpy()
    gone = zeros(masked(nn.Sequential(layer), structure=f"{n}:{m}")[0])
    for at in itertools.product(range(o), range(k), range(k)):
        row = np.abs(before[at[0], :, at[1], at[2]])
        mask = gone[at[0], :, at[1], at[2]]
        for start in range(0, i, m):
            part = row[start : start + m]
            # every choice of at most n, by brute force
            best = max(
                itertools.combinations(range(len(part)), min(n, len(part))),
                key=lambda kept: sum(part[list(kept)]),
            )
            assert {j for j in range(len(part)) if not mask[start + j]} == set(best)


@QUICK
@given(
    o=st.integers(1, 6),
    i=st.integers(1, 6),
    k=st.sampled_from([1, 3]),
    block=st.sampled_from([(1, 4), (4, 4), (2, 1), (3, 5)]),
    amount=st.floats(0.05, 0.6),
    seed=st.integers(0, 99),
)
def test_blocks_of_the_engine_s_matrix(
    o: int, i: int, k: int, block: tuple[int, int], amount: float, seed: int
) -> None:
    layer = conv(o, i, k, seed=seed)
    r, c = block
    matrix = layer.weight.detach().numpy().transpose(0, 2, 3, 1).reshape(o, -1)
    means = {
        (y, x): np.square(matrix[y : y + r, x : x + c]).mean()
        for y in range(0, matrix.shape[0], r)
        for x in range(0, matrix.shape[1], c)
    }
    order = sorted(means, key=means.__getitem__)
    want, total = np.zeros(matrix.shape, dtype=bool), 0
    for y, x in order:
        if total >= round(amount * matrix.size):
            break
        want[y : y + r, x : x + c] = True
        total = int(want.sum())
    if want.all():
        with pytest.raises(TinykitError, match="something has to stay"):
            masked(nn.Sequential(layer), amount, structure=f"{r}x{c}")
        return
    small = masked(nn.Sequential(layer), amount, structure=f"{r}x{c}")
    got = zeros(small[0]).transpose(0, 2, 3, 1).reshape(o, -1)
    np.testing.assert_array_equal(got, want)


def test_blocks_of_depthwise_filters_lie_across_channels() -> None:
    """The engine has them 1HWO: four neighbours are four channels at one place of the kernel."""
    layer = conv(8, 8, groups=8)
    matrix = layer.weight.detach().numpy().transpose(1, 2, 3, 0).reshape(9, 8)
    small = masked(nn.Sequential(layer), 0.5, structure="1x4")
    got = zeros(small[0]).transpose(1, 2, 3, 0).reshape(9, 2, 4)
    norms = np.square(matrix).reshape(9, 2, 4).sum(2)
    want = norms <= np.sort(norms, axis=None)[8]
    np.testing.assert_array_equal(got, np.repeat(want[:, :, None], 4, axis=2))


@pytest.mark.parametrize(
    "layer",
    [
        nn.Linear(5, 3),
        nn.Conv1d(4, 6, 3),
        nn.Conv1d(4, 4, 3, groups=4),
        nn.Conv2d(4, 6, (2, 3)),
        nn.Conv2d(6, 4, 3, groups=2),
        nn.Conv2d(4, 8, 3, groups=4),
        nn.ConvTranspose2d(4, 6, 3),
    ],
)
def test_the_matrix_holds_the_same_weights(layer: nn.Module) -> None:
    named = Layer("layer", layer)
    weight = torch.arange(named.weight.numel()).reshape(named.weight.shape)
    matrix = named.matrix(weight)
    assert torch.equal(named.unmatrix(matrix), weight)
    assert matrix.ndim == 2
    assert sorted(matrix.flatten().tolist()) == list(range(weight.numel()))


@pytest.mark.parametrize("name", ["ds_cnn", "lenet", "mlp"])
def test_the_matrix_is_the_engine_s(name: str) -> None:
    """`Layer.matrix` lays weights out as the exported graph does."""
    data = tk.data.load("digits")
    model = getattr(tk.zoo, name)(data.spec, width=0.5)
    for m in model.modules():
        if isinstance(m, nn.BatchNorm2d):  # folded into weights: keep their values
            m.eps = 0.0
    graph = tk.to_graph(model)
    stored = [
        graph.tensors[op.inputs[1]].data  # type: ignore[index]
        for op in graph.ops
        if op.kind in ("conv_2d", "depthwise_conv_2d", "fully_connected")
    ]
    for layer, have in zip(layers_of(model, example_of(model)), stored, strict=True):
        matrix = layer.matrix(layer.weight).detach().numpy()
        assert have is not None
        np.testing.assert_allclose(have.reshape(matrix.shape), matrix, rtol=1e-6)


def best_patterns(kernels: np.ndarray, count: int) -> tuple[set[tuple[int, ...]], np.ndarray]:
    """Kernels (n, 9) → the patterns taken, and what each kernel keeps; by trying all of them."""
    every = [(4, *rest) for rest in itertools.combinations([0, 1, 2, 3, 5, 6, 7, 8], 3)]
    wins: dict[tuple[int, ...], int] = dict.fromkeys(every, 0)
    for kernel in kernels:
        wins[max(every, key=lambda p: np.square(kernel[list(p)]).sum())] += 1
    taken = sorted(every, key=lambda p: -wins[p])[:count]
    keep = np.zeros(kernels.shape, dtype=bool)
    for kernel, flags in zip(kernels, keep, strict=True):
        flags[list(max(taken, key=lambda p: np.square(kernel[list(p)]).sum()))] = True
    return set(taken), keep


@pytest.mark.parametrize("count", [1, 4, 8, 56])
def test_patterns_are_the_most_frequent_best(count: int) -> None:
    model = nn.Sequential(conv(12, 8, seed=1), conv(12, 12, groups=12, seed=2), conv(4, 12, 1))
    kernels = np.concatenate([m.weight.detach().numpy().reshape(-1, 9) for m in model[:2]])
    small = masked(model, structure=f"pattern:{count}")
    got = np.concatenate([~zeros(m).reshape(-1, 9) for m in small[:2]])
    assert (got.sum(1) == 4).all()
    assert got[:, 4].all()
    patterns = {tuple(np.flatnonzero(row)) for row in got}
    assert len(patterns) <= count
    taken, keep = best_patterns(kernels, count)
    wins = [
        tuple(sorted((4, *np.argsort(-(np.abs(k) + 99 * (np.arange(9) == 4)))[1:4])))
        for k in kernels
    ]
    if count == 56:
        assert [tuple(np.flatnonzero(row)) for row in got] == wins
    if count in (8, 56) or len(patterns) == count:
        # ties in frequency are broken by the patterns' order, as sorted() is stable
        assert patterns <= {tuple(sorted(p)) for p in taken}
        np.testing.assert_array_equal(got, keep)
    assert not zeros(small[2]).any(), "1×1 kernels stay"


@pytest.mark.parametrize("amount", [0.3, 0.7])
@pytest.mark.parametrize("scope", ["global", "layer"])
def test_single_weights(amount: float, scope: str) -> None:
    model = nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 10))
    small = masked(model, amount, structure="unstructured", scope=scope)
    masks = masks_of(small).keep
    assert nonzero(small) == parameters(small) - round(amount * 600) - round(amount * 300)
    for part in [["0.weight", "2.weight"]] if scope == "global" else [["0.weight"], ["2.weight"]]:
        weight = torch.cat([model.get_parameter(n).abs().flatten() for n in part])
        keep = torch.cat([masks[n].flatten() for n in part])
        assert weight[~keep].max() <= weight[keep].min()


def test_amounts_by_layer() -> None:
    model = nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 10))
    small = masked(model, {"2": 0.25, "0": 0.0}, structure="unstructured")
    assert int(zeros(small[2]).sum()) == 75
    assert not zeros(small[0]).any()


def test_of_each_layer_something_stays() -> None:
    model = nn.Sequential(nn.Linear(20, 30), nn.Linear(30, 10))
    with torch.no_grad():
        model[0].weight *= 1e-6
    small = masked(model, 0.8, structure="unstructured")
    assert int((~zeros(small[0])).sum()) == 1
    assert int(torch.count_nonzero(small[1].weight)) == 900 - 720 - 1
    with pytest.raises(TinykitError, match=r"99\.9% of .*can be 99\.8% at most"):
        masked(model, 0.999, structure="unstructured")
    with pytest.raises(TinykitError, match="of '1' cannot be removed"):
        masked(model, {"1": 0.999}, structure="4x4")


def test_what_was_removed_stays_removed() -> None:
    model = nn.Sequential(nn.Linear(40, 30), nn.Linear(30, 10))
    first = masked(model, 0.5, structure="unstructured", criterion="random")
    for structure, amount in (("unstructured", 0.7), ("1x4", 0.7), ("2:4", None)):
        then = masked(first, amount, structure=structure, criterion="random", seed=3)
        old, new = masks_of(first).keep, masks_of(then).keep
        assert all(bool((old[n] | ~new[n]).all()) for n in old)


def test_masks_say_what_stays_zero() -> None:
    model = nn.Sequential(nn.Linear(3, 2))
    masks = Masks({"0.weight": torch.tensor([[True, False, True], [False, True, True]])})
    attach(model, masks & Masks({"0.bias": torch.tensor([True, False])}))
    assert nonzero(model) == 5
    assert masks_of(model).removed(model) == 3
    with torch.no_grad():
        model[0].weight.fill_(1.0)
        model[0].weight[0, 0] = 0.0  # zero, but not for good
    masks_of(model).hold(model)
    assert model[0].weight.tolist() == [[0, 0, 1], [0, 1, 1]]
    assert bool(masks_of(model).keep["0.weight"][0, 0])
    # a model that only says it is sparse: what is zero now stays so
    plain = nn.Sequential(nn.Linear(3, 2, bias=False))
    with torch.no_grad():
        plain[0].weight[0] = 0.0
    plain.sparse = True  # type: ignore[assignment]
    assert masks_of(plain).keep["0.weight"].tolist() == [[False] * 3, [True] * 3]


def test_what_cannot_be_done_is_told() -> None:
    model = nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 3))
    with pytest.raises(TinykitError, match=r"names layer '1'.*there are '0', '2'"):
        masked(model, {"1": 0.5}, structure="unstructured")
    with pytest.raises(TinykitError, match="layer '0': its input axis has 20, less than M = 32"):
        masked(model, {"0": 0.5}, structure="16:32")
    with pytest.raises(TinykitError, match=r"layer '0'.*layer '2'.*less than M = 64"):
        masked(model, structure="2:64")
    with pytest.raises(TinykitError, match="its kernels are not 3×3"):
        masked(model, structure="pattern")
    with pytest.raises(TinykitError, match="needs gradients: pass data"):
        masked(model, 0.5, structure="unstructured", criterion="taylor")
    with torch.no_grad():
        model[2].weight[1, 1] = torch.nan
    model.input_shape = (1, 1, 20)  # type: ignore[assignment]
    with pytest.raises(TinykitError, match="weights of layer '2' are not all finite"):
        masked(model, 0.5)
    with pytest.raises(TinykitError, match="weights of layer '2' are not all finite"):
        masked(model, 0.5, structure="unstructured")
    empty = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    empty[1].weight = nn.Parameter(torch.zeros(0, 4))
    with pytest.raises(TinykitError, match="layer '1' has no weights"):
        masked(empty, 0.5, structure="unstructured")


def test_n_of_m_leaves_layers_dense_that_are_too_narrow() -> None:
    data = tk.data.load("digits")
    model = tk.zoo.ds_cnn(data.spec, width=0.25)
    small = masked(model, structure="2:4")
    for layer, dense in zip(layers_of(small), layers_of(model), strict=True):
        share = float(zeros(layer.module).mean())
        assert share == (0.5 if dense.inputs >= 4 else 0.0)

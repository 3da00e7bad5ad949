"""Mixed precision: the choice is the best there is, and its bytes are those of the graph."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import Bounds, LinearConstraint, milp
from torch import nn

import tinykit as tk
from tinykit.data import Dataset
from tinykit.graph import TinykitError
from tinykit.graph.lower import CHANNEL_AXIS
from tinykit.graph.ranges import quantize_weights
from tinykit.nn import predict
from tinykit.quant import calibrated, mixed_precision, prepare
from tinykit.quant.fold import folded, plain_layers
from tinykit.quant.mixed import allocate, layer_bytes, model_bytes, sensitivity
from tinykit.quant.weights import least_squares_range


@pytest.fixture(scope="module")
def data() -> Dataset:
    return tk.data.load("digits")


@pytest.fixture(scope="module")
def trained(data: Dataset) -> nn.Module:
    model = tk.zoo.ds_cnn(data.spec, width=0.25, depth=2)
    tk.fit(model, data, epochs=8)
    return model


Problem = tuple[dict[str, dict[int, float]], dict[str, dict[int, int]]]


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    costs, sizes = {}, {}
    for k in range(draw(st.integers(1, 5))):
        widths = draw(st.lists(st.integers(2, 8), min_size=1, max_size=4, unique=True))
        # whole numbers, so that sums are exact and ties are many
        costs[f"l{k}"] = {b: float(draw(st.integers(-5, 20))) for b in widths}
        sizes[f"l{k}"] = {b: draw(st.integers(1, 30)) for b in widths}
    return costs, sizes


@given(problems(), st.integers(0, 120))
def test_brute_force_finds_nothing_better(problem: Problem, budget: int) -> None:
    costs, sizes = problem
    every = [dict(zip(sizes, c, strict=True)) for c in itertools.product(*sizes.values())]
    fits = [
        (sum(costs[n][b] for n, b in bits.items()), size)
        for bits in every
        if (size := sum(sizes[n][b] for n, b in bits.items())) <= budget
    ]
    if not fits:
        smallest = sum(min(s.values()) for s in sizes.values())
        with pytest.raises(TinykitError, match=f"smallest possible is {smallest}"):
            allocate(costs, sizes, budget)
        return
    bits = allocate(costs, sizes, budget)
    assert list(bits) == list(sizes)
    found = sum(costs[n][b] for n, b in bits.items()), sum(sizes[n][b] for n, b in bits.items())
    assert found == min(fits)


def test_sixty_layers_against_an_integer_program() -> None:
    rng = np.random.default_rng(0)
    widths = range(2, 9)
    weights = rng.integers(100, 20_000, 60)
    costs = {f"l{k}": {b: float(rng.random() * 4.0**-b) for b in widths} for k in range(60)}
    sizes = {f"l{k}": {b: int(w * b // 8) for b in widths} for k, w in enumerate(weights)}
    budget = int(weights.sum() * 4.1 / 8)
    bits = allocate(costs, sizes, budget)
    size = np.array([list(s.values()) for s in sizes.values()]).ravel()
    cost = np.array([list(c.values()) for c in costs.values()]).ravel()
    one_each = np.kron(np.eye(60), np.ones(7))
    solved = milp(
        cost,
        constraints=[LinearConstraint(one_each, 1, 1), LinearConstraint(size[None], 0, budget)],
        integrality=np.ones(420),
        bounds=Bounds(0, 1),
        options={"mip_rel_gap": 0},
    )
    assert sum(sizes[n][b] for n, b in bits.items()) <= budget
    assert sum(costs[n][b] for n, b in bits.items()) == pytest.approx(solved.fun, rel=1e-6)


def test_sensitivity_is_the_loss_with_one_layer_rounded(trained: nn.Module, data: Dataset) -> None:
    found = sensitivity(trained, data, (3, 8), examples=200)
    by_kl = sensitivity(trained, data, (3, 8), metric="kl", examples=200)
    part = data.train.take(200)

    def outputs(model: nn.Module) -> np.ndarray:
        logits = predict(model, part.x).astype(np.float64)
        return logits - np.log(np.exp(logits).sum(1, keepdims=True))

    def loss(log_share: np.ndarray) -> float:
        return float(-log_share[np.arange(len(part.y)), part.y].mean())

    exact = outputs(trained)
    for name, layer in plain_layers(folded(trained)).items():
        plain = folded(trained)
        weight = layer.weight.detach().numpy()
        axis = None if isinstance(layer, nn.Linear) else 0
        quant = least_squares_range(weight, axis, 3)
        scale = quant.scale if axis is None else quant.scale.reshape(-1, 1, 1, 1)
        made = quantize_weights(weight, quant, 3) * scale
        plain.get_submodule(name).weight.data = torch.from_numpy(made.astype(np.float32))
        worse = outputs(plain)
        assert found[name][3] == pytest.approx(loss(worse) - loss(exact), rel=1e-2, abs=1e-4)
        kl = (np.exp(exact) * (exact - worse)).sum(1).mean()
        assert by_kl[name][3] == pytest.approx(kl, rel=1e-2, abs=1e-4)
        assert by_kl[name][8] < by_kl[name][3]


def bytes_of(graph: tk.Graph) -> int:
    held = [t for op in graph.ops if op.kind in CHANNEL_AXIS for t in graph.ins(op)[1:] if t]
    return sum(t.nbytes for t in held)


def test_a_budget_is_met_by_the_graph(trained: nn.Module, data: Dataset) -> None:
    names = list(plain_layers(folded(trained)))
    most = model_bytes(trained, dict.fromkeys(names, 8))
    least = model_bytes(trained, dict.fromkeys(names, 4))
    budget = (most + 2 * least) // 3
    plan = mixed_precision(trained, data, budget, examples=128)
    assert least <= plan.bytes <= budget < most
    assert plan.cost == pytest.approx(sum(plan.sensitivity[n][b] for n, b in plan.bits.items()))
    again = mixed_precision(trained, data, most, measured=plan.sensitivity)
    assert again.bytes > plan.bytes
    assert again.cost == sum(min(by.values()) for by in plan.sensitivity.values())
    graph = tk.to_graph(calibrated(prepare(trained, bits_of=plan.bits), data))
    assert bytes_of(graph) == plan.bytes
    small = tk.compress(trained, data, tk.Quantize(method="ptq", mixed=budget))
    assert bytes_of(tk.to_graph(small)) <= budget
    assert bytes_of(tk.to_graph(small)) > budget - (most - least) // 2
    named = tk.compress(trained, data, tk.Quantize(8, epochs=1, mixed={names[-1]: 4}))
    layer = next(op for op in tk.to_graph(named).ops if op.kind == "fully_connected")
    assert tk.to_graph(named).ins(layer)[1].dtype == "int4"  # type: ignore[union-attr]


def test_packed_bytes() -> None:
    assert layer_bytes(nn.Conv2d(3, 5, 3), 3, "packed") == 51 + 20  # 135 · 3 bits; 5 · 4 bytes
    assert layer_bytes(nn.Conv2d(3, 5, 3), 3) == 68 + 20
    assert layer_bytes(nn.Linear(7, 3), 5) == 21 + 12


def test_mistakes_are_told(trained: nn.Module, data: Dataset) -> None:
    names = list(plain_layers(folded(trained)))
    least = model_bytes(trained, dict.fromkeys(names, 2), "packed")
    with pytest.raises(TinykitError, match=f"budget is 100 .*smallest possible is {least}"):
        mixed_precision(trained, data, 100, storage="packed")
    with pytest.raises(TinykitError, match="metric is 'hessian'; there are loss, kl"):
        mixed_precision(trained, data, 10**6, metric="hessian")
    with pytest.raises(TinykitError, match="storage is 'zip'"):
        mixed_precision(trained, data, 10**6, storage="zip")
    with pytest.raises(TinykitError, match="2 to 8 bits"):
        sensitivity(trained, data, (1, 4))
    with pytest.raises(TinykitError, match="no layers whose weights"):
        mixed_precision(nn.Flatten(), data, 100)
    with pytest.raises(TinykitError, match="same layers and bits"):
        allocate({"a": {2: 1.0}}, {"a": {3: 1}}, 5)
    with pytest.raises(TinykitError, match="not finite"):
        allocate({"a": {2: float("nan")}}, {"a": {2: 1}}, 5)

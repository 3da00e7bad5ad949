"""What was trained is what is exported: integers equal, outputs within a few steps."""

import copy
import io
import pickle
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

import tinykit as tk
from tinykit.compress.pruning.masks import Masks, attach, masks_of
from tinykit.data import Dataset
from tinykit.graph import Graph, TinykitError
from tinykit.nn import predict
from tinykit.quant import Grid, Uniform, calibrated, prepare
from tinykit.quant.layers import QuantConv2d, QuantLinear, activation_quantizers, weighted
from tinykit.quant.ste import learned_step
from tinykit.targets.accuracy import outputs


@pytest.fixture(scope="module")
def data() -> Dataset:
    return tk.data.load("digits")


@pytest.fixture(scope="module")
def trained(data: Dataset) -> nn.Module:
    model = tk.zoo.ds_cnn(data.spec, width=0.5)
    tk.fit(model, data, epochs=10)
    return model


class Branches(nn.Module):
    """Residual addition, concatenation, multiplication, pooling, sigmoid, padding."""

    input_shape = (8, 8, 1)

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(1, 4, 3, padding=1)
        self.b = nn.Conv2d(1, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.gate = nn.Conv2d(8, 8, 1)
        self.out = nn.Linear(8 * 4 * 4, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a = torch.relu(self.a(x))
        b = self.norm(self.b(x))
        y = torch.cat([a + b, nn.functional.max_pool2d(b, 3, 1, 1)], 1)
        y = y * torch.sigmoid(self.gate(y))
        return self.out(nn.functional.avg_pool2d(y, 2).flatten(1))


MODELS: dict[str, Callable[[Dataset], nn.Module]] = {
    "ds_cnn": lambda d: tk.zoo.ds_cnn(d.spec, width=0.25),
    "resnet8": lambda d: tk.zoo.resnet8(d.spec, width=0.5),
    "mobilenet": lambda d: tk.zoo.mobilenet(d.spec, width=0.5),
    "lenet": lambda d: tk.zoo.lenet(d.spec, width=0.5),
    "mlp": lambda d: tk.zoo.mlp(d.spec, width=0.25),
    "branches": lambda d: Branches(),
}


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("name", MODELS)
def test_integers_are_those_trained(name: str, bits: int, data: Dataset) -> None:
    torch.manual_seed(0)
    model = MODELS[name](data)
    tk.fit(model, data.subset(400), epochs=4)
    small = calibrated(prepare(model, bits), data)
    tk.fit(small, data.subset(400), epochs=1, lr=1e-3)
    graph = tk.to_graph(small, softmax=False)

    layers = [m for m in small.modules() if isinstance(m, QuantConv2d | QuantLinear)]
    stored = {op.name: graph.ins(op)[1] for op in graph.ops if len(op.inputs) == 3}
    assert len(layers) == len(stored)
    by_name = {n: m for n, m in small.named_modules() if m in layers}
    for path, layer in by_name.items():
        tensor = stored[path]
        assert tensor is not None
        assert tensor.quant is not None
        assert tensor.data is not None
        step = layer.quantizer.scale.detach().numpy()
        np.testing.assert_array_equal(tensor.quant.scale, step)
        want = layer.quantized_weight().detach().numpy()
        along = step.reshape(-1, *[1] * (want.ndim - 1)) if step.size > 1 else step
        whole = np.round(want / along).astype(np.int64)
        if isinstance(layer, QuantConv2d):
            depthwise = layer.groups > 1
            assert tensor.dtype == ("int4" if bits == 4 and not depthwise else "int8")
            whole = whole.transpose(1, 2, 3, 0) if depthwise else whole.transpose(0, 2, 3, 1)
        else:
            whole = _columns(whole, tensor.data)
        np.testing.assert_array_equal(tensor.data, whole)

    _agrees(graph, small, data)


def _columns(whole: np.ndarray, stored: np.ndarray) -> np.ndarray:
    """A linear layer's columns in the stored order, known by their contents."""
    if np.array_equal(whole, stored):
        return whole
    # columns are counted H·W·C where torch counts C·H·W: some permutation of whole columns
    ours = sorted(map(tuple, whole.T))
    theirs = sorted(map(tuple, stored.T.astype(np.int64)))
    assert ours == theirs
    return stored


def _agrees(graph: Graph, small: nn.Module, data: Dataset) -> None:
    """Logits within a few steps, and the same answers."""
    x = data.test.x
    assert graph.output.quant is not None
    got = graph.output.real(outputs(graph, x))
    want = predict(small, x)
    steps = np.abs(got - want) / graph.output.quant.scale[0]
    assert np.quantile(steps, 0.99) < 3.5
    assert steps.max() < 8.5
    same = (got.argmax(1) == want.argmax(1)).mean()
    assert same > 0.97


def test_quantization_costs_little(trained: nn.Module, data: Dataset) -> None:
    before = tk.evaluate(trained, data)
    for bits, limit in ((8, 0.01), (4, 0.03)):
        small = tk.compress(trained, data, tk.Quantize(bits, epochs=3))
        graph = tk.to_graph(small, calibrate=data)
        assert tk.evaluate(graph, data) >= before - limit
        assert {t.dtype for t in (graph.input, graph.output)} == {"int8"}


def test_calibrated_model_and_calibrated_graph_agree(trained: nn.Module, data: Dataset) -> None:
    """Two ways to the same post-training quantization: by fake quantizers, and on the Graph."""
    part = data.train.take(256)
    by_module = tk.to_graph(calibrated(prepare(trained), data))
    by_graph = tk.to_graph(trained, calibrate=part)
    assert [op.kind for op in by_module.ops] == [op.kind for op in by_graph.ops]
    for (_, a), (_, b) in zip(by_module.activations(), by_graph.activations(), strict=True):
        assert a.quant is not None
        assert b.quant is not None
        # the module was calibrated with its weights already rounded
        np.testing.assert_allclose(a.quant.scale, b.quant.scale, rtol=0.02)
    ours, theirs = outputs(by_module, data.test.x), outputs(by_graph, data.test.x)
    assert (ours.argmax(1) == theirs.argmax(1)).mean() > 0.99


def test_calibrating_twice_and_state_dicts(trained: nn.Module, data: Dataset) -> None:
    one = calibrated(prepare(trained), data)
    again = prepare(trained)
    again.load_state_dict(one.state_dict())
    x = data.test.x[:50]
    np.testing.assert_array_equal(predict(one, x), predict(again, x))
    ranges = [(float(q.low), float(q.high)) for q in activation_quantizers(one).values()]
    calibrated(one, data)
    assert ranges == [(float(q.low), float(q.high)) for q in activation_quantizers(one).values()]


def test_the_model_is_left_alone(trained: nn.Module, data: Dataset) -> None:
    before = copy.deepcopy(trained.state_dict())
    tk.compress(trained, data.subset(64), tk.Quantize(epochs=1))
    assert all(torch.equal(before[k], v) for k, v in trained.state_dict().items())


def test_a_prepared_module_can_be_saved_whole(trained: nn.Module, data: Dataset) -> None:
    small = calibrated(prepare(trained, 4), data)
    file = io.BytesIO()
    torch.save(small, file)
    file.seek(0)
    again = torch.load(file, weights_only=False)
    x = data.test.x[:50]
    np.testing.assert_array_equal(predict(small, x), predict(again, x))


def test_copies_carry_what_is_attached(trained: nn.Module, data: Dataset) -> None:
    small = calibrated(prepare(trained, 4), data)
    keep = torch.zeros(3, dtype=torch.bool)
    small.masks, small.sparse = Masks({"a": keep}), True  # type: ignore[assignment]

    def saved(module: nn.Module) -> nn.Module:
        return pickle.loads(pickle.dumps(module))  # type: ignore[no-any-return]

    x = data.test.x[:50]
    ways = (copy.deepcopy, copy.copy, saved, lambda m: copy.deepcopy(saved(copy.deepcopy(m))))
    for n, way in enumerate(ways):
        made = way(small)
        assert (made.input_shape, made.sparse) == (small.input_shape, True)
        assert torch.equal(made.masks.keep["a"], keep)
        assert (made.masks.keep["a"] is keep) == (n == 1), "only a shallow copy shares"
        assert set(made.state_dict()) == set(small.state_dict())
        np.testing.assert_array_equal(predict(made, x), predict(small, x))
    graph = tk.to_graph(copy.deepcopy(small))  # its shape is known
    np.testing.assert_array_equal(outputs(graph, x), outputs(tk.to_graph(small), x))


@pytest.mark.parametrize("method", ["qat", "ptq"])
def test_masks_stay_through_quantization(method: str, trained: nn.Module, data: Dataset) -> None:
    sparse = copy.deepcopy(trained)
    conv = next(m for m in sparse.modules() if isinstance(m, nn.Conv2d) and m.groups == 1)
    name = next(n for n, m in sparse.named_modules() if m is conv)
    mask = torch.rand(conv.weight.shape, generator=torch.Generator().manual_seed(0)) < 0.5
    attach(sparse, Masks({f"{name}.weight": mask}))
    small = tk.compress(sparse, data.subset(64), tk.Quantize(method=method, epochs=1))
    for made in (small, copy.deepcopy(small)):
        assert torch.equal(masks_of(made).keep[f"{name}.weight"], mask)
        assert not made.get_submodule(name).weight[~mask].any()  # type: ignore[union-attr,index]
        assert made.sparse


def test_folding_keeps_the_network(data: Dataset) -> None:
    """Before anything rounds, the prepared module computes what the model did."""
    model = tk.zoo.resnet8(data.spec)
    tk.fit(model, data.subset(200), epochs=1)
    made = prepare(model)
    for layer in weighted(made).values():
        layer.quantizer.mode = "off"
    np.testing.assert_allclose(
        predict(made, data.test.x), predict(model, data.test.x), rtol=1e-3, atol=1e-3
    )


def test_learned_step_gradients() -> None:
    """LSQ's own formulas (Esser et al. 2020, eqs. 2 to 4), element by element."""
    weight = torch.tensor([[0.3, -0.26, 2.0], [0.1, -3.0, 0.04]], requires_grad=True)
    step = torch.tensor([0.2, 0.1], requires_grad=True)
    upstream = torch.tensor([[1.0, 2.0, 3.0], [-1.0, 0.5, 4.0]])
    zero = torch.zeros(2, dtype=torch.int32)
    (learned_step(weight, step, zero, -7, 7, 0) * upstream).sum().backward()
    by_weight, by_step = np.zeros((2, 3)), np.zeros(2)
    for c in range(2):
        for k in range(3):
            v = float(weight[c, k].detach() / step[c].detach())
            inside = abs(v) <= 7
            by_weight[c, k] = float(upstream[c, k]) * inside
            slope = round(v) - v if inside else np.sign(v) * 7
            by_step[c] += float(upstream[c, k]) * slope / np.sqrt(3 * 7)
    np.testing.assert_allclose(weight.grad, by_weight, rtol=1e-5)
    np.testing.assert_allclose(step.grad, by_step, rtol=1e-4)


def test_what_meets_in_a_concatenation_shares_a_scale(data: Dataset) -> None:
    small = calibrated(prepare(Branches()), data)
    graph = tk.to_graph(small)
    assert "quantize" not in [op.kind for op in graph.ops]


def test_fake_quant_follows_and_freezes() -> None:
    quant = Uniform(Grid(symmetric=False, narrow=False), momentum=0.5).train()
    quant.start(torch.tensor([0.0, 8.0]))
    quant.mode = "follow"
    quant(torch.tensor([-1.0, 4.0]))
    assert (float(quant.low), float(quant.high)) == (-0.5, 6.0)
    quant.mode = "quantize"
    quant(torch.tensor([-100.0, 100.0]))
    assert float(quant.high) == 6.0
    quant.eval().mode = "follow"  # examples of an evaluation are not to be learned from
    quant(torch.tensor([-100.0, 100.0]))
    assert float(quant.high) == 6.0


def test_mistakes_are_told(trained: nn.Module, data: Dataset) -> None:
    with pytest.raises(TinykitError, match="bits is 9: weights take 2 to 8"):
        prepare(trained, 9)
    with pytest.raises(TinykitError, match="quantized already"):
        prepare(prepare(trained))
    with pytest.raises(TinykitError, match="no fake quantizers"):
        calibrated(trained, data)
    with pytest.raises(TinykitError, match="weights take 2 to 8"):
        tk.to_graph(trained, calibrate=data, bits=1)
    with pytest.raises(TinykitError, match="must know the input's shape"):
        tk.to_graph(nn.Linear(3, 2))
    with pytest.raises(TinykitError, match="at least one example"):
        tk.to_graph(trained, calibrate=np.zeros((0, 8, 8, 1), np.float32))
    with pytest.raises(TinykitError, match="learned for other than 4 bits"):
        tk.to_graph(calibrated(prepare(trained, 8), data), bits=4)

    class Depends(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if x.sum() > 0 else -x

    with pytest.raises(TinykitError, match="cannot be traced"):
        prepare(Depends())

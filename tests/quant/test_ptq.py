"""Post-training quantization: what each step promises, and what comes out in TFLite Micro."""

import copy
import itertools

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import tinykit as tk
from tinykit.data import Dataset
from tinykit.formats import tflite
from tinykit.graph import TinykitError
from tinykit.nn import predict, zoo
from tinykit.quant import prepare, ptq
from tinykit.quant.fold import folded, plain_layers
from tinykit.quant.layers import weighted
from tinykit.quant.ptq import correct_biases, equalized, round_adaptively
from tinykit.quant.ptq.adaround import rectified_sigmoid
from tinykit.quant.ptq.equalization import pairs
from tinykit.targets import tflm


@pytest.fixture(scope="module")
def data() -> Dataset:
    return tk.data.load("digits")


@pytest.fixture(scope="module")
def trained(data: Dataset) -> nn.Module:
    model = tk.zoo.ds_cnn(data.spec, width=0.25)
    tk.fit(model, data, epochs=5)
    return model


def images(data: Dataset, count: int = 64) -> Tensor:
    return torch.from_numpy(data.train.x[:count]).permute(0, 3, 1, 2)


# -- equalization ----------------------------------------------------------------------------------


def uneven(model: nn.Module) -> nn.Module:
    """`model`, its batch norms' factors spread over three orders of magnitude."""
    g = torch.Generator().manual_seed(0)
    for m in model.modules():
        if isinstance(m, nn.BatchNorm2d):
            assert m.running_mean is not None
            m.weight.data = 10 ** (torch.rand(m.num_features, generator=g) * 3 - 2)
            m.bias.data = torch.randn(m.num_features, generator=g)
            m.running_mean.data = torch.randn(m.num_features, generator=g) / 10
    return model.eval()


@pytest.mark.parametrize("name", zoo.__all__)
@pytest.mark.parametrize("harsh", [False, True])
def test_equalization_keeps_the_function(name: str, harsh: bool, data: Dataset) -> None:
    model = getattr(zoo, name)(data.spec, width=0.25)
    model = uneven(model) if harsh else model.eval()
    before, after = predict(model, data.test.x), predict(equalized(model), data.test.x)
    assert np.abs(before - after).max() <= 1e-5 * np.abs(before).max()


class Rearranged(nn.Module):
    """Linear layers whose inputs are no channels, though as many or a multiple."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.conv = nn.Conv2d(1, 8, 3, padding=1)
        self.mixing = nn.Linear({"rows": 8, "places": 64, "after": 8}[kind], 16)
        self.last = nn.Linear({"rows": 8 * 8 * 16, "places": 8 * 16, "after": 8 * 16}[kind], 10)

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "after":
            x = x.squeeze(1)
        else:
            x = torch.relu(self.conv(x))
            x = torch.flatten(x, 2) if self.kind == "places" else x
        return self.last(torch.relu(self.mixing(x)).flatten(1))


@pytest.mark.parametrize("kind", ["rows", "places", "after"])
def test_equalization_leaves_alone_what_reads_no_channels(kind: str) -> None:
    torch.manual_seed(0)
    model = Rearranged(kind).eval()
    with torch.no_grad():
        model.conv.weight[0] *= 30
        model.mixing.weight[0] *= 30
        x = torch.randn(4, 1, 8, 8)
        torch.testing.assert_close(equalized(model)(x), model(x))


def test_no_random_number_is_drawn(trained: nn.Module) -> None:
    before = torch.get_rng_state()
    prepare(trained)
    assert torch.equal(torch.get_rng_state(), before)


def test_ranges_are_equal_channel_by_channel(data: Dataset) -> None:
    made = equalized(uneven(tk.zoo.ds_cnn(data.spec, width=0.5)))
    joined = pairs(made)
    assert len(joined) == 9  # the stem, four depthwise and four pointwise layers to the next
    layers = plain_layers(made)
    for first, second in joined:
        out = layers[first].weight.detach().abs().flatten(1).amax(1)
        into = layers[second].weight.detach().abs()
        # a depthwise layer's input channel is its output channel
        depthwise = into.ndim == 4 and into.shape[1] == 1
        by_input = into.flatten(1).amax(1) if depthwise else into.transpose(0, 1).flatten(1).amax(1)
        np.testing.assert_allclose(out, by_input, rtol=1e-2)


class Chains(nn.Module):
    """Groups; a flattening to several columns a channel; a ReLU6; a fork; a dead channel."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 6, 1, groups=2)
        self.c, self.d = nn.Conv2d(6, 4, 1), nn.Conv2d(4, 4, 1)
        self.e, self.f = nn.Conv2d(4, 3, 1), nn.Linear(3 * 9, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.b(torch.relu(self.a(x))))
        x = nn.functional.relu6(self.c(x))
        x = self.d(x)
        y = torch.relu(self.e(x + torch.relu(x)))
        return self.f(nn.functional.max_pool2d(y, 2).flatten(1))


def test_where_chains_begin_and_end() -> None:
    torch.manual_seed(0)
    model = Chains().eval()
    model.a.weight.data[1] = 0
    model.b.weight.data *= 100
    made = equalized(model)
    assert pairs(made) == [("a", "b"), ("b", "c"), ("e", "f")]
    x = torch.randn(5, 1, 8, 8)
    np.testing.assert_allclose(made(x).detach(), model(x).detach(), rtol=1e-4, atol=1e-4)
    moved = made.get_submodule("a").weight.detach() / model.a.weight.detach()  # type: ignore[operator]
    assert torch.isnan(moved[1]).all()  # 0 / 0: the dead channel is as it was
    assert (moved[[0, 2, 3]] > 1).all()


# -- bias correction -------------------------------------------------------------------------------


def test_means_are_the_float_networks(trained: nn.Module, data: Dataset) -> None:
    plain = folded(trained)
    small = prepare(plain, 3, weights="clipped")
    for layer in weighted(small).values():
        assert layer.bias is not None
    x = images(data)
    for q in small.children():
        if hasattr(q, "mode"):
            q.mode = "off"

    def means_of(model: nn.Module, name: str) -> Tensor:
        seen: list[Tensor] = []
        hook = model.get_submodule(name).register_forward_hook(lambda m, i, o: seen.append(o))
        with torch.no_grad():
            model(x)
        hook.remove()
        return seen[0].transpose(0, 1).flatten(1).mean(1)

    apart = [float((means_of(small, n) - means_of(plain, n)).abs().max()) for n in weighted(small)]
    shifts = correct_biases(small, plain, x)
    assert list(shifts) == list(weighted(small))
    after = [float((means_of(small, n) - means_of(plain, n)).abs().max()) for n in weighted(small)]
    assert max(after) < 1e-4 < 0.05 < max(apart)


def test_a_layer_without_bias_gets_one() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(6, 4, bias=False), nn.ReLU(), nn.Linear(4, 3, bias=False)
    ).eval()
    small = prepare(model, 2, weights="clipped")
    x = torch.rand(200, 6)
    correct_biases(small, folded(model), x)
    bias = weighted(small)["0"].bias
    quantized = weighted(small)["0"].quantized_weight()
    want = (x @ (model[0].weight - quantized).T).mean(0).detach()  # type: ignore[operator]
    np.testing.assert_allclose(bias.detach(), want, atol=1e-5)


# -- AdaRound --------------------------------------------------------------------------------------


def test_near_the_best_of_all_roundings() -> None:
    """One linear layer, 2⁷ roundings of each output's weights, all tried."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(7, 4)).eval()
    x = torch.rand(256, 7) @ torch.rand(7, 7)  # correlated, so that errors can cancel
    small = prepare(model, 3, weights="clipped")
    q = weighted(small)["0"].quantizer
    step = float(q.scale)  # type: ignore[arg-type]
    plain = folded(model)
    errors = round_adaptively(small, plain, x, steps=600)["0"]
    weight = model[0].weight.detach()  # type: ignore[operator]
    chosen = weighted(small)["0"].quantized_weight().detach()
    best = []
    for row, ours in zip(weight, chosen, strict=True):
        below = (row / step).floor()
        every = torch.tensor(list(itertools.product((0.0, 1.0), repeat=7)))
        made = (below + every).clamp(-3, 3) * step
        assert (made - ours).abs().amax(1).min() < 1e-6  # each weight went up or down
        best.append(((x @ (made - row).T) ** 2).mean(0).min())
    got = ((x @ (chosen - weight).T) ** 2).mean()
    assert float(got) == pytest.approx(errors[1], rel=1e-4)
    assert float(torch.stack(best).mean()) <= float(got) * 1.0001
    assert errors[1] < errors[0] / 3  # local search: near the best, not the best


def test_layers_are_reproduced_better(trained: nn.Module, data: Dataset) -> None:
    plain, x = folded(trained), images(data, 128)

    def rounded() -> tuple[nn.Module, dict[str, tuple[float, float]]]:
        small = prepare(plain, 3, weights="lsq")
        return small, round_adaptively(small, plain, x, steps=120)

    small, errors = rounded()
    assert list(errors) == list(weighted(small))
    assert all(after <= before for before, after in errors.values())
    assert np.mean([after / before for before, after in errors.values()]) < 0.9
    again, same = rounded()
    assert errors == same
    for a, b in zip(small.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
    for name, layer in weighted(small).items():
        before = plain.get_submodule(name).weight.detach()  # type: ignore[operator]
        scale = layer.quantizer.scale.detach()  # type: ignore[operator]
        scale = scale.reshape(-1, *[1] * (before.ndim - 1)) if scale.numel() > 1 else scale
        top = layer.quantizer.grid.high
        inside = (before / scale).abs() < top
        assert ((layer.weight.detach() - before).abs() < scale * 1.0001)[inside].all()


def test_what_was_pruned_stays_zero() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(12, 4)).eval()
    weight = model[0].weight
    assert isinstance(weight, Tensor)
    weight.data[:, ::2] = 0
    small = prepare(model, 3, weights="clipped")
    round_adaptively(small, folded(model), torch.rand(64, 12), steps=50)
    rounded = weighted(small)["0"].quantized_weight()
    assert not rounded[:, ::2].any()
    assert rounded[:, 1::2].any()


def test_rectified_sigmoid() -> None:
    v = torch.tensor([-9.0, 0.0, 9.0, 1.0])
    want = np.clip(1.2 / (1 + np.exp(-v.numpy())) - 0.1, 0, 1)
    np.testing.assert_allclose(rectified_sigmoid(v), want, rtol=1e-6)


# -- the pipeline ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bits", "how"),
    [
        (8, {}),
        (4, {"adaround": True, "steps": 40}),
        (3, {"equalize": False, "observer": "mse"}),
        (2, {"bias_correction": False, "weights": "ternary"}),
    ],
)
def test_pipeline_to_tflite_micro(bits: int, how: dict, trained: nn.Module, data: Dataset) -> None:
    before = copy.deepcopy(trained.state_dict())
    small = ptq(trained, data, bits, examples=64, **how)
    assert all(torch.equal(before[k], v) for k, v in trained.state_dict().items())
    graph = tk.to_graph(small)
    stored = [graph.input.stored(image[None]) for image in data.test.x[:3]]
    theirs = tflm.run(tflite.write(graph), [[s] for s in stored])
    for values, want in zip(stored, theirs.outputs, strict=True):
        np.testing.assert_array_equal(graph.run(values)[0], want[0])
    same = predict(small, data.test.x).argmax(1) == graph_answers(graph, data.test.x)
    assert same.mean() > 0.9


def graph_answers(graph: tk.Graph, x: np.ndarray) -> np.ndarray:
    from tinykit.targets.accuracy import outputs

    return outputs(graph, x).argmax(1)


def test_steps_help_at_three_bits(trained: nn.Module, data: Dataset) -> None:
    """Each step brings the outputs nearer to the float network's on images it has not seen."""
    want = predict(trained, data.test.x)

    def apart(**how: bool) -> float:
        made = ptq(trained, data, 3, **how)  # type: ignore[arg-type]
        return float(((predict(made, data.test.x) - want) ** 2).mean())

    nothing = apart(equalize=False, bias_correction=False)
    corrected = apart(equalize=False)
    assert corrected < nothing
    small = ptq(trained, data, 3, equalize=False, adaround=True, steps=80)
    assert float(((predict(small, data.test.x) - want) ** 2).mean()) < corrected


def test_mistakes_are_told(trained: nn.Module, data: Dataset) -> None:
    with pytest.raises(TinykitError, match="examples is 0"):
        ptq(trained, data, examples=0)
    with pytest.raises(TinykitError, match=r"layer '0\.\d': adaround needs equal steps"):
        ptq(trained, data, weights="binary", adaround=True)
    with pytest.raises(TinykitError, match="no observer 'widest'"):
        ptq(trained, data, observer="widest")
    with pytest.raises(TinykitError, match="quantized already"):
        ptq(prepare(trained), data)

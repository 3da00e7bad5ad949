"""Which kinds become graphs: bit for bit what was computed in torch, or an error with a name."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

import tinykit as tk
from tinykit.data import Dataset
from tinykit.formats import tflite
from tinykit.graph import Graph, TinykitError
from tinykit.graph.lower import CHANNEL_AXIS
from tinykit.quant import Grid, Kind, Uniform, calibrated, prepare
from tinykit.quant.layers import QuantLinear, weighted
from tinykit.quant.quantizers.learned import Codebook
from tinykit.targets import tflm


class Odd(nn.Module):
    """Strides, dilation, groups, a depthwise layer, and ReLU6."""

    input_shape = (8, 8, 1)

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, 2, 1)
        self.wide = nn.Conv2d(8, 8, 3, padding=2, dilation=2, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.depth = nn.Conv2d(8, 16, 3, padding=1, groups=8)
        self.mix = nn.Conv2d(16, 8, 1)
        self.out = nn.Linear(8, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.stem(x))
        x = nn.functional.relu6(self.norm(self.wide(x)))
        x = torch.relu(self.mix(torch.relu(self.depth(x))))
        return self.out(x.mean((2, 3)))


@pytest.fixture(scope="module")
def data() -> Dataset:
    return tk.data.load("digits")


@pytest.fixture(scope="module")
def model(data: Dataset) -> nn.Module:
    torch.manual_seed(0)
    model = Odd()
    tk.fit(model, data.subset(400), epochs=3)
    return model


def in_tflite_micro(graph: Graph, x: np.ndarray) -> None:
    stored = [graph.input.stored(image[None]) for image in x]
    theirs = tflm.run(tflite.write(graph), [[s] for s in stored])
    for values, want in zip(stored, theirs.outputs, strict=True):
        np.testing.assert_array_equal(graph.run(values)[0], want[0])


#: kind, bits -> the largest integer, and the type that holds it
STORED = {
    ("lsq", 2): (1, "int4"),
    ("lsq", 3): (3, "int4"),
    ("lsq", 5): (15, "int8"),
    ("lsq", 6): (31, "int8"),
    ("lsq", 7): (63, "int8"),
    ("clipped", 4): (7, "int4"),
    ("identity", 8): (127, "int8"),
    ("stochastic", 4): (7, "int4"),
    ("binary", 8): (1, "int4"),
    ("ternary", 8): (1, "int4"),
    ("dorefa", 3): (7, "int4"),
    ("dorefa", 4): (15, "int8"),
    ("dorefa", 7): (127, "int8"),
}


@pytest.mark.parametrize(("kind", "bits"), STORED)
def test_integers_are_those_computed(kind: str, bits: int, model: nn.Module, data: Dataset) -> None:
    every = dict.fromkeys(("stem", "wide", "depth", "mix", "out"), bits)
    small = calibrated(prepare(model, weights=kind, bits_of=every), data)
    tk.fit(small, data.subset(128), epochs=1, lr=1e-3)
    graph = tk.to_graph(small)
    top, dtype = STORED[kind, bits]
    layers = weighted(small)
    assert len(layers) == 5
    for op in graph.ops:
        if op.kind not in CHANNEL_AXIS:
            continue
        layer, tensor = layers[op.name.split("/")[0]], graph.ins(op)[1]
        assert tensor is not None
        assert tensor.data is not None
        assert tensor.quant is not None
        assert (tensor.dtype, np.abs(tensor.data).max() <= top) == (dtype, True)
        real = tensor.quant.scale.astype(np.float32)
        axis = tensor.quant.axis
        if axis is not None:
            real = real.reshape([-1 if a == axis else 1 for a in range(tensor.data.ndim)])
        with torch.no_grad():
            want = layer.quantized_weight().numpy()
        if not isinstance(layer, QuantLinear):
            want = want.transpose((1, 2, 3, 0) if op.kind == "depthwise_conv_2d" else (0, 2, 3, 1))
            want = want.reshape(tensor.data.shape)
        np.testing.assert_array_equal(tensor.data * real, want)
    dilated = next(op for op in graph.ops if op.name == "wide")
    assert dilated.attrs["dilation_w_factor"] == 2
    in_tflite_micro(graph, data.test.x[:3])


def test_full_range(model: nn.Module, data: Dataset) -> None:
    """-8 is used, kept, and run."""
    small = calibrated(prepare(model, 4, weights="clipped", narrow=False), data)
    graph = tk.to_graph(small)
    stored = [graph.ins(op)[1] for op in graph.ops if op.kind in CHANNEL_AXIS]
    assert any(t is not None and t.data is not None and t.dtype == "int4" and t.data.min() == -8
               for t in stored)  # fmt: skip
    assert all(t is not None and t.data is not None and t.data.min() >= -127 for t in stored)
    in_tflite_micro(graph, data.test.x[:3])


def test_post_training_in_odd_widths(model: nn.Module, data: Dataset) -> None:
    for bits, top in ((3, 3), (6, 31)):
        graph = tk.to_graph(model, calibrate=data, bits=bits)
        mix = next(graph.ins(op)[1] for op in graph.ops if op.name == "mix")
        depth = next(graph.ins(op)[1] for op in graph.ops if op.name == "depth")
        assert mix is not None
        assert depth is not None
        assert (np.abs(mix.data).max(), np.abs(depth.data).max()) == (top, 127)  # type: ignore[arg-type]
        in_tflite_micro(graph, data.test.x[:2])


def test_sixteen_bit_activations(model: nn.Module, data: Dataset) -> None:
    small = calibrated(prepare(model, activation_bits=16), data)
    graph = tk.to_graph(small)
    assert graph.input.dtype == "int16"
    in_tflite_micro(graph, data.test.x[:3])
    with pytest.raises(TinykitError, match="prepared for 16 bits"):
        tk.to_graph(small, activation_bits=8)


def test_learned_ends_of_activations(model: nn.Module, data: Dataset) -> None:
    small = calibrated(prepare(model, activations="pact"), data)
    ends = {n: p for n, p in small.named_parameters() if n.endswith("alpha")}
    assert len(ends) == 4  # behind each ReLU
    for p in ends.values():
        p.data *= 0.5  # so that something is clipped, and moves them
    before = {n: float(p.detach()) for n, p in ends.items()}
    tk.fit(small, data.subset(128), epochs=1, lr=1e-2)
    assert all(before[n] != float(p.detach()) for n, p in ends.items())
    graph = tk.to_graph(small)
    scales = {float(t.quant.scale[0]) for _, t in graph.activations() if t.quant is not None}
    assert {np.float32(float(p.detach()) / 255) for p in ends.values()} <= {
        np.float32(s) for s in scales
    }
    in_tflite_micro(graph, data.test.x[:3])


def grouped(grid: Grid) -> Uniform:
    return Uniform(Grid(4, group=1))


def affine(grid: Grid) -> Uniform:
    return Uniform(Grid(8, symmetric=False, axis=0))


def int4_per_channel(grid: Grid) -> Uniform:
    return Uniform(Grid(4, axis=0))


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("codebook", "codebook, and TFLite's levels are equal steps"),
        (partial(Codebook, count=3), "codebook"),
        ("ttq", "two levels differ"),
        (grouped, "scale per group"),
        (affine, "zero point is not 0"),
        (int4_per_channel, "one scale in all"),
    ],
)
def test_what_tflite_cannot_hold_is_refused_by_name(
    kind: Kind, why: str, model: nn.Module, data: Dataset
) -> None:
    small = calibrated(prepare(model, weights_of={"out": kind}), data)
    assert 0 < tk.evaluate(small, data) <= 1
    with pytest.raises(TinykitError, match=rf"'out' \(.*\) computes what a graph.*{why}"):
        tk.to_graph(small)


def test_more_that_is_refused(model: nn.Module, data: Dataset) -> None:
    with pytest.raises(TinykitError, match=r"'stem' \(dorefa\).*odd multiples.*up to 7 bits"):
        tk.to_graph(calibrated(prepare(model, weights="dorefa"), data))
    with pytest.raises(TinykitError, match=r"'quant_0' \(clipped\).*activations of 5 bits"):
        tk.to_graph(calibrated(prepare(model, activation_bits=5), data))
    with pytest.raises(TinykitError, match=r"activations need equal steps"):
        tk.to_graph(calibrated(prepare(model, activations=lambda g: Codebook(count=16)), data))
    with pytest.raises(TinykitError, match="no layer 'head' to quantize; there are: stem, wide"):
        prepare(model, bits_of={"head": 4})
    with pytest.raises(TinykitError, match=r"bits_of\['out'\] is 1: weights take 2 to 8"):
        prepare(model, bits_of={"out": 1})
    with pytest.raises(TinykitError, match="activation_bits is 9"):
        prepare(model, activation_bits=9)
    with pytest.raises(TinykitError, match="no quantizer 'best'"):
        prepare(model, weights="best")
    broken = Odd()
    broken.mix.weight.data[0] = float("nan")
    with pytest.raises(TinykitError, match=r"layer 'mix': .*NaN"):
        prepare(broken)
    broken = Odd()
    broken.out.in_features, broken.out.weight.data = 0, torch.zeros(10, 0)
    with pytest.raises(TinykitError, match=r"layer 'out': nothing to quantize"):
        prepare(broken)

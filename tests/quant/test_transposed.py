"""Transposed convolutions: trained as they are exported; what no graph holds is refused at once."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import tinykit as tk
from tinykit.data import Dataset
from tinykit.formats import tflite
from tinykit.graph import Graph, TinykitError, UnsupportedOpError
from tinykit.quant import calibrated, prepare
from tinykit.quant.fold import folded
from tinykit.quant.layers import weighted
from tinykit.quant.mixed import mixed_precision
from tinykit.quant.ptq import ptq
from tinykit.quant.study import Format, Study
from tinykit.targets import tflm


class UpAgain(nn.Module):
    """Down and up again: a batch norm behind one transposed convolution, a ReLU6 behind both."""

    input_shape = (8, 8, 1)

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(1, 6, 3, 2, 1)
        self.up = nn.ConvTranspose2d(6, 5, 4, 2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(5)
        self.more = nn.ConvTranspose2d(5, 7, 3)
        self.out = nn.Linear(7, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nn.functional.relu6(self.norm(self.up(torch.relu(self.down(x)))))
        return self.out(nn.functional.relu6(self.more(x)).mean((2, 3)))


@pytest.fixture(scope="module")
def data() -> Dataset:
    return tk.data.load("digits")


@pytest.fixture(scope="module")
def model(data: Dataset) -> nn.Module:
    torch.manual_seed(0)
    model = UpAgain()
    tk.fit(model, data.subset(256), epochs=1)
    return model


def test_folding_changes_nothing(model: nn.Module, data: Dataset) -> None:
    x = torch.from_numpy(data.test.x[:8]).permute(0, 3, 1, 2)
    made = folded(model)
    assert "norm" not in {node.target for node in made.graph.nodes}
    with torch.no_grad():
        torch.testing.assert_close(made(x), model.eval()(x), rtol=1e-4, atol=1e-5)


def _trained(model: nn.Module, data: Dataset, **how: object) -> nn.Module:
    small = calibrated(prepare(model, **how), data)  # type: ignore[arg-type]
    tk.fit(small, data.subset(64), epochs=1, lr=1e-3)
    return small


MADE: dict[str, Callable[[nn.Module, Dataset], nn.Module]] = {
    "lsq": _trained,
    "bits of 4 elsewhere": lambda m, d: _trained(m, d, bits=4),
    "six bits": lambda m, d: _trained(m, d, bits_of={"up": 6}),
    "sixteen": lambda m, d: _trained(m, d, activation_bits=16),
    "ptq": lambda m, d: ptq(m, d, adaround=True, steps=30),
}


@pytest.mark.parametrize("how", MADE)
def test_integers_are_those_trained_and_tflite_micro_agrees(
    how: str, model: nn.Module, data: Dataset
) -> None:
    small = MADE[how](model, data)
    layers = weighted(small)
    assert set(layers) == {"down", "up", "more", "out"}
    graph = tk.to_graph(small, softmax=False)
    ups = [op for op in graph.ops if op.kind == "transpose_conv"]
    assert [op.attrs["fused_activation_function"] for op in ups] == ["relu6"] * 2
    for op, name in zip(ups, ("up", "more"), strict=True):
        layer, tensor = layers[name], graph.ins(op)[1]
        assert tensor is not None
        assert tensor.quant is not None
        assert tensor.data is not None
        assert (tensor.dtype, tensor.quant.axis) == ("int8", 0)
        assert len(tensor.quant.scale) == layer.weight.shape[1]
        np.testing.assert_array_equal(tensor.quant.scale, layer.quantizer.scale.detach())  # type: ignore[union-attr]
        with torch.no_grad():
            want = layer.quantized_weight().numpy().transpose(1, 2, 3, 0)  # IOHW → OHWI
        np.testing.assert_array_equal(tensor.data * tensor.quant.scale.reshape(-1, 1, 1, 1), want)
    assert np.abs(graph.ins(ups[0])[1].data).max() == (31 if how == "six bits" else 127)  # type: ignore[union-attr,arg-type]
    _agrees(graph, small, data)


def _agrees(graph: Graph, small: nn.Module, data: Dataset) -> None:
    """With TFLite Micro to the bit, and with what torch computes to two steps of the output."""
    step = float(graph.tensors[graph.outputs[0]].quant.scale[0])  # type: ignore[union-attr]
    zero = int(graph.tensors[graph.outputs[0]].quant.zero_point[0])  # type: ignore[union-attr]
    x = data.test.x[:6]
    stored = [graph.input.stored(image[None]) for image in x]
    theirs = tflm.run(tflite.write(graph), [[s] for s in stored])
    with torch.no_grad():
        torchs = small.eval()(torch.from_numpy(x).permute(0, 3, 1, 2)).numpy()
    # int16's steps are so fine that float32's rounding is many of them
    slack = max(2 * step, 1e-2 * float(np.abs(torchs).max()))
    for values, want, real in zip(stored, theirs.outputs, torchs, strict=True):
        ours = graph.run(values)[0]
        np.testing.assert_array_equal(ours, want[0])
        np.testing.assert_allclose((ours[0].astype(float) - zero) * step, real, atol=slack)


def test_a_budget_counts_its_bytes(model: nn.Module, data: Dataset) -> None:
    graph = tk.to_graph(calibrated(prepare(model), data))
    held = sum(
        t.data.size * (8 if t.dtype == "int32" else 2)
        for t in graph.tensors
        if t.data is not None and t.quant is not None
    ) // 2  # fmt: skip
    plan = mixed_precision(model, data, held, widths=(4, 8), examples=32)
    assert plan.bits["up"] == plan.bits["more"] == 8
    eights = mixed_precision(model, data, held, widths=(8,), examples=32)
    assert eights.bytes == held
    with pytest.raises(TinykitError, match=f"budget is {held - 1} bytes.*smallest possible"):
        mixed_precision(model, data, held - 1, widths=(8,), examples=32)


def test_a_study_shows_them_by_outputs(model: nn.Module, data: Dataset) -> None:
    study = Study(model, data.subset(64), examples=32)
    (at,) = (n for n, layer in enumerate(study.layers) if layer.name == "more")
    assert study.layers[at].kind == "transposed"
    weight = folded(model).get_submodule("more").weight.detach()  # (inputs, outputs, H, W)
    assert isinstance(weight, torch.Tensor)
    low, high = study.channels(at, "weights")
    np.testing.assert_array_equal(low, weight.amin((0, 2, 3)))
    np.testing.assert_array_equal(high, weight.amax((0, 2, 3)))
    fmt = Format(4, scales="channel")
    made = study._rounded(at, fmt)(weight)
    step = torch.from_numpy(study.levels(at, "weights", fmt).scale).reshape(1, -1, 1, 1)
    assert made.shape == weight.shape
    torch.testing.assert_close(made, (weight / step).round().clamp(-7, 7) * step)
    assert 0 <= study.accuracy({at: fmt}, {}) <= 1


def test_no_int4(model: nn.Module, data: Dataset) -> None:
    with pytest.raises(TinykitError, match=r"bits_of\['up'\] is 4: transposed.*5 to 8 bits"):
        prepare(model, bits_of={"up": 4})
    small = calibrated(prepare(model, weights_of={"up": "binary"}), data)
    with pytest.raises(TinykitError, match=r"'up' \(binary\).*no int4 weights"):
        tk.to_graph(small)


@given(
    size=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    more=st.tuples(st.integers(0, 2), st.integers(0, 2)),
)
@settings(max_examples=20, deadline=None)
def test_edges_are_refused_where_the_exporter_refuses_them(
    size: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    more: tuple[int, int],
) -> None:
    more = tuple(min(m, s - 1) for m, s in zip(more, stride, strict=True))  # type: ignore[assignment]
    layer = nn.ConvTranspose2d(1, 2, kernel, stride, padding, more)
    if any(
        (n - 1) * s - 2 * p + k + m < 1
        for n, s, p, k, m in zip(size, stride, padding, kernel, more, strict=True)
    ):
        return  # nothing is left of the image
    try:
        tk.to_graph(nn.Sequential(layer), shape=(*size, 1))
        known = True
    except UnsupportedOpError:
        known = False
    if known:
        prepare(nn.Sequential(layer))
    else:
        with pytest.raises(
            TinykitError, match="layer '0' is a transposed convolution with padding"
        ):
            prepare(nn.Sequential(layer))


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (nn.Conv1d(2, 3, 3), r"'0' is nn\.Conv1d, .* use nn\.Conv2d with a kernel of \(1, k\)"),
        (nn.ConvTranspose1d(2, 3, 3), r"use nn\.ConvTranspose2d with a kernel of \(1, k\)"),
        (nn.Conv3d(2, 3, 3), r"use nn\.Conv2d, nn\.ConvTranspose2d or nn\.Linear"),
        (nn.ConvTranspose2d(2, 2, 2, groups=2), "'0' is a transposed convolution with groups=2"),
        (nn.ConvTranspose2d(2, 2, 2, dilation=2), r"dilation=\(2, 2\)"),
    ],
)
def test_what_no_graph_holds_is_refused_before_training(layer: nn.Module, words: str) -> None:
    with pytest.raises(TinykitError, match=words):
        prepare(nn.Sequential(layer))

"""A study's numbers: levels, errors and accuracies against torch, brute force and the exporter."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinykit as tk
from tinykit.graph.errors import TinykitError
from tinykit.nn.train import tensors
from tinykit.quant.levels import least_squares_ranges
from tinykit.quant.prepare import prepare
from tinykit.quant.quantizers.uniform import Uniform
from tinykit.quant.study import Format, Study

FLOAT8 = Format(8, "tensor", symmetric=False)


@pytest.fixture(scope="module")
def data() -> tk.data.Dataset:
    return tk.data.load("digits")


@pytest.fixture(scope="module")
def model(data: tk.data.Dataset) -> torch.nn.Module:
    made = tk.zoo.ds_cnn(data.spec, 0.25, depth=1, seed=1)
    tk.fit(made, data, epochs=4, seed=1, progress=False)
    return made


@pytest.fixture(scope="module")
def study(model: torch.nn.Module, data: tk.data.Dataset) -> Study:
    return Study(model, data)


def test_nothing_quantized_is_the_float_network(
    study: Study, model: torch.nn.Module, data: tk.data.Dataset
) -> None:
    assert study.float_accuracy == pytest.approx(tk.evaluate(model, data), abs=0.003)
    assert [layer.kind for layer in study.layers] == [
        "convolution", "depthwise", "convolution", "linear",
    ]  # fmt: skip
    assert study.outputs == (8 * 8 * 16, 4 * 4 * 16, 4 * 4 * 16, 10)


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("scales", ["tensor", "channel", "group"])
@pytest.mark.parametrize("symmetric", [True, False])
def test_weights_are_at_the_levels_that_torch_gives(
    study: Study, bits: int, scales: str, symmetric: bool
) -> None:
    fmt = Format(bits, scales, symmetric)  # type: ignore[arg-type]
    for n, layer in enumerate(study.layers):
        levels = study.levels(n, "weights", fmt)
        weight = study._weighted[layer.name].weight.detach()
        axis = None if scales == "tensor" else 0
        if levels.per == "group":
            want = torch.stack(
                [
                    torch.fake_quantize_per_tensor_affine(
                        row, float(s), int(z), levels.low, levels.high
                    )
                    for row, s, z in zip(
                        weight.reshape(len(levels.scale), -1), levels.scale, levels.zero,
                        strict=True,
                    )
                ]
            ).reshape(weight.shape)  # fmt: skip
        elif axis is None:
            want = torch.fake_quantize_per_tensor_affine(
                weight, float(levels.scale[0]), int(levels.zero[0]), levels.low, levels.high
            )
        else:
            want = torch.fake_quantize_per_channel_affine(
                weight, torch.from_numpy(levels.scale), torch.from_numpy(levels.zero).int(), 0,
                levels.low, levels.high,
            )  # fmt: skip
        assert torch.equal(study._rounded(n, fmt)(weight), want)
        clipping, rounding = study.errors(n, "weights", fmt)
        error = ((weight - want).double() ** 2).mean() / (weight.double() ** 2).mean()
        assert clipping + rounding == pytest.approx(float(error), rel=1e-6)


@pytest.mark.parametrize("bits", [8, 4])
def test_accuracy_is_that_of_the_prepared_module(
    study: Study, model: torch.nn.Module, data: tk.data.Dataset, bits: int
) -> None:
    """Another way to the same network: prepare, ranges set by hand, torch's own kernels."""
    module = prepare(model, bits, weights="clipped", bits_of={"1.1": bits})
    for q in (m for m in module.modules() if isinstance(m, Uniform)):
        q.observer = "minmax"
        q._watching = q._fresh()
        q.mode = "observe"
    x, _ = tensors(*(lambda part: (part.x, part.y))(data.train.take(200)))
    with torch.no_grad():
        module(x)
        for q in (m for m in module.modules() if isinstance(m, Uniform)):
            q.mode = "quantize"
        test, _ = tensors(data.test.x, data.test.y)
        want = (module(test).argmax(1).numpy() == data.test.y).mean()
    weights = {
        n: Format(bits, "tensor" if bits == 4 and layer.kind == "linear" else "channel")
        for n, layer in enumerate(study.layers)
    }
    got = study.accuracy(weights, dict.fromkeys(range(4), FLOAT8), FLOAT8)
    assert got == pytest.approx(want, abs=1.5 / study.tested)


def test_the_integer_network_is_as_accurate(
    study: Study, model: torch.nn.Module, data: tk.data.Dataset
) -> None:
    """What fake quantization promises, the exported graph keeps."""
    graph = tk.to_graph(model, calibrate=data)
    weights = dict.fromkeys(range(4), Format(8, "channel"))
    fake = study.accuracy(weights, dict.fromkeys(range(4), FLOAT8), FLOAT8)
    assert tk.evaluate(graph, data) == pytest.approx(fake, abs=4 / study.tested)


def test_clipping_falls_and_rounding_grows_with_the_range(study: Study) -> None:
    for what in ("weights", "activations"):
        by_share = [
            study.errors(1, what, Format(4, "tensor", True, "hand", share))  # type: ignore[arg-type]
            for share in (0.2, 0.5, 0.8, 1.0)
        ]
        clipping = [c for c, _ in by_share]
        assert clipping == sorted(clipping, reverse=True)
        assert clipping[-1] < 1e-9
        assert by_share[0][1] < by_share[-1][1]
        best = sum(study.errors(1, what, Format(4, "tensor", True, "mse")))  # type: ignore[arg-type]
        assert best <= min(sum(e) for e in by_share) * 1.02
        clipped = study.clipped(1, what, Format(4, "tensor", True, "hand", 0.5))  # type: ignore[arg-type]
        largest = max(abs(v) for v in study.range(1, what, Format(4, "tensor"))[:2])
        assert clipped.mean() == pytest.approx(
            (np.abs(study.values(1, what)) > 0.5 * largest).mean(),  # type: ignore[arg-type]
            abs=0.002,
        )


@given(
    hnp.arrays(np.float32, (3, 7), elements=st.floats(-4, 4, width=16)),
    st.integers(2, 5),
    st.booleans(),
)
def test_least_squares_beats_every_share(rows: np.ndarray, bits: int, symmetric: bool) -> None:
    count = 2**bits - symmetric
    low, high = least_squares_ranges(rows, count, symmetric)

    def error(row: np.ndarray, a: float, b: float) -> float:
        step = (b - a) / (count - 1)
        zero = round(-a / step)
        level = np.clip(np.round(row / step) + zero, 0, count - 1)
        return float((((level - zero) * step - row) ** 2).sum())

    for row, a, b in zip(rows.astype(np.float64), low, high, strict=True):
        if not row.any():
            continue
        assert a <= 0 <= b
        least, most = min(row.min(), 0.0), max(row.max(), 0.0)
        if symmetric:
            least, most = -max(-least, most), max(-least, most)
        mine = error(row, a, b)
        for share in np.arange(64, 0, -1) / 64:
            assert mine <= error(row, least * share, most * share) * (1 + 1e-9) + 1e-12


def test_what_does_not_fit_is_coarser(study: Study) -> None:
    fmt = Format(4, "group", group=8)
    assert [study.levels(n, "weights", fmt).per for n in range(4)] == [
        "channel", "channel", "group", "group",
    ]  # fmt: skip
    assert study.levels(2, "activations", fmt).per == "tensor"


def test_mistakes_are_told(study: Study, data: tk.data.Dataset) -> None:
    with pytest.raises(TinykitError, match="share is 0"):
        study.levels(0, "weights", Format(observer="hand", share=0.0))
    with pytest.raises(TinykitError, match="no observer"):
        study.levels(0, "weights", Format(observer="guess"))
    with pytest.raises(TinykitError, match="no layers with weights"):
        Study(torch.nn.Sequential(torch.nn.Flatten()), data)

"""Convolutions by SMLAD at their edges: every schedule is the reference, bit for bit.

`test_variants` runs them on random layers; here are weights, sums and windows at the ends of what
the kernel takes, and what it has to leave to others.
"""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from tests.benchmarks._models import absent, find_models, load
from tests.engine.specialised_cases import check, served, variants
from tinykit.engine import Options, emulate
from tinykit.engine.layer import Layer
from tinykit.engine.specialised.dsp_conv import cost
from tinykit.engine.specialised.dsp_ends import Ends
from tinykit.engine.specialised.dsp_gather import Windows
from tinykit.graph import Graph, GraphBuilder, Quantization
from tinykit.graph.fixedpoint import out_size

M4 = "cortex-m4"


def conv(
    hwc: tuple[int, int, int] = (6, 5, 8),
    channels: int = 6,
    window: tuple[int, int] = (3, 3),
    strides: tuple[int, int] = (1, 1),
    padding: str = "same",
    dilations: tuple[int, int] = (1, 1),
    activation: str = "relu",
    zeros: tuple[int, int] = (-128, -128),
    weights: tuple[int, int] = (-127, 127),
    scale: float = 0.004,
    out_scale: float = 0.05,
    seed: int = 0,
) -> Graph:
    """One convolution with weights of these ends."""
    rng = np.random.default_rng(seed)
    b = GraphBuilder("conv")
    h, w, c = hwc
    x = b.input("x", (1, h, w, c), "int8", Quantization.per_tensor(0.02, zeros[0]))
    shape = (channels, *window, c)
    values = rng.integers(weights[0], weights[1] + 1, shape).astype(np.int8)
    scales = (scale * rng.uniform(0.5, 2, channels)).astype(np.float32)
    kernel = b.const(values, Quantization(scales, np.zeros(channels, np.int64), 0))
    bias = b.const(rng.integers(-4000, 4000, channels).astype(np.int32))
    size = [
        out_size(n, k, s, padding, d)
        for n, k, s, d in zip((h, w), window, strides, dilations, strict=True)
    ]
    out = b.op(
        "conv_2d", [x, kernel, bias], (1, *size, channels), "int8",
        Quantization.per_tensor(out_scale, zeros[1]), padding=padding,
        stride_h=strides[0], stride_w=strides[1], dilation_h_factor=dilations[0],
        dilation_w_factor=dilations[1], fused_activation_function=activation,
    )  # fmt: skip
    return b.finish([out])


def samples(graph: Graph, seed: int = 1) -> list[list[np.ndarray]]:
    rng = np.random.default_rng(seed)
    shape = graph.input.shape
    return [
        [rng.integers(-128, 128, shape, dtype=np.int8)],
        [rng.choice(np.array([-128, 127], np.int8), shape)],
        [np.full(shape, -128, np.int8)],
        [np.full(shape, 127, np.int8)],
    ]


CASES = {
    "weights that leave no room for a borrow": {"weights": (-128, -127)},
    "weights -128 over positive ones": {"weights": (-128, 127), "seed": 3},
    "linear": {"activation": "none", "zeros": (-3, 7)},
    "both limits": {"activation": "relu6", "zeros": (5, -20), "out_scale": 0.2},
    "relu_n1_to_1": {"activation": "relu_n1_to_1", "zeros": (5, -20)},
    "one channel out": {"channels": 1},
    "odd channels": {"channels": 9},
    "channels beyond a group of eight": {"channels": 18, "window": (1, 1), "hwc": (1, 1, 12)},
    "one channel in": {"hwc": (7, 9, 1), "window": (4, 3), "strides": (2, 2)},
    "three channels in": {"hwc": (9, 8, 3), "strides": (2, 2)},
    "a window as large as the image": {"hwc": (4, 4, 8), "window": (4, 4), "padding": "valid"},
    "a window larger than the image": {"hwc": (2, 3, 4), "window": (5, 5)},
    "a row": {"hwc": (1, 20, 4), "window": (1, 5)},
    "a column": {"hwc": (20, 1, 4), "window": (5, 1)},
    "dilated": {"dilations": (2, 2), "hwc": (8, 9, 4)},
    "dilated along rows, odd channels": {"dilations": (1, 3), "hwc": (3, 11, 3)},
    "strides beyond the window": {"hwc": (9, 9, 4), "window": (1, 2), "strides": (3, 4)},
    "pointwise with a stride": {"window": (1, 1), "strides": (2, 2)},
    "pointwise, depth odd": {"window": (1, 1), "hwc": (3, 5, 7)},
    "pointwise, depth one": {"window": (1, 1), "hwc": (3, 5, 1)},
    "pointwise, depth beyond a loop": {"window": (1, 1), "hwc": (2, 3, 90), "channels": 5},
    "scales far apart": {"scale": 0.0007, "out_scale": 0.3, "seed": 5},
    "an output finer than the sums": {"scale": 0.001, "out_scale": 1e-6},
}


@pytest.mark.parametrize("name", CASES)
def test_edges_on_this_machine(name: str) -> None:
    graph = conv(**CASES[name])  # type: ignore[arg-type]
    check(graph, samples(graph), M4)


def test_edges_emulated() -> None:
    for name in ("weights -128 over positive ones", "odd channels", "three channels in"):
        graph = conv(**CASES[name])  # type: ignore[arg-type]
        check(graph, samples(graph), M4, emulated=True)


def test_every_edge_but_one_is_served() -> None:
    """What scales up has no right shift, and is left to the plain kernel."""
    lacking = [name for name, case in CASES.items() if not served(conv(**case), M4)[0]]  # type: ignore[arg-type]
    assert lacking == ["an output finer than the sums"]


def test_words_as_they_stand_where_they_hold_both_weights() -> None:
    assert Ends.of(Layer(conv(), 0)).raw  # type: ignore[union-attr]
    assert not Ends.of(Layer(conv(weights=(-128, -127)), 0)).raw  # type: ignore[union-attr]


def test_sums_too_large_for_words_as_they_stand() -> None:
    """Beyond 2**21, 256 times four times a sum does not fit into 32 bits."""
    graph = conv(hwc=(2, 2, 200), weights=(120, 127), channels=2, scale=1e-4, out_scale=1.0)
    ends = Ends.of(Layer(graph, 0))
    assert ends is not None
    assert not (ends.raw and ends.merged)
    check(graph, samples(graph), M4)


@pytest.mark.parametrize("activation", ["relu", "none"])
@pytest.mark.parametrize("rows", [1, 5])
def test_fully_connected(activation: str, rows: int) -> None:
    rng = np.random.default_rng(2)
    b = GraphBuilder("dense")
    x = b.input("x", (rows, 37), "int8", Quantization.per_tensor(0.02, 3))
    for channels, depth in ((21, 37), (640, 21), (2, 640)):
        values = rng.integers(-128, 128, (channels, depth)).astype(np.int8)
        kernel = b.const(values, Quantization.per_tensor(0.004, 0))
        bias = b.const(rng.integers(-4000, 4000, channels).astype(np.int32))
        quant = Quantization.per_tensor(0.05 * np.sqrt(depth / 37), -100)
        x = b.op("fully_connected", [x, kernel, bias], (rows, channels), "int8", quant,
                 fused_activation_function=activation)  # fmt: skip
    graph = b.finish([x])
    assert served(graph, M4) == [True] * 3
    check(graph, samples(graph), M4)


def test_loads_of_two_words_stay_within_their_reach() -> None:
    """A loop of one turn is written out with what the loop leaves over: it reaches further."""
    graph = conv((3, 9, 58), 4, (3, 1), (1, 4), "valid")
    chosen = [
        options
        for options in variants(graph, M4)
        for s in options.schedules.values()
        if s["pixels"] == 3 and s["words"] == 1 and s["steps"] == 16
    ]
    assert len(chosen) == 1
    inputs = samples(graph)[:1]
    assert np.array_equal(
        emulate(graph, inputs, M4, "zig", options=chosen[0]).outputs[0][0], graph.run(*inputs[0])[0]
    )


def test_techniques_off_are_off() -> None:
    graph = conv()
    plain = variants(graph, M4, Options(simd=False, use_table=False))
    assert {s.kernel for o in plain for s in o.schedules.values()} == {"plain_conv"}
    steps = {
        s["steps"] for o in variants(graph, M4, Options(unroll=False)) for s in o.schedules.values()
    }
    assert steps == {1}
    check(graph, samples(graph)[:1], M4)


@pytest.mark.parametrize("pixels", [1, 2, 3, 4])
def test_the_lead_is_what_a_walk_over_the_windows_gives(pixels: int) -> None:
    """Brute force: which bytes are still to be read when a block of outputs is written."""
    for case in CASES.values():
        layer = Layer(conv(**case), 0)  # type: ignore[arg-type]
        (h, w), (sh, sw), (dh, dw) = layer.window, layer.strides, layer.dilations
        in_h, in_w, c = layer.in_hwc
        out_h, out_w, channels = layer.out_hwc
        top, _, left, _ = layer.pads
        blocks = [(r, q) for r in range(out_h) for q in range(0, out_w, pixels)]
        reads, ends = [], []
        for row, column in blocks:
            pixels_here = range(column, min(column + pixels, out_w))
            taps = [
                ((row * sh - top + i * dh) * in_w + q * sw - left + j * dw) * c
                for q in pixels_here for i in range(h) for j in range(w)
                if 0 <= row * sh - top + i * dh < in_h and 0 <= q * sw - left + j * dw < in_w
            ]  # fmt: skip
            reads.append(min(taps, default=in_h * in_w * c))
            ends.append((row * out_w + pixels_here[-1] + 1) * channels)
        least = max((ends[n] - min(reads[n + 1 :]) for n in range(len(blocks) - 1)), default=None)
        if least is not None:
            assert Windows(layer, 2).leads(pixels) >= least


#: instructions of TFLite Micro with CMSIS-NN, gcc 12.2, Cortex-M4
LINE = {
    "kws": 7.698e6,
    "image classification": 29.86e6,
    "wake-words shape": 24.10e6,
    "anomaly shape": 0.583e6,
}


@pytest.mark.parametrize("name", LINE)
def test_half_of_the_instructions_of_cmsis_nn(name: str) -> None:
    """Counted, so a test may hold it: the default schedules, no table."""
    if not shutil.which("arm-none-eabi-gcc"):
        pytest.skip("arm-none-eabi-gcc is not installed")
    if find_models(own=True)[name] is None:
        pytest.skip(absent(name))
    graph = load(name)
    assert graph is not None
    sample = samples(graph)[0]
    run = emulate(graph, [sample], M4, "gcc", options=Options(use_table=False))
    assert np.array_equal(run.outputs[0][0], graph.run(*sample)[0])
    assert run.instructions is not None
    assert run.instructions <= 0.5 * LINE[name]


def test_the_guess_is_near_the_count() -> None:
    """Schedules are tried in the order of a guess: it is within a third for a large layer."""
    graph = conv(hwc=(8, 8, 32), channels=32)
    layer, ends = Layer(graph, 0), Ends.of(Layer(graph, 0))
    assert ends is not None
    for options in variants(graph, M4)[:3]:
        run = emulate(graph, [samples(graph)[0]], M4, options=options)
        (schedule,) = options.schedules.values()
        assert cost(layer, ends, schedule) == pytest.approx(run.instructions, rel=0.34)

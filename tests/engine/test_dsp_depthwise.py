"""Depthwise kernels for cores with DSP instructions: every schedule is the reference, bit for bit.

Many layers make one graph, so that one run of the compiler does for all of them.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import numpy as np
import pytest

from tests.benchmarks._models import absent, find_models
from tinykit.engine import HostLibrary, emulate
from tinykit.engine.arrange import Program, arrange, candidates
from tinykit.engine.cores import find_core
from tinykit.engine.layer import Layer
from tinykit.engine.options import Options
from tinykit.engine.schedule import Schedule
from tinykit.formats import tflite
from tinykit.graph import Graph, GraphBuilder, Quantization
from tinykit.graph.fixedpoint import out_size

M4 = find_core("cortex-m4")
#: kernels of this family
NAMES = {"depthwise_plane"}


def add_layer(
    b: GraphBuilder,
    rng: np.random.Generator,
    hwc: tuple[int, int, int],
    window: tuple[int, int] = (3, 3),
    strides: tuple[int, int] = (1, 1),
    padding: str = "same",
    activation: str = "relu",
    dilations: tuple[int, int] = (1, 1),
    multiplier: int = 1,
    zeros: tuple[int, int] = (-128, -128),
    per_channel: bool = True,
    weight_scales: tuple[float, float] = (0.002, 0.01),
) -> None:
    """A depthwise convolution with an input and an output of its own."""
    h, w, c = hwc
    channels = c * multiplier
    x = b.input(f"x{len(b.tensors)}", (1, h, w, c), "int8", Quantization.per_tensor(0.02, zeros[0]))
    shape = [
        out_size(size, k, s, padding, d)
        for size, k, s, d in zip((h, w), window, strides, dilations, strict=True)
    ]
    scales = rng.uniform(*weight_scales, channels if per_channel else 1).astype(np.float32)
    axis = 3 if per_channel else 0
    quant = Quantization(scales, np.zeros(len(scales), np.int64), axis)
    weights = rng.integers(-127, 128, (1, *window, channels), dtype=np.int8)
    bias = rng.integers(-3000, 3000, channels).astype(np.int32)
    out = Quantization.per_tensor(float(rng.choice([0.01, 0.04, 0.15])), zeros[1])
    y = b.op(
        "depthwise_conv_2d", [x, b.const(weights, quant), b.const(bias)], (1, *shape, channels),
        "int8", out, padding=padding, stride_h=strides[0], stride_w=strides[1],
        dilation_h_factor=dilations[0], dilation_w_factor=dilations[1], depth_multiplier=multiplier,
        fused_activation_function=activation,
    )  # fmt: skip
    made.append(y)


made: list[int] = []


def random_layers(count: int, seed: int) -> Graph:
    """Layers of every kind: sizes down to one pixel, inputs smaller than the window, any stride."""
    rng = np.random.default_rng(seed)
    b = GraphBuilder("depthwise layers")
    made.clear()
    while len(made) < count:
        odd = rng.random() < 0.4
        size = rng.integers(1, 20, 2)
        window = rng.integers(1, 6, 2) if odd else np.array([3, 3])
        dilated = odd and rng.random() < 0.3
        strides = rng.integers(1, 4, 2) if odd and not dilated else np.repeat(rng.integers(1, 3), 2)
        strides = np.array([1, 1]) if dilated else strides
        dilations = rng.integers(1, 4, 2) if dilated else np.array([1, 1])
        padding = str(rng.choice(["same", "valid"]))
        if padding == "valid" and np.any(size < (window - 1) * dilations + 1):
            continue
        add_layer(
            b, rng, (int(size[0]), int(size[1]), int(rng.choice([1, 3, 8, 16, 21]))),
            (int(window[0]), int(window[1])), (int(strides[0]), int(strides[1])), padding,
            str(rng.choice(["relu", "relu6", "none", "relu_n1_to_1"])),
            (int(dilations[0]), int(dilations[1])), int(rng.choice([1, 1, 1, 2, 3])),
            (int(rng.choice([-128, 0, 127, 5])), int(rng.choice([-128, -128, 0, -3, 127]))),
            bool(rng.random() < 0.7),
        )  # fmt: skip
    return b.finish(made)


def variants(graph: Graph, options: Options | None = None) -> list[list[Schedule]]:
    """The family's schedules of each layer."""
    return [
        [s for s in candidates([Layer(graph, p)], M4, options or Options()) if s.kernel in NAMES]
        for p in range(len(graph.ops))
    ]


def programs(graph: Graph, core: str = "cortex-m4") -> Iterator[Program]:
    """Programs that together use every schedule of every layer."""
    found = variants(graph)
    for turn in range(max(map(len, found))):
        chosen = {
            Layer(graph, p).key: schedules[turn % len(schedules)]
            for p, schedules in enumerate(found)
            if schedules
        }
        yield arrange(graph, core, Options(schedules=chosen))


def samples(graph: Graph, count: int = 2) -> Iterator[list[np.ndarray]]:
    rng = np.random.default_rng(9)
    shapes = [graph.tensors[i].shape for i in graph.inputs]
    for _ in range(count):
        yield [rng.integers(-128, 128, shape, dtype=np.int8) for shape in shapes]
    yield [rng.choice(np.array([-128, 127], np.int8), shape) for shape in shapes]


def same(graph: Graph, expected: list[np.ndarray], found: list[np.ndarray]) -> None:
    for position, (a, b) in enumerate(zip(expected, found, strict=True)):
        layer = Layer(graph, position)
        assert np.array_equal(a, b), (layer.key, layer.limits, layer.out_zero)


def test_every_schedule_of_random_layers() -> None:
    graph = random_layers(80, 1)
    assert sum(bool(v) for v in variants(graph)) >= 60
    runs = [(sample, graph.run(*sample)) for sample in samples(graph)]
    for program in programs(graph):
        library = HostLibrary(program)
        for sample, expected in runs:
            same(graph, expected, library.run(*sample))


@pytest.mark.parametrize(
    ("core", "toolchain"),
    [("cortex-m4", "gcc"), ("cortex-m4", "zig"), ("cortex-m7", "gcc"), ("cortex-m33", "zig")],
)
def test_random_layers_emulated(core: str, toolchain: str) -> None:
    if toolchain == "gcc" and not shutil.which("arm-none-eabi-gcc"):
        pytest.skip("arm-none-eabi-gcc is not installed")
    graph = random_layers(40, 2)
    for program, _ in zip(programs(graph, core), range(3), strict=False):
        inputs = list(samples(graph, 0))
        result = emulate(program, inputs, core, toolchain)
        same(graph, graph.run(*inputs[0]), result.outputs[0])


def test_no_schedule_where_exactness_cannot_be_shown() -> None:
    """Scales whose ratio shifts to the left; more than one image; cores without DSP."""
    rng = np.random.default_rng(3)
    b = GraphBuilder()
    made.clear()
    add_layer(b, rng, (4, 4, 2), weight_scales=(50.0, 60.0))
    graph = b.finish(made)
    assert not variants(graph)[0]
    fine = random_layers(1, 5)
    assert variants(fine)[0]
    found = candidates([Layer(fine, 0)], find_core("cortex-m0plus"), Options())
    assert not NAMES & {schedule.kernel for schedule in found}
    assert not variants(fine, Options(simd=False))[0]


def test_without_unrolling_taps_are_a_loop() -> None:
    graph = random_layers(12, 6)
    for schedules in variants(graph, Options(unroll=False)):
        assert all(s["rolled"] for s in schedules)


def test_outputs_lie_over_inputs() -> None:
    rng = np.random.default_rng(4)
    b = GraphBuilder()
    made.clear()
    add_layer(b, rng, (12, 10, 24))
    graph = b.finish(made)
    program = arrange(graph, "cortex-m4")
    assert program.plan.arena_bytes < 12 * 10 * 24 + 500
    (sample,) = samples(graph, 0)
    same(graph, graph.run(*sample), HostLibrary(program).run(*sample))


def test_keyword_spotting_takes_a_quarter_of_the_instructions() -> None:
    """CMSIS-NN takes 0.561 M instructions for each of its four depthwise layers."""
    path = find_models()["kws"]
    if path is None:
        pytest.skip(absent("kws"))
    if not shutil.which("arm-none-eabi-gcc"):
        pytest.skip("arm-none-eabi-gcc is not installed")
    graph = tflite.read_file(path)
    rng = np.random.default_rng(0)
    sample = rng.integers(-128, 128, graph.input.shape, dtype=np.int8)
    result = emulate(graph, [sample], "cortex-m4", "gcc", options=Options(fuse=False))
    assert np.array_equal(result.outputs[0][0], graph.run(sample)[0])
    assert result.per_op is not None
    counts = [n for n, op in zip(result.per_op, graph.ops, strict=True) if "depthwise" in op.kind]
    assert len(counts) == 4
    assert max(counts) < 0.14e6

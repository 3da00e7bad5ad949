"""Specialised elementwise and pooling kernels: every schedule, bit for bit, on all cores."""

from __future__ import annotations

import functools
import shutil

import numpy as np
import pytest

from tests.engine.specialised_cases import check, served
from tests.pointwise_cases import ACTIVATIONS, Branches, Case
from tinykit.engine import HostLibrary, MemoryPlan, arrange
from tinykit.graph import Graph, GraphBuilder, Quantization
from tinykit.graph.fixedpoint import out_size

CORES = ("cortex-m0plus", "cortex-m3", "cortex-m4", "cortex-m7", "cortex-m33")
needs_gcc = pytest.mark.skipif(
    not shutil.which("arm-none-eabi-gcc"), reason="arm-none-eabi-gcc is not installed"
)
#: one image holds all schedules of a test; M7 and M33 run what the M4 runs
EMULATED = [
    ("cortex-m0plus", "zig"), ("cortex-m3", "zig"), ("cortex-m4", "zig"),
    pytest.param("cortex-m4", "gcc", marks=needs_gcc),
]  # fmt: skip


@functools.cache
def sums() -> Case:
    """add and sub: every pair of stored values once, and odd sizes, under many scales."""
    b = Branches("sums", 3)
    pairs = np.indices((256, 256)).reshape(2, -1).astype(np.uint8).view(np.int8)
    shapes = [(1, 256, 256), (1, 1), (3, 7, 1, 5), (1, 42), (2, 2, 3)]
    for number in range(40):
        kind, activation = ("add", "sub")[number % 2], ACTIVATIONS[number // 2 % 4]
        shape = shapes[0] if number < 6 else shapes[1 + number % 4]
        a, c = b.quant("int8"), b.quant("int8")
        if number % 5 == 4:
            c = Quantization.per_tensor(float(a.scale[0]), int(c.zero_point[0]))
        largest = max(float(a.scale[0]), float(c.scale[0]))
        out = Quantization.per_tensor(largest * b.scale(0.05, 4), b.zero("int8"))
        feeds = [p.reshape(shape) for p in pairs] if number < 6 else [
            b.random(shape, "int8"), b.random(shape, "int8")
        ]  # fmt: skip
        inputs = [b.feed(f, "int8", q) for f, q in zip(feeds, (a, c), strict=True)]
        b.op(kind, inputs, shape, "int8", out, fused_activation_function=activation)
    return b.finish()


@pytest.mark.parametrize("core", CORES)
def test_sums_on_this_machine(core: str) -> None:
    graph, feeds = sums()
    assert all(served(graph, core))
    check(graph, [feeds], core)


@pytest.mark.parametrize(("core", "toolchain"), EMULATED)
def test_sums_emulated(core: str, toolchain: str) -> None:
    graph, feeds = sums()
    check(graph, [feeds], core, emulated=True, toolchain=toolchain)


@functools.cache
def pools() -> Case:
    """Means over windows of many sizes: written out, in loops, whole rows, the whole image."""
    b = Branches("pools", 4)
    windows = [(25, 5, 64, 25, 5, 1, 1), (8, 8, 16, 8, 8, 1, 1), (7, 9, 4, 2, 3, 1, 2),
               (6, 6, 12, 5, 4, 1, 1), (17, 15, 8, 17, 15, 1, 1), (9, 5, 8, 4, 5, 2, 1),
               (5, 7, 20, 2, 2, 2, 2), (1, 1, 4, 1, 1, 1, 1), (19, 3, 4, 1, 3, 3, 1)]  # fmt: skip
    for number, (h, w, c, window_h, window_w, stride_h, stride_w) in enumerate(windows):
        quant = b.quant("int8")
        values = b.random((1, h, w, c), "int8")
        values.reshape(-1, c)[:, :2] = (-128, 127)  # sums as large as they get
        shape = (1, (h - window_h) // stride_h + 1, (w - window_w) // stride_w + 1, c)
        attrs = {"filter_height": window_h, "filter_width": window_w,
                 "stride_h": stride_h, "stride_w": stride_w}  # fmt: skip
        b.op("average_pool_2d", [b.feed(values, "int8", quant)], shape, "int8", quant, **attrs,
             fused_activation_function=ACTIVATIONS[number % 4])  # fmt: skip
        axes = b.builder.const(np.array([1, 2], np.int32))
        made = Quantization.per_tensor(float(quant.scale[0]) * b.scale(0.1, 3), b.zero("int8"))
        b.op("mean", [b.feed(values, "int8", quant), axes], (1, c), "int8", made)
    return b.finish()


@pytest.mark.parametrize("core", ["cortex-m4", "cortex-m33"])
def test_pools_on_this_machine(core: str) -> None:
    graph, feeds = pools()
    assert all(served(graph, core))
    check(graph, [feeds], core)


@pytest.mark.parametrize(("core", "toolchain"), EMULATED[2:])
def test_pools_emulated(core: str, toolchain: str) -> None:
    graph, feeds = pools()
    check(graph, [feeds], core, emulated=True, toolchain=toolchain)


@functools.cache
def others() -> Case:
    """mul on every pair of stored values and odd sizes; largest of windows, padded or not."""
    b = Branches("others", 6)
    pairs = np.indices((256, 256)).reshape(2, -1).astype(np.uint8).view(np.int8)
    for number in range(16):
        shape = (1, 256, 256) if number < 3 else [(1, 1), (3, 7, 1, 5), (1, 42)][number % 3]
        a, c = b.quant("int8"), b.quant("int8")
        largest = float(a.scale[0]) * float(c.scale[0])
        out = Quantization.per_tensor(largest * b.scale(1.5, 300), b.zero("int8"))
        feeds = [p.reshape(shape) for p in pairs] if number < 3 else [
            b.random(shape, "int8"), b.random(shape, "int8")
        ]  # fmt: skip
        inputs = [b.feed(f, "int8", q) for f, q in zip(feeds, (a, c), strict=True)]
        b.op("mul", inputs, shape, "int8", out, fused_activation_function=ACTIVATIONS[number % 4])
    windows = [(8, 8, 16, 2, 2, 2, 2), (9, 7, 5, 3, 3, 1, 1), (6, 9, 3, 3, 2, 2, 3),
               (1, 1, 1, 1, 1, 1, 1), (5, 5, 8, 5, 5, 1, 1),
               (4, 3, 6, 2, 3, 1, 1), (7, 7, 4, 3, 3, 2, 2)]  # fmt: skip
    for number, (h, w, c, window_h, window_w, stride_h, stride_w) in enumerate(windows):
        for padding in ("valid", "same"):
            quant = b.quant("int8")
            shape = (1, out_size(h, window_h, stride_h, padding, 1),
                     out_size(w, window_w, stride_w, padding, 1), c)  # fmt: skip
            b.op("max_pool_2d", [b.feed(b.random((1, h, w, c), "int8"), "int8", quant)], shape,
                 "int8", quant, padding=padding, filter_height=window_h, filter_width=window_w,
                 stride_h=stride_h, stride_w=stride_w,
                 fused_activation_function=ACTIVATIONS[number % 4])  # fmt: skip
    return b.finish()


def test_others_on_this_machine() -> None:
    graph, feeds = others()
    assert all(served(graph, "cortex-m4"))
    check(graph, [feeds], "cortex-m4")


@pytest.mark.parametrize(("core", "toolchain"), EMULATED[2:])
def test_others_emulated(core: str, toolchain: str) -> None:
    graph, feeds = others()
    check(graph, [feeds], core, emulated=True, toolchain=toolchain)


def test_a_pool_over_its_own_input() -> None:
    """One after the other in one memory: padded windows reach back behind the pixel."""
    rng = np.random.default_rng(9)
    b = GraphBuilder("pools in place")
    quant = Quantization.per_tensor(0.1, 3)
    x = b.input("x", (1, 9, 8, 6), "int8", quant)
    for window, stride in ((3, 1), (2, 1), (3, 2)):
        _, h, w, c = b.tensors[x].shape
        shape = (1, -(-h // stride), -(-w // stride), c)
        x = b.op("max_pool_2d", [x], shape, "int8", quant, padding="same", filter_height=window,
                 filter_width=window, stride_h=stride, stride_w=stride)  # fmt: skip
    graph = b.finish([x])
    assert plan_of(graph, "cortex-m4").arena_bytes < 2 * 9 * 8 * 6
    check(graph, [[rng.integers(-128, 128, (1, 9, 8, 6), dtype=np.int8)]], "cortex-m4")


def plan_of(graph: Graph, core: str) -> MemoryPlan:
    return arrange(graph, core).plan


def test_what_sixteen_bits_cannot_sum_is_left_to_the_plain_kernel() -> None:
    for size, serves in ((255, True), (256, False)):
        b = Branches("large", 5)
        quant = b.quant("int8")
        x = b.feed(b.random((1, size, 1, 4), "int8"), "int8", quant)
        b.op("average_pool_2d", [x], (1, 1, 1, 4), "int8", quant, filter_height=size)
        assert served(b.finish()[0], "cortex-m4") == [serves]


@pytest.mark.parametrize("kind", ["average_pool_2d", "max_pool_2d"])
def test_a_pool_of_an_input_without_scale_is_left_to_the_plain_kernel(kind: str) -> None:
    b = GraphBuilder(kind)
    x = b.input("x", (1, 4, 4, 4), "int8")
    y = b.op(
        kind, [x], (1, 2, 2, 4), "int8", Quantization.per_tensor(0.1), padding="valid",
        stride_h=2, stride_w=2, filter_height=2, filter_width=2, fused_activation_function="none",
    )  # fmt: skip
    graph = b.finish([y])
    assert served(graph, "cortex-m4") == [False]
    sample = np.random.default_rng(0).integers(-128, 128, (1, 4, 4, 4), dtype=np.int8)
    found = HostLibrary(graph, core="cortex-m4").run(sample)[0]
    assert np.array_equal(found, graph.run(sample)[0])

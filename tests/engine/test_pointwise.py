"""C kernels of pointwise and reducing ops against the reference, on every input value."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from tests.pointwise_cases import CASES, Q, assert_same, merge, unary
from tinykit.engine import HostLibrary
from tinykit.engine.emulator import emulate_many
from tinykit.engine.kernels import lookup
from tinykit.formats import tflite
from tinykit.graph.builder import GraphBuilder
from tinykit.graph.ir import Graph, Quantization
from tinykit.targets import tflm


def rtol_for(name: str) -> float:
    """Floats: in C exp and tanh are polynomials a few ulps from libm's, and sums run in order."""
    if name.startswith(("mean-float", "sum-float")):
        return 1e-3
    return 2e-6 if "float32" in name else 0.0


@functools.cache
def on_host(kind: str) -> dict[str, list[np.ndarray]]:
    """What the C kernels make of every case of an op, compiled in one go."""
    cases = {name: CASES[name]() for name in CASES if name.split("-")[0] == kind}
    graph, feeds = merge(cases.values())
    made = iter(HostLibrary(graph).run(*feeds))
    return {name: [next(made) for _ in case.outputs] for name, (case, _) in cases.items()}


@pytest.mark.parametrize("name", CASES)
def test_host_is_the_reference(name: str) -> None:
    graph, feeds = CASES[name]()
    assert_same(graph.run(*feeds), on_host(name.split("-")[0])[name], rtol_for(name))


def test_emulated_cores_are_the_reference() -> None:
    """All cases in one image: integers bit for bit, floats to rounding."""
    cases = [make() for make in CASES.values()]
    made = emulate_many([g for g, _ in cases], [[feeds] for _, feeds in cases], "cortex-m4")
    for name, (graph, feeds), run in zip(CASES, cases, made, strict=True):
        assert_same(graph.run(*feeds), run.outputs[0], rtol_for(name))


def test_relu_n1_to_1_on_host() -> None:
    graph, feeds = merge(unary("relu_n1_to_1", t, 10) for t in ("int8", "int16", "float32"))
    assert_same(graph.run(*feeds), HostLibrary(graph).run(*feeds))


EXTREMES = np.array([[np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-40, 0.0, -0.0, 1.0]], np.float32)


def test_floats_at_the_edges() -> None:
    """Not numbers, infinities, overflow: no warning, and host and TFLite Micro agree."""
    b = GraphBuilder()
    x = b.input("x", EXTREMES.shape, "float32")
    outputs = [
        b.op(kind, inputs, EXTREMES.shape, "float32", **attrs)
        for kind, inputs, attrs in (
            ("relu", [x], {}),
            ("relu6", [x], {}),
            ("leaky_relu", [x], {"alpha": 0.1}),
            ("logistic", [x], {}),
            ("tanh", [x], {}),
            ("hard_swish", [x], {}),
            ("softmax", [x], {}),
            ("add", [x, x], {}),
            ("mul", [x, x], {"fused_activation_function": "relu"}),
        )
    ]
    stored = b.op("quantize", [x], EXTREMES.shape, "int8", Q(0.1, 3))
    graph = b.finish([*outputs, stored])
    want = graph.run(EXTREMES)
    assert_same(want, HostLibrary(graph).run(EXTREMES), 2e-6)
    made = tflm.run(tflite.write(graph), [EXTREMES]).outputs
    assert_same(want[:-1], made[:-1], 2e-6)  # a PC's C quantizes what is out of range as it likes
    assert want[-1].ravel()[:5].tolist() == [3, 127, -128, 127, -128]


def one_op(
    kind: str, shape: tuple[int, ...], dtype: str, quant: Quantization, made: Quantization
) -> Graph:
    b = GraphBuilder()
    y = b.op(kind, [b.input("x", shape, dtype, quant)], shape, dtype, made)
    return b.finish([y])


@pytest.mark.parametrize("depth", [511, 512, 1000, 3000])
def test_softmax_over_many_nearly_equal_values(depth: int) -> None:
    """From a sum of 512 on TFLite Micro aborts; host and reference go on, and agree."""
    graph = one_op("softmax", (1, depth), "int8", Q(1e-3, 0), Q(1 / 256, -128))
    x = np.random.default_rng(0).integers(-3, 4, (1, depth)).astype(np.int8)
    assert_same(graph.run(x), HostLibrary(graph).run(x))


def test_constant_operands_and_five_dimensions() -> None:
    rng = np.random.default_rng(1)
    b = GraphBuilder()
    x = b.input("x", (2, 3, 2, 3, 4), "int8", Q(0.1, 3))
    k = b.const(rng.integers(-128, 128, (2, 3, 2, 3, 4)).astype(np.int8), Q(0.2, -5))
    y = b.op("add", [x, k], (2, 3, 2, 3, 4), "int8", Q(0.3, 1))
    axes = b.const(np.array([0, 2, 4], np.int32))
    z = b.op("mean", [y, axes], (3, 3), "int8", Q(0.2, 0))
    graph = b.finish([z])
    feed = rng.integers(-128, 128, (2, 3, 2, 3, 4)).astype(np.int8)
    assert_same(graph.run(feed), HostLibrary(graph).run(feed))


def test_a_relu_that_only_limits_needs_no_table() -> None:
    same = one_op("relu", (1, 8), "int8", Q(0.1, -7), Q(0.1, -7))
    other = one_op("relu", (1, 8), "int8", Q(0.1, -7), Q(0.2, -7))
    assert "tk_limit_s8" in HostLibrary(same).sources.files["model.c"]
    assert "tk_lookup_8" in HostLibrary(other).sources.files["model.c"]
    op, data, output = same.ops[0], same.tensors[0], same.tensors[1]
    table = lookup.results(op, data, output)
    np.testing.assert_array_equal(
        table[np.int8([-128, -8, -7, 5, 127]).view(np.uint8)], [-7, -7, -7, 5, 127]
    )

"""Reference kernels of pointwise and reducing ops against TFLite Micro, on every input value."""

from __future__ import annotations

import numpy as np
import pytest

from tests.pointwise_cases import CASES, Q, assert_same, every, unary
from tinykit.formats import tflite
from tinykit.graph.builder import GraphBuilder
from tinykit.graph.errors import GraphError, UnsupportedOpError
from tinykit.targets import litert, tflm

#: floats agree to rounding: libm's exp differs by an ulp, sums add up in another order
RTOL = {"softmax-float32-float32": 3e-6, "mean-float32": 1e-3, "sum-float32": 1e-3}


@pytest.mark.parametrize("name", CASES)
def test_reference_is_what_tflite_micro_computes(name: str) -> None:
    graph, feeds = CASES[name]()
    want = tflm.run(tflite.write(graph), feeds).outputs
    exact = all(t.dtype != "float32" for t in (graph.tensors[i] for i in graph.outputs))
    assert_same(want, graph.run(*feeds), 0.0 if exact else RTOL.get(name, 5e-7))


@pytest.mark.parametrize("dtype", ["int8", "float32"])
def test_relu_n1_to_1_is_what_litert_computes(dtype: str) -> None:
    """TFLite Micro lacks it; LiteRT's reference kernel is the oracle."""
    graph, feeds = unary("relu_n1_to_1", dtype, 20)
    want = litert.run(tflite.write(graph), feeds, "builtin_ref").outputs
    assert_same(want, graph.run(*feeds))


@pytest.mark.parametrize("kind", ["logistic", "tanh", "hard_swish", "softmax"])
def test_integer_kernels_stay_near_the_real_function(kind: str) -> None:
    """Guards against an oracle and a reference that are wrong in the same way."""
    scale, zero = 0.05, 3
    made = {
        "logistic": Q(1 / 256, -128),
        "tanh": Q(1 / 128, 0),
        "hard_swish": Q(0.05, -100),
        "softmax": Q(1 / 256, -128),
    }[kind]
    x = every("int8")
    b = GraphBuilder()
    y = b.op(kind, [b.input("x", x.shape, "int8", Q(scale, zero))], x.shape, "int8", made)
    graph = b.finish([y])
    real = scale * (x.astype(np.float64) - zero)
    exact = {
        "logistic": 1 / (1 + np.exp(-real)),
        "tanh": np.tanh(real),
        "hard_swish": real * np.clip(real + 3, 0, 6) / 6,
        "softmax": np.exp(real) / np.exp(real).sum(),
    }[kind]
    limits = np.array([-128, 127], np.float64) - made.zero_point[0]
    exact = np.clip(exact, *(limits * made.scale[0]))
    got = graph.output.real(graph.run(x)[0])
    assert np.abs(got - exact).max() <= 1.01 * made.scale[0]


def test_variants_without_kernel_are_named() -> None:
    b = GraphBuilder()
    x = b.input("x", (1, 4), "int32")
    graph = b.finish([b.op("tanh", [x], (1, 4), "int32")])
    with pytest.raises(UnsupportedOpError, match=r"tanh.*int32 to int32"):
        graph.run(np.zeros((1, 4), np.int32))


@pytest.mark.parametrize(
    ("kind", "dtype", "quant", "says"),
    [
        ("logistic", "int8", Q(1 / 256, 0), "1/256 and zero point -128"),
        ("tanh", "int16", Q(1 / 256, 0), "1/32768"),
        ("softmax", "int8", Q(1 / 128, -128), "scale 1/256"),
    ],
)
def test_outputs_that_tflite_fixes(kind: str, dtype: str, quant: object, says: str) -> None:
    b = GraphBuilder()
    x = b.input("x", (1, 4), dtype, Q(0.1))
    graph = b.finish([b.op(kind, [x], (1, 4), dtype, quant)])  # type: ignore[arg-type]
    feed = np.zeros((1, 4), dtype)
    with pytest.raises(GraphError, match=says):
        graph.run(feed)
    with pytest.raises(tflm.TflmError):
        tflm.run(tflite.write(graph), [feed])


def test_shapes_that_do_not_broadcast_are_refused() -> None:
    b = GraphBuilder()
    x, y = b.input("x", (1, 4), "float32"), b.input("y", (1, 3), "float32")
    z = b.op("add", [x, y], (1, 4), "float32")
    with pytest.raises(GraphError, match="do not broadcast"):
        b.finish([z])


def test_axes_outside_the_tensor_are_refused() -> None:
    b = GraphBuilder()
    x, axes = b.input("x", (1, 4), "float32"), b.const(np.array([2], np.int32))
    y = b.op("mean", [x, axes], (1,), "float32")
    with pytest.raises(GraphError, match="axis 2 of a tensor with 2 dimensions"):
        b.finish([y])

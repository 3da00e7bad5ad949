"""Small graphs with a bit of everything, for tests of the file format."""

from __future__ import annotations

import numpy as np

import tinykit.graph.ops  # noqa: F401  (fills the opset)
from tinykit.graph import Graph, GraphBuilder, Quantization


def _weights(
    b: GraphBuilder, shape: tuple[int, ...], axis: int, rng: np.random.Generator
) -> tuple[int, np.ndarray]:
    scale = rng.uniform(0.002, 0.02, shape[axis]).astype(np.float32)
    quant = Quantization(scale, np.zeros(shape[axis], np.int64), axis)
    data = rng.integers(-127, 128, shape).astype(np.int8)
    return b.const(data, quant, f"weights_{len(b.tensors)}"), scale


def _bias(b: GraphBuilder, scale: np.ndarray, rng: np.random.Generator) -> int:
    quant = Quantization(scale, np.zeros(scale.size, np.int64), 0)
    return b.const(rng.integers(-500, 500, scale.size).astype(np.int32), quant)


def small_cnn(seed: int = 0) -> Graph:
    """int8: conv, depthwise conv, residual add, pool, reshape, fully connected, softmax."""
    rng = np.random.default_rng(seed)
    b = GraphBuilder("small_cnn")
    conv = {"stride_w": 1, "stride_h": 1, "fused_activation_function": "relu"}
    qx, qa = Quantization.per_tensor(0.05, -3), Quantization.per_tensor(0.04, -128)
    x = b.input("image", (1, 8, 6, 2), "int8", qx)
    w, s = _weights(b, (4, 3, 3, 2), 0, rng)
    a = b.op("conv_2d", [x, w, _bias(b, s * 0.05, rng)], (1, 8, 6, 4), "int8", qa, "stem",
             padding="same", **conv)  # fmt: skip
    w, s = _weights(b, (1, 3, 3, 4), 3, rng)
    d = b.op("depthwise_conv_2d", [a, w, _bias(b, s * 0.04, rng)], (1, 8, 6, 4), "int8", qa,
             padding="same", depth_multiplier=1, **conv)  # fmt: skip
    y = b.op("add", [a, d], (1, 8, 6, 4), "int8", qa, fused_activation_function="relu")
    y = b.op("max_pool_2d", [y], (1, 4, 3, 4), "int8", qa,
             stride_w=2, stride_h=2, filter_width=2, filter_height=2)  # fmt: skip
    y = b.op("reshape", [y, b.const(np.int32([1, 48]))], (1, 48), "int8", qa)
    data = rng.integers(-127, 128, (3, 48)).astype(np.int8)
    w = b.const(data, Quantization.per_tensor(0.01), "dense")
    y = b.op("fully_connected", [y, w, None], (1, 3), "int8", Quantization.per_tensor(0.2, 5))
    y = b.op("softmax", [y], (1, 3), "int8", Quantization.per_tensor(1 / 256, -128), beta=1.0)
    return b.finish([y])


def shapes_and_slices() -> Graph:
    """int8 and int4 with two inputs, two outputs, and the ops that move values about."""
    rng = np.random.default_rng(1)
    b = GraphBuilder("moves")
    q = Quantization.per_tensor(0.1, 7)
    x = b.input("x", (1, 4, 6, 4), "int8", q)
    z = b.input("z", (1, 4, 6, 2), "int8", q)
    y = b.op("concatenation", [x, z], (1, 4, 6, 6), "int8", q, axis=3)
    y = b.op(
        "pad", [y, b.const(np.int32([[0, 0], [1, 1], [0, 0], [0, 0]]))], (1, 6, 6, 6), "int8", q
    )
    spans = [b.const(np.int32(v)) for v in ([0, 0, 0, 0], [1, 6, 6, 4], [1, 2, 1, 1])]
    y = b.op("strided_slice", [y, *spans], (1, 3, 6, 4), "int8", q)
    w = b.const(
        rng.integers(-8, 8, (4, 1, 1, 4)).astype(np.int8),
        Quantization(np.float32([0.1, 0.2, 0.3, 0.4]), np.zeros(4, np.int64), 0),
        dtype="int4",
    )
    a = b.op("conv_2d", [y, w, None], (1, 3, 6, 4), "int8", q, padding="valid")
    size = b.const(np.int32([6, 12]))
    r = b.op("resize_bilinear", [a, size], (1, 6, 12, 4), "int8", q, half_pixel_centers=True)
    m = b.op("mean", [r, b.const(np.int32([1, 2]))], (1, 4), "int8", q, keep_dims=False)
    l = b.op("leaky_relu", [m], (1, 4), "int8", q, alpha=0.25)  # noqa: E741
    f = b.op("dequantize", [a], (1, 3, 6, 4), "float32")
    return b.finish([l, f])


def wide_int16() -> Graph:
    """int16 activations, int8 weights, an int64 bias."""
    rng = np.random.default_rng(2)
    b = GraphBuilder("int16")
    qx, qy = Quantization.per_tensor(2e-4), Quantization.per_tensor(3e-4)
    x = b.input("x", (1, 5, 5, 3), "int16", qx)
    w, s = _weights(b, (2, 3, 3, 3), 0, rng)
    quant = Quantization(s * np.float32(2e-4), np.zeros(2, np.int64), 0)
    bias = b.const(rng.integers(-9000, 9000, 2), quant)
    y = b.op("conv_2d", [x, w, bias], (1, 5, 5, 2), "int16", qy, padding="same")
    y = b.op("logistic", [y], (1, 5, 5, 2), "int16", Quantization.per_tensor(1 / 32768))
    return b.finish([y])


def floats() -> Graph:
    """float32, with an op that no backend here knows and a custom one."""
    rng = np.random.default_rng(3)
    b = GraphBuilder("floats")
    x = b.input("x", (2, 6), "float32")
    w, c = (b.const(rng.normal(size=s).astype(np.float32)) for s in ((4, 6), (4,)))
    y = b.op("fully_connected", [x, w, c], (2, 4), "float32", fused_activation_function="relu6")
    y = b.op("elu", [y], (2, 4), "float32")
    y = b.op("custom:Whiten", [y], (2, 4), "float32", custom_options=b"\x01\x02\x03")
    return b.finish([y])


MODELS = (small_cnn, shapes_and_slices, wide_int16, floats)

"""Small graphs for the tests of targets."""

from __future__ import annotations

import numpy as np

from tinykit.graph import Graph, GraphBuilder, Op, Quantization


def small_int8(seed: int = 0, channels: int = 8, size: int = 6) -> Graph:
    """conv_2d, depthwise_conv_2d, fully_connected, softmax; int8, per-channel weights."""
    rng = np.random.default_rng(seed)
    b = GraphBuilder("small")
    q = Quantization.per_tensor

    def weights(shape: tuple[int, ...], axis: int) -> int:
        scale = rng.uniform(0.005, 0.02, shape[axis]).astype(np.float32)
        data = rng.integers(-127, 127, shape, endpoint=True).astype(np.int8)
        return b.const(data, Quantization(scale, np.zeros_like(scale, np.int64), axis))

    def bias(count: int) -> int:
        scale = np.full(count, 1e-4, np.float32)
        data = rng.integers(-2000, 2000, count).astype(np.int32)
        return b.const(data, Quantization(scale, np.zeros(count, np.int64), 0))

    x = b.input("image", (1, size, size, 1), "int8", q(1 / 255, -128))
    hidden = (1, size, size, channels)
    x = b.op(
        "conv_2d", [x, weights((channels, 3, 3, 1), 0), bias(channels)], hidden, "int8",
        q(0.03, -128), "first", padding="same", fused_activation_function="relu",
    )  # fmt: skip
    x = b.op(
        "depthwise_conv_2d", [x, weights((1, 3, 3, channels), 3), bias(channels)], hidden, "int8",
        q(0.05, -128), "second", padding="same", fused_activation_function="relu",
    )  # fmt: skip
    flat = size * size * channels
    w = b.const(rng.integers(-127, 127, (4, flat), endpoint=True).astype(np.int8), q(0.0004))
    zero = b.const(np.zeros(4, np.int32), q(0.0004 * 0.05))
    x = b.op("fully_connected", [x, w, zero], (1, 4), "int8", q(0.03, 0), "third")
    x = b.op("softmax", [x], (1, 4), "int8", q(1 / 256, -128), "last")
    return b.finish([x])


def small_float(seed: int = 0) -> Graph:
    """conv_2d, average pool, softmax in float32."""
    rng = np.random.default_rng(seed)
    b = GraphBuilder("floating")
    x = b.input("image", (1, 6, 6, 2), "float32")
    w = b.const(rng.normal(size=(4, 3, 3, 2)).astype(np.float32))
    bias = b.const(rng.normal(size=4).astype(np.float32))
    x = b.op("conv_2d", [x, w, bias], (1, 6, 6, 4), "float32", padding="same")
    x = b.op(
        "average_pool_2d", [x], (1, 1, 1, 4), "float32", padding="valid", filter_width=6,
        filter_height=6,
    )  # fmt: skip
    x = b.op("softmax", [x], (1, 1, 1, 4), "float32")
    return b.finish([x])


def with_unknown_op(graph: Graph, position: int) -> Graph:
    """`graph` with op number `position` replaced by one of a kind that nothing knows."""
    ops = list(graph.ops)
    old = ops[position]
    ops[position] = Op("frobnicate", old.inputs, old.outputs, {}, old.name)
    return graph.replace(ops=tuple(ops))

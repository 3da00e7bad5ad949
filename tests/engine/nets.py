"""Graphs that the engine's tests share."""

from __future__ import annotations

import functools

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import SearchStrategy

from tests.strategies import graphs
from tinykit.graph import Graph, GraphBuilder, Quantization


def collect(
    count: int, strategy: SearchStrategy[Graph] | None = None, **kwargs: object
) -> list[Graph]:
    """The first `count` random graphs, always the same: many go into one run of the compiler.

    Of `strategy`, or of `tests.strategies.graphs` with these arguments.
    """
    found: list[Graph] = []

    @settings(
        max_examples=count,
        database=None,
        derandomize=True,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy if strategy is not None else graphs(**kwargs))  # type: ignore[arg-type]
    def grow(graph: Graph) -> None:
        found.append(graph)

    grow()
    return found


def weights(
    builder: GraphBuilder, rng: np.random.Generator, shape: tuple[int, ...], axis: int
) -> int:
    scales = rng.uniform(0.002, 0.01, shape[axis]).astype(np.float32)
    values = rng.integers(-127, 128, shape, dtype=np.int8)
    return builder.const(values, Quantization(scales, np.zeros(shape[axis], np.int64), axis))


@functools.cache
def residual() -> Graph:
    """A small int8 network with a branch: conv, depthwise, add, pool, classifier, softmax."""
    rng = np.random.default_rng(0)
    b = GraphBuilder("residual")
    quant = Quantization.per_tensor
    x = b.input("image", (1, 12, 10, 3), "int8", quant(0.02, -3))

    def conv(source: int, channels: int, size: int, stride: int = 1) -> int:
        _, height, width, depth = b.tensors[source].shape
        w = weights(b, rng, (channels, size, size, depth), 0)
        bias = b.const(rng.integers(-3000, 3000, channels).astype(np.int32))
        shape = (1, -(-height // stride), -(-width // stride), channels)
        attrs = {"padding": "same", "stride_h": stride, "stride_w": stride}
        act = {"fused_activation_function": "relu"}
        return b.op("conv_2d", [source, w, bias], shape, "int8", quant(0.1, -20), **attrs, **act)

    first = conv(x, 8, 3, 2)
    shape = b.tensors[first].shape
    inner = b.op(
        "depthwise_conv_2d",
        [first, weights(b, rng, (1, 3, 3, 8), 3), b.const(np.arange(8, dtype=np.int32))],
        shape, "int8", quant(0.15, 5), padding="same",
    )  # fmt: skip
    inner = conv(inner, 8, 1)
    joined = b.op("add", [first, inner], shape, "int8", quant(0.2, -7))
    pooled = b.op(
        "average_pool_2d", [joined], (1, 1, 1, 8), "int8", quant(0.2, -7),
        filter_height=shape[1], filter_width=shape[2],
    )  # fmt: skip
    flat = b.op(
        "reshape", [pooled, b.const(np.array([1, 8], np.int32))], (1, 8), "int8", quant(0.2, -7)
    )
    head = [flat, weights(b, rng, (5, 8), 0), b.const(np.arange(5, dtype=np.int32) * 100)]
    logits = b.op("fully_connected", head, (1, 5), "int8", quant(0.3, 1))
    return b.finish([b.op("softmax", [logits], (1, 5), "int8", quant(1 / 256, -128))])


@functools.cache
def floating() -> Graph:
    """A float32 network: conv, pool, classifier, softmax."""
    rng = np.random.default_rng(1)
    b = GraphBuilder("floating")
    x = b.input("image", (1, 9, 9, 2), "float32")
    w = b.const(rng.normal(0, 0.3, (6, 3, 3, 2)).astype(np.float32))
    bias = b.const(rng.normal(0, 0.3, 6).astype(np.float32))
    y = b.op(
        "conv_2d", [x, w, bias], (1, 4, 4, 6), "float32",
        stride_h=2, stride_w=2, fused_activation_function="relu6",
    )  # fmt: skip
    y = b.op("max_pool_2d", [y], (1, 2, 2, 6), "float32",
             filter_height=2, filter_width=2, stride_h=2, stride_w=2)  # fmt: skip
    w = b.const(rng.normal(0, 0.3, (4, 24)).astype(np.float32))
    y = b.op("fully_connected", [y, w], (1, 4), "float32")
    return b.finish([b.op("softmax", [y], (1, 4), "float32")])


def samples_of(graph: Graph, count: int, seed: int = 0) -> list[np.ndarray]:
    """Random stored inputs of a graph with one input."""
    rng = np.random.default_rng(seed)
    source = graph.input
    if source.dtype == "float32":
        return [rng.normal(0, 1, source.shape).astype(np.float32) for _ in range(count)]
    return [rng.integers(-128, 128, source.shape, dtype=np.int8) for _ in range(count)]


def agree(expected: np.ndarray, found: np.ndarray) -> bool:
    """Bit for bit for integers; for floats to rounding, as the order of sums differs."""
    if expected.dtype == np.float32:
        return np.allclose(expected, found, rtol=1e-4, atol=1e-4)
    return np.array_equal(expected, found) and expected.dtype == found.dtype

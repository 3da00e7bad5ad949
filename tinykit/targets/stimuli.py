"""Inputs that verification feeds to every backend: boundaries of the range, and random values."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tinykit.graph.ir import Graph, Tensor, integer_range


def stimuli(graph: Graph, samples: int, seed: int = 0) -> Iterator[tuple[str, list[np.ndarray]]]:
    """`samples` pairs of (what it is, one stored value for each graph input).

    The boundaries come first (see `boundaries`); the rest is random, in turn uniform over the whole
    range (which saturates) and normal about the zero point (which does not). Deterministic in
    `seed`.
    """
    rng = np.random.default_rng(seed)
    tensors = [graph.tensors[i] for i in graph.inputs]
    edges = [boundaries(t) for t in tensors]
    names = list(edges[0]) if edges else []
    for number in range(samples):
        if number < len(names):
            name = names[number]
            yield name, [e.get(name, next(iter(e.values()))) for e in edges]
        elif number % 2:
            yield "uniform random", [_uniform(t, rng) for t in tensors]
        else:
            yield "normal random", [_normal(t, rng) for t in tensors]


def boundaries(tensor: Tensor) -> dict[str, np.ndarray]:
    """Constant and alternating fills of `tensor` from the ends and the zero of its range."""
    if tensor.dtype == "float32":
        low, high, zero = -1.0, 1.0, 0.0
    elif tensor.dtype == "bool":
        low, high, zero = 0, 1, 0
    else:
        low, high = integer_range(tensor.dtype)
        if tensor.dtype in ("int32", "int64"):
            low, high = -128, 127  # indices and shapes: the extremes mean nothing
        zero = int(tensor.quant.zero_point[0]) if tensor.quant is not None else 0
    flat = np.arange(tensor.size)

    def fill(values: np.ndarray | float) -> np.ndarray:
        full = np.broadcast_to(values, tensor.size)
        return full.reshape(tensor.shape).astype(tensor.numpy_dtype)

    return {
        "all minimum": fill(low),
        "all maximum": fill(high),
        "all zero point": fill(zero),
        "alternating minimum, maximum": fill(np.where(flat % 2, high, low)),
        "alternating maximum, minimum": fill(np.where(flat % 2, low, high)),
        "one maximum in zeros": fill(np.where(flat == tensor.size // 2, high, zero)),
    }


def _uniform(tensor: Tensor, rng: np.random.Generator) -> np.ndarray:
    if tensor.dtype == "float32":
        return rng.uniform(-1, 1, tensor.shape).astype(np.float32)
    if tensor.dtype == "bool":
        return rng.random(tensor.shape) < 0.5
    low, high = integer_range(tensor.dtype)
    if tensor.dtype in ("int32", "int64"):
        low, high = -128, 127
    values = rng.integers(low, high, tensor.shape, dtype=np.int64, endpoint=True)
    return values.astype(tensor.numpy_dtype)


def _normal(tensor: Tensor, rng: np.random.Generator) -> np.ndarray:
    if tensor.dtype == "float32":
        return rng.standard_normal(tensor.shape).astype(np.float32)
    if tensor.dtype == "bool":
        return rng.random(tensor.shape) < 0.1
    low, high = integer_range(tensor.dtype)
    zero = int(tensor.quant.zero_point[0]) if tensor.quant is not None else 0
    width = (high - low) / 16 if tensor.dtype not in ("int32", "int64") else 16.0
    values = np.round(rng.normal(zero, width, tensor.shape))
    return np.clip(values, low, high).astype(tensor.numpy_dtype)

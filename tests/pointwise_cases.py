"""Graphs that feed every stored input to one op under many scales, for the oracles to compare.

A case is one graph of independent branches, each an op with its own input and quantization, so
that a runtime is started (and a compiler run) once for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from tinykit.graph.builder import GraphBuilder
from tinykit.graph.ir import Graph, Op, Quantization, Tensor, integer_range

Case = tuple[Graph, list[np.ndarray]]
Q = Quantization.per_tensor


class Branches:
    """Grows a graph of independent ops, with the inputs to feed it."""

    def __init__(self, name: str, seed: int = 0) -> None:
        self.builder = GraphBuilder(name)
        self.rng = np.random.default_rng(seed)
        self.feeds: list[np.ndarray] = []
        self.outputs: list[int] = []

    def scale(self, low: float, high: float) -> float:
        return float(np.float32(np.exp(self.rng.uniform(np.log(low), np.log(high)))))

    def zero(self, dtype: str) -> int:
        if dtype in ("int16", "int32"):
            return 0
        low, high = integer_range(dtype)
        return int(self.rng.choice([low, high, 0, int(self.rng.integers(low, high + 1))]))

    def quant(self, dtype: str, low: float = 1e-4, high: float = 2.0) -> Quantization | None:
        if dtype == "float32":
            return None
        return Q(self.scale(low, high), self.zero(dtype))

    def feed(self, values: np.ndarray, dtype: str, quant: Quantization | None) -> int:
        self.feeds.append(values)
        return self.builder.input(f"x{len(self.feeds)}", values.shape, dtype, quant)

    def random(self, shape: tuple[int, ...], dtype: str) -> np.ndarray:
        if dtype == "float32":
            return self.rng.normal(0, 3, shape).astype(np.float32)
        low, high = (-30000, 30000) if dtype == "int32" else integer_range(dtype)
        return np.asarray(self.rng.integers(low, high + 1, shape)).astype(dtype)

    def op(
        self,
        kind: str,
        inputs: list[int],
        shape: tuple[int, ...],
        dtype: str,
        quant: Quantization | None,
        **attrs: Any,
    ) -> None:
        self.outputs.append(self.builder.op(kind, inputs, shape, dtype, quant, **attrs))

    def finish(self) -> Case:
        return self.builder.finish(self.outputs), self.feeds


def every(dtype: str) -> np.ndarray:
    """All values of an 8- or 16-bit dtype, a spread of float32 or int32 ones; shape (1, count)."""
    if dtype == "float32":
        rng = np.random.default_rng(7)
        special = [0, -0.0, 1e30, -1e30, 1e-30, 6, -6, 3, -3, 9, -9, -9.001, 16.6, 16.7, 100, -100]
        spread = np.concatenate([rng.normal(0, 3, 500), rng.uniform(-20, 20, 500), special])
        return spread.astype(np.float32)[None]
    if dtype == "int32":
        return np.random.default_rng(7).integers(-(10**5), 10**5, (1, 2000)).astype(np.int32)
    low, high = integer_range(dtype)
    return np.arange(low, high + 1).astype(dtype)[None]


#: outputs that TFLite fixes: op and dtype -> quantization
FIXED = {
    ("logistic", "int8"): Q(1 / 256, -128),
    ("logistic", "int16"): Q(1 / 32768, 0),
    ("tanh", "int8"): Q(1 / 128, 0),
    ("tanh", "int16"): Q(1 / 32768, 0),
}


def unary(kind: str, dtype: str, count: int) -> Case:
    b = Branches(f"{kind} {dtype}")
    values = every(dtype)
    for number in range(count if dtype != "float32" else 1):
        low, high = (1e-4, 2.0) if dtype == "int8" else (1e-6, 3e-2)
        quant = b.quant(dtype, low, high)
        if dtype == "int16" and kind in ("logistic", "tanh") and number < 3:
            quant = Q(2.0 ** -(11 + number))  # the powers of two that the table takes directly
        made = FIXED.get((kind, dtype))
        if made is None and quant is not None:
            made = quant if kind == "relu6" else Q(quant.scale[0] * b.scale(0.3, 3), b.zero(dtype))
        attrs = {"alpha": float(b.rng.uniform(-1, 2))} if kind == "leaky_relu" else {}
        b.op(kind, [b.feed(values, dtype, quant)], values.shape, dtype, made, **attrs)
    return b.finish()


SHAPES = [
    ((1, 300), (1, 300)),
    ((1, 4, 5, 6), (1, 1, 1, 6)),
    ((1, 4, 5, 6), (6,)),
    ((1, 4, 5, 6), ()),
    ((1, 1, 1, 6), (1, 4, 5, 6)),
    ((1, 4, 1, 6), (1, 1, 5, 1)),
    ((2, 3), (1, 2, 3)),
    ((2, 4, 5, 6), (2, 1, 5, 1)),
]
ACTIVATIONS = ("none", "relu", "relu6", "relu_n1_to_1")


def binary(kind: str, dtype: str, count: int) -> Case:
    b = Branches(f"{kind} {dtype}")
    for number in range(count):
        shapes = SHAPES[number % len(SHAPES)]
        quants: list[Quantization | None] = [None] * 3
        if dtype in ("int8", "int16"):
            one, two = b.quant(dtype, 1e-3, 1), b.quant(dtype, 1e-3, 1)
            assert one is not None
            assert two is not None
            product = float(one.scale[0] * two.scale[0])
            most = float(max(one.scale[0], two.scale[0]))
            scale = product * b.scale(1, 300) if kind == "mul" else most * b.scale(0.1, 5)
            quants = [one, two, Q(scale, b.zero(dtype))]
        attrs: dict[str, Any] = {"fused_activation_function": ACTIVATIONS[number % 5 % 4]}
        if kind != "mul":
            attrs["pot_scale_int16"] = bool(number % 2)
        inputs = [
            b.feed(b.random(s, dtype), dtype, q) for s, q in zip(shapes, quants[:2], strict=True)
        ]
        b.op(kind, inputs, np.broadcast_shapes(*shapes), dtype, quants[2], **attrs)
    return b.finish()


def softmax(data: str, output: str, count: int) -> Case:
    b = Branches(f"softmax {data} {output}")
    made = {
        ("int8", "int8"): Q(1 / 256, -128),
        ("int8", "int16"): Q(1 / 65536, -32768),
        ("int16", "int16"): Q(1 / 32768, 0),
    }.get((data, output))
    for number in range(count):
        shape = [(1, 10), (4, 100), (1, 3, 7, 5), (1, 400), (6, 1)][number % 5]
        quant = b.quant(data, 1e-4, 5.0) if data == "int8" else b.quant(data, 1e-6, 1e-2)
        x = b.feed(b.random(shape, data), data, quant)
        b.op("softmax", [x], shape, output, made, beta=[1.0, 0.5, 2.0][number % 3])
    return b.finish()


REDUCTIONS: list[tuple[tuple[int, ...], Any]] = [
    ((1, 7, 5, 6), (1, 2)),
    ((1, 7, 5, 6), (2, 1)),
    ((2, 7, 5, 6), (-1,)),
    ((1, 7, 5, 6), (1,)),
    ((1, 7, 5, 6), 2),
    ((3, 40), (1,)),
    ((1, 25, 5, 64), (1, 2)),
    ((1, 7, 5, 6), (1, 1)),
    ((2, 3, 4, 5), (0, 2)),
    ((2, 3, 4, 5), (1, 3)),
]


def reduction(kind: str, dtype: str, count: int) -> Case:
    b = Branches(f"{kind} {dtype}")
    for number in range(count):
        shape, axes = REDUCTIONS[number % len(REDUCTIONS)]
        quant = b.quant(dtype, 1e-3, 1)
        made = quant
        if quant is not None and kind != "reduce_max" and number % 4:
            factor = b.scale(0.1, 10) if kind == "mean" else b.scale(1, 40)
            made = Q(quant.scale[0] * factor, b.zero(dtype))
        gone = {a % len(shape) for a in np.atleast_1d(axes).tolist()}
        keep = bool(number // len(REDUCTIONS) % 2)
        out = tuple(1 if i in gone else d for i, d in enumerate(shape) if keep or i not in gone)
        x = b.feed(b.random(shape, dtype), dtype, quant)
        axis = b.builder.const(np.array(axes, np.int32))
        b.op(kind, [x, axis], out, dtype, made, keep_dims=keep)
    return b.finish()


def quantize(data: str, output: str, count: int) -> Case:
    b = Branches(f"quantize {data} {output}")
    for _ in range(count):
        quant = b.quant(data, 1e-3, 1)
        scale = b.scale(1e-3, 1) if quant is None else quant.scale[0] * b.scale(0.1, 10)
        made = Q(scale, b.zero(output))
        values = every(data)
        if data == "float32":  # ties, and what saturates
            ties = ((np.arange(-300, 300) + 0.5) * scale).astype(np.float32)
            values = np.concatenate([values[np.abs(values) < 1e4], ties])[None]
        b.op("quantize", [b.feed(values, data, quant)], values.shape, output, made)
    return b.finish()


def dequantize(data: str, count: int) -> Case:
    b = Branches(f"dequantize {data}")
    values = every(data)
    for _ in range(count):
        x = b.feed(values, data, b.quant(data, 1e-6, 1))
        b.op("dequantize", [x], values.shape, "float32", None)
    return b.finish()


QUANTIZE = [
    *[("float32", t) for t in ("int8", "int16")],
    *[("int8", t) for t in ("int8", "uint8", "int16", "int32")],
    *[("int16", t) for t in ("int8", "int16", "int32")],
    *[("int32", t) for t in ("int8", "int16")],
    ("uint8", "int8"),
]

#: name -> maker of a case whose ops TFLite Micro has
CASES: dict[str, Callable[[], Case]] = {
    **{
        f"{kind}-{dtype}": lambda k=kind, d=dtype: unary(k, d, 40 if d == "int8" else 5)
        for kind in ("relu", "relu6", "leaky_relu", "logistic", "tanh", "hard_swish")
        for dtype in ("int8", "int16", "float32")
        if (kind, dtype) != ("hard_swish", "int16")
    },
    **{
        f"{kind}-{dtype}": lambda k=kind, d=dtype: binary(k, d, 40)
        for kind in ("add", "sub", "mul")
        for dtype in ("int8", "int16", "int32", "float32")
    },
    **{
        f"softmax-{data}-{output}": lambda d=data, o=output: softmax(d, o, 30)
        for data, output in (
            ("int8", "int8"),
            ("int8", "int16"),
            ("int16", "int16"),
            ("float32", "float32"),
        )
    },
    **{
        f"{kind}-{dtype}": lambda k=kind, d=dtype: reduction(k, d, 40)
        for kind in ("mean", "sum", "reduce_max")
        for dtype in ("int8", "int16", "float32")
        if (kind, dtype) != ("reduce_max", "int16")
    },
    **{f"quantize-{d}-{o}": lambda d=d, o=o: quantize(d, o, 8) for d, o in QUANTIZE},
    **{f"dequantize-{d}": lambda d=d: dequantize(d, 4) for d in ("int8", "uint8", "int16")},
}


def merge(cases: Iterable[Case]) -> Case:
    """One graph with the branches of all `cases`, for a single run of the compiler."""
    tensors: list[Tensor] = []
    ops: list[Op] = []
    inputs: list[int] = []
    outputs: list[int] = []
    feeds: list[np.ndarray] = []
    for graph, given in cases:
        first = len(tensors)
        tensors += graph.tensors
        inputs += [first + i for i in graph.inputs]
        outputs += [first + i for i in graph.outputs]
        feeds += given
        for op in graph.ops:
            reads = [None if i is None else first + i for i in op.inputs]
            ops.append(replace(op, inputs=reads, outputs=[first + i for i in op.outputs]))
    return Graph(tuple(tensors), tuple(ops), tuple(inputs), tuple(outputs)), feeds


def assert_same(want: list[np.ndarray], got: list[np.ndarray], rtol: float = 0.0) -> None:
    """Integers bit for bit; floats to `rtol` of each value, 0 meaning bit for bit too."""
    assert len(want) == len(got)
    for number, (one, two) in enumerate(zip(want, got, strict=True)):
        assert one.shape == two.shape, number
        assert one.dtype == two.dtype, number
        if one.dtype.kind == "f" and rtol:
            np.testing.assert_allclose(two, one, rtol=rtol, atol=1e-30, err_msg=str(number))
        else:
            np.testing.assert_array_equal(two, one, err_msg=str(number))

"""Random valid graphs over every op of the opset, for hypothesis.

Structure (which ops, shapes, strides, masks, who reads whom) is drawn by hypothesis, so failures
shrink; numbers (weights, biases) come from a generator that hypothesis seeds.

>>> @given(graphs(dtype="int8", max_ops=3))
... def test(graph):
...     for sample in inputs_for(graph, np.random.default_rng(0)):
...         graph.run(*sample)
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

import tinykit.graph.ops  # noqa: F401  (fills the opset)
from tests import growers
from tinykit.graph.builder import GraphBuilder
from tinykit.graph.ir import DTYPES, Graph, Quantization, Tensor, integer_range
from tinykit.graph.registry import OPSET

#: activations a graph can start with; "int4" means int8 activations and int4 weights
DTYPE_NAMES = ("int8", "int16", "int4", "float32")
#: no tensor in a random graph has more elements than this
MAX_SIZE = 600


class Grower:
    """A random graph under way: what the functions of `tests.growers` draw from and add to."""

    def __init__(self, draw: Any, dtype: str) -> None:
        self.draw = draw
        self.weights = dtype  # "int4" asks for int4 weights
        self.dtype = "int8" if dtype == "int4" else dtype
        self.builder = GraphBuilder("random")
        self.rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        self.live: list[int] = []

    # -- drawing --------------------------------------------------------------------------------

    def integer(self, low: int, high: int) -> int:
        return self.draw(st.integers(low, high))

    def choose(self, options: Sequence[Any]) -> Any:
        return self.draw(st.sampled_from(list(options)))

    def flag(self) -> bool:
        return self.draw(st.booleans())

    def scale(self) -> float:
        """Mostly what calibration gives; now and then tiny or huge."""
        if self.integer(0, 9) == 0:
            return self.choose([2.0**-20, 1e-6, 1.0, 7.5, 300.0])
        return float(np.float32(2.0 ** self.integer(-9, 1) * self.rng.uniform(0.5, 1.0)))

    def quant(self, dtype: str | None = None, scale: float | None = None) -> Quantization | None:
        """A random per-tensor quantization; none for float32."""
        dtype = dtype or self.dtype
        if dtype not in ("int8", "int16"):
            return None
        # below, TFLite Micro refuses: 6 has no int32 (relu6), differences vanish (softmax);
        # far above, its shifts are undefined
        scale = float(np.clip(self.scale() if scale is None else scale, 2.0**-24, 2.0**10))
        if dtype == "int16":
            return Quantization.per_tensor(scale, 0)
        edges = [0, -128, 127, -1, 3]
        zero = self.choose(edges) if self.flag() else self.integer(-128, 127)
        return Quantization.per_tensor(scale, zero)

    def pick(self, fits: Any = None, largest: int = MAX_SIZE) -> int | None:
        """A live tensor of the working dtype that `fits`, or None when there is none."""
        found = [i for i in self.live if self.t(i).size <= largest and self._suits(self.t(i), fits)]
        return self.choose(found) if found else None

    def _suits(self, tensor: Tensor, fits: Any) -> bool:
        if tensor.dtype != self.dtype or not tensor.shape:
            return False
        if self.dtype == "int16" and tensor.quant.zero_point[0] != 0:
            return False  # a softmax that widens int8 makes one; int16 kernels take none
        return fits is None or fits(tensor)

    def values(self, shape: Sequence[int], dtype: str) -> np.ndarray:
        """Constants: normal floats, or integers over the whole range, some at its ends."""
        if dtype == "float32":
            return self.rng.normal(0, 0.7, shape).astype(np.float32)
        low, high = integer_range(dtype)
        held = DTYPES[dtype][0]
        values = self.rng.integers(low, high + 1, shape)
        style = self.integer(0, 4)
        if style == 0:
            values = self.rng.choice([low, high, 0], size=shape)
        elif style == 1:
            values = np.clip(values // 16, low, high)
        return np.asarray(values).astype(held)

    # -- building -------------------------------------------------------------------------------

    def t(self, index: int) -> Tensor:
        return self.builder.tensors[index]

    def like(self, index: int) -> Quantization | None:
        return self.t(index).quant

    def const(
        self, values: Any, quant: Quantization | None = None, dtype: str | None = None
    ) -> int:
        return self.builder.const(np.asarray(values), quant, dtype=dtype)

    def ints(self, *values: int) -> int:
        return self.const(np.array(values, np.int32))

    def add(
        self,
        kind: str,
        inputs: Sequence[int | None],
        quant: Quantization | None = None,
        dtype: str | None = None,
        **attrs: Any,
    ) -> bool:
        """Append an op; its output shapes come from the op's own rule."""
        tensors = [None if i is None else self.t(i) for i in inputs]
        full = {**OPSET[kind].attrs, **attrs}
        shapes = OPSET[kind].infer(tensors, full)
        outs = [
            Tensor(f"{len(self.builder.ops)}:{kind}:{n}", shape or (), dtype or self.dtype, quant)
            for n, shape in enumerate(shapes)
        ]
        if any(t.size > MAX_SIZE or t.size == 0 for t in outs):
            return False
        self.live += self.builder.op_multi(kind, inputs, outs, **full)
        return True

    def start(self, rank: int) -> None:
        """Add a graph input of the working dtype."""
        shape = [self.choose([1, 1, 1, 2, 4])]
        shape += [self.integer(1, 7) for _ in range(rank - 2)]
        shape.append(self.choose([1, 2, 3, 4, 5, 6, 8]))
        name = f"input_{len(self.builder.inputs)}"
        self.live.append(self.builder.input(name, shape, self.dtype, self.quant()))

    def finish(self) -> Graph:
        read = {i for op in self.builder.ops for i in op.inputs}
        made = {i for op in self.builder.ops for i in op.outputs}
        assume(all(i in read for i in self.builder.inputs))
        return self.builder.finish([i for i in self.live if i in made and i not in read])


@st.composite
def graphs(
    draw: Any,
    kinds: Collection[str] | None = None,
    dtype: str | None = None,
    max_ops: int = 5,
    must: str | None = None,
) -> Graph:
    """Random valid graphs that TFLite Micro has kernels for.

    Parameters
    ----------
    kinds : op kinds to draw from; all of them by default
    dtype : one of `DTYPE_NAMES`, what the graph starts with, or "int32", which only ops of shape
        arithmetic take; drawn from `DTYPE_NAMES` when left out
    max_ops : at most so many ops
    must : a kind that occurs for certain, with `dtype` inputs (weights, for "int4")
    """
    dtype = dtype or draw(st.sampled_from(DTYPE_NAMES))
    names = [k for k in growers.GROWERS if kinds is None or k in kinds]
    names = [k for k in names if growers.supports(k, dtype)]
    grower = Grower(draw, dtype)
    flat = must is not None and must not in growers.IMAGES and draw(st.integers(0, 3)) == 0
    grower.start(draw(st.sampled_from([2, 3])) if flat else 4)
    first = grower.dtype
    plan: list[str] = draw(st.lists(st.sampled_from(names), min_size=1, max_size=max_ops))
    if must is not None:
        plan[draw(st.integers(0, len(plan) - 1))] = must
    for kind in plan:
        if kind == must:  # an earlier quantize or dequantize may have changed it
            grower.dtype, grower.weights = first, dtype
        grew = growers.supports(kind, grower.weights) and growers.GROWERS[kind](grower)
        assume(grew or kind != must)
    assume(bool(grower.builder.ops))
    return grower.finish()


def inputs_for(graph: Graph, rng: np.random.Generator, random: int = 3) -> list[list[np.ndarray]]:
    """Samples of stored inputs: all lowest, all highest, all zero, mixed ends, then random ones."""
    samples: list[list[np.ndarray]] = []
    for style in ["low", "high", "zero", "ends", *["random"] * random]:
        samples.append([_input(graph.tensors[i], style, rng) for i in graph.inputs])
    return samples


def _input(tensor: Tensor, style: str, rng: np.random.Generator) -> np.ndarray:
    if tensor.dtype == "float32":
        low, high, zero = -6.5, 6.5, 0.0
        values = rng.normal(0, 2, tensor.shape)
    else:
        low, high = integer_range(tensor.dtype)
        zero = 0 if tensor.quant is None else int(tensor.quant.zero_point[0])
        values = rng.integers(low, high + 1, tensor.shape)
    if style == "ends":
        values = rng.choice([low, high], size=tensor.shape)
    elif style != "random":
        values = np.full(tensor.shape, {"low": low, "high": high, "zero": zero}[style])
    return np.asarray(values).astype(tensor.numpy_dtype)

"""Ops on single elements, sums of tensors, softmax and reductions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tests.growers import ACTIVATIONS, grows
from tinykit.graph.ir import Quantization

if TYPE_CHECKING:
    from tests.strategies import Grower


def rescaled(g: Grower, x: int, low: int = -2, high: int = 2) -> Quantization | None:
    """A quantization whose scale is within 2**low to 2**high of x's."""
    quant = g.like(x)
    if quant is None:
        return None
    stretch = 2.0 ** g.integer(low, high) * g.rng.uniform(0.75, 1.25)
    return g.quant(scale=float(np.float32(quant.scale[0] * stretch)))


@grows("add sub mul", "int8 int16 float32 int32")
def combine(g: Grower, kind: str) -> bool:
    x = g.pick()
    if x is None:
        return False
    shape = g.t(x).shape

    def fits(t: object) -> bool:
        try:
            return np.broadcast_shapes(shape, t.shape) is not None  # type: ignore[attr-defined]
        except ValueError:
            return False

    other = g.pick(fits)
    if other is None or g.integer(0, 2) == 0:
        narrow = [1 if g.integer(0, 3) == 0 else d for d in shape]
        narrow = narrow[g.integer(0, len(shape) - 1) :]
        other = g.const(g.values(narrow, g.dtype), g.quant(), dtype=g.dtype)
    pair = [x, other] if g.flag() else [other, x]
    quants = [g.like(i) for i in pair]
    out = None
    if quants[0] is not None:
        scales = [float(q.scale[0]) for q in quants if q is not None]
        reach = scales[0] * scales[1] * (64 if g.dtype == "int8" else 16000)
        reach = reach if kind == "mul" else max(scales)
        out = g.quant(scale=float(np.float32(reach * 2.0 ** g.integer(-3, 3))))
    return g.add(kind, pair, out, fused_activation_function=g.choose(ACTIVATIONS))


@grows("softmax", "int8 int16 float32")
def softmax(g: Grower, kind: str) -> bool:
    x = g.pick()
    if x is None:
        return False
    beta = g.choose([1.0, 1.0, 0.5, 2.0])
    if g.dtype == "int8":
        if g.integer(0, 3) == 0:
            wide = Quantization.per_tensor(1 / 65536, -32768)
            return g.add(kind, [x], wide, dtype="int16", beta=beta)
        return g.add(kind, [x], Quantization.per_tensor(1 / 256, -128), beta=beta)
    out = Quantization.per_tensor(1 / 32768) if g.dtype == "int16" else None
    return g.add(kind, [x], out, beta=beta)


@grows("relu", "int8 int16 float32")
def relu(g: Grower, kind: str) -> bool:
    x = g.pick()
    return x is not None and g.add(kind, [x], rescaled(g, x))


@grows("relu6", "int8 int16 float32")
def relu6(g: Grower, kind: str) -> bool:
    x = g.pick()
    return x is not None and g.add(kind, [x], g.like(x))


@grows("leaky_relu", "int8 int16 float32")
def leaky_relu(g: Grower, kind: str) -> bool:
    x = g.pick()
    alpha = g.choose([0.0, 0.01, 0.2, 0.5, 1.0, 1.5])
    return x is not None and g.add(kind, [x], rescaled(g, x), alpha=alpha)


@grows("hard_swish", "int8 float32")
def hard_swish(g: Grower, kind: str) -> bool:
    x = g.pick()
    return x is not None and g.add(kind, [x], rescaled(g, x, -4, 3))


@grows("logistic tanh", "int8 int16 float32")
def sigmoidal(g: Grower, kind: str) -> bool:
    x = g.pick()
    if x is None:
        return False
    out = None
    if g.dtype == "int16":
        out = Quantization.per_tensor(1 / 32768)
    elif g.dtype == "int8":
        steps, zero = (256, -128) if kind == "logistic" else (128, 0)
        out = Quantization.per_tensor(1 / steps, zero)
    return g.add(kind, [x], out)


@grows("quantize", "int8 int16 float32")
def quantize(g: Grower, kind: str) -> bool:
    fed = set(g.builder.inputs)
    # rounding decides a quantized float: only one that is known exactly will do
    x = g.pick(lambda t: t.dtype != "float32" or any(g.t(i) is t for i in fed))
    if x is None:
        return False
    target = g.choose(["int8", "int16"])
    scale = g.choose([2.0**-5, 0.05]) if g.dtype == "float32" else None
    if scale is None:
        # the same range in the other width, give or take
        steps = {"int8": 8, "int16": 16}
        shift = steps[g.dtype] - steps[target] + g.integer(-2, 2)
        scale = float(np.float32(g.like(x).scale[0] * 2.0**shift * g.rng.uniform(0.7, 1.0)))
    if not g.add(kind, [x], g.quant(target, scale), dtype=target):
        return False
    g.dtype = target
    g.weights = target
    return True


@grows("dequantize", "int8 int16")
def dequantize(g: Grower, kind: str) -> bool:
    x = g.pick()
    if x is None or not g.add(kind, [x], None, dtype="float32"):
        return False
    g.dtype = g.weights = "float32"
    return True


@grows("mean sum", "int8 int16 float32")
def reduce(g: Grower, kind: str) -> bool:
    x = g.pick()
    if x is None:
        return False
    rank = len(g.t(x).shape)
    axes = [a for a in range(rank) if g.flag()] or [g.integer(0, rank - 1)]
    if rank == 4 and g.flag():
        axes = [1, 2]
    axes = [a - rank if g.integer(0, 3) == 0 else a for a in axes]
    out = g.like(x) if kind == "reduce_max" else rescaled(g, x, -1, 4)
    return g.add(kind, [x, g.ints(*axes)], out, keep_dims=g.flag())


grows("reduce_max", "int8 float32")(reduce)

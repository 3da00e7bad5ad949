"""A mean over an image that arrives a few rows at a time: pixel_sum and pixel_mean.

Internal ops: patch-based inference (`tinykit.engine.patches`) puts them in the place of a pool or
mean over whole images, so that the image never has to be in memory whole. Exact: sums are integers,
and the rounding at the end is that of the op they stand for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tinykit.graph.errors import GraphError
from tinykit.graph.fixedpoint import activation_range, multiply_by_quantized_multiplier
from tinykit.graph.ir import Op, Tensor
from tinykit.graph.ops.convolving import image
from tinykit.graph.ops.pointwise import zero_of
from tinykit.graph.ops.reduce import rescale_params
from tinykit.graph.registry import Shape, define_op, reference

#: the ops that pixel_mean finishes as
MEANS = ("average_pool_2d", "mean")


@define_op("pixel_sum", arity=(1, 2), internal=True)
def pixel_sum_shape(ins: Sequence[Tensor | None], attrs: Mapping[str, Any]) -> list[Shape]:
    """Inputs: some rows of an image and, but for the first rows, the sums so far (int32)."""
    batch, _, _, channels = image(ins[0], "the input")
    shape = (batch, 1, 1, channels)
    if len(ins) > 1 and (ins[1] is None or ins[1].shape != shape):
        raise GraphError(f"sums of shape {shape} are needed")
    return [shape]


@define_op(
    "pixel_mean",
    arity=(1, 1),
    attrs={"count": 1, "stands_for": "mean", "fused_activation_function": "none"},
    internal=True,
)
def pixel_mean_shape(ins: Sequence[Tensor | None], attrs: Mapping[str, Any]) -> list[Shape]:
    """`count`: pixels in the sums. Input and output have the quantizations of the op's."""
    if attrs["stands_for"] not in MEANS:
        raise GraphError(f"stands_for is one of {', '.join(MEANS)}")
    return [image(ins[0], "the input")]


@reference.register("pixel_sum", internal=True)
def pixel_sum(
    op: Op, ins: Sequence[Tensor], outs: Sequence[Tensor], args: Sequence[np.ndarray]
) -> list[np.ndarray]:
    total = args[0].sum((1, 2), dtype=np.int32, keepdims=True)
    return [total + args[1] if len(args) > 1 else total]


@reference.register("pixel_mean", internal=True)
def pixel_mean(
    op: Op, ins: Sequence[Tensor], outs: Sequence[Tensor], args: Sequence[np.ndarray]
) -> list[np.ndarray]:
    total, count, output = args[0].astype(np.int64), op.attrs["count"], outs[0]
    low, high = activation_range(op.attrs["fused_activation_function"], output.dtype, output.quant)
    if op.attrs["stands_for"] == "mean":
        centred = (total - zero_of(ins[0]) * count).astype(np.int32)
        params = rescale_params(Op("mean", (), ()), ins[0], output, count)
        made = multiply_by_quantized_multiplier(centred, *params).astype(np.int64)
        made += zero_of(output)
    else:  # half is added away from zero, then the quotient is truncated
        made = np.sign(total) * ((np.abs(total) + count // 2) // count)
    return [np.clip(made, low, high).astype(output.numpy_dtype)]

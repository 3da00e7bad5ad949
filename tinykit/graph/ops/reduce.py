"""mean, sum and reduce_max over constant axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tinykit.graph.errors import GraphError, UnsupportedOpError
from tinykit.graph.fixedpoint import multiply_by_quantized_multiplier, quantize_multiplier
from tinykit.graph.ir import Op, Tensor, integer_range
from tinykit.graph.ops.pointwise import quant_of, scale_of, zero_of
from tinykit.graph.registry import Shape, define_op, reference

Arrays = Sequence[np.ndarray]

ATTRS = {"keep_dims": False}
#: op -> dtypes with a kernel
TYPES = {
    "mean": ("float32", "int8", "int16"),
    "sum": ("float32", "int8", "int16"),
    "reduce_max": ("float32", "int8"),
}


def axes_of(data: Tensor, axes: Tensor | None) -> tuple[int, ...]:
    """The reduced dimensions, sorted, from the op's second input (a constant)."""
    if axes is None or axes.data is None:
        raise GraphError("the axes to reduce have to be a constant")
    rank = len(data.shape)
    found = set()
    for axis in np.atleast_1d(axes.data).ravel().tolist():
        if not -rank <= axis < rank:
            raise GraphError(f"axis {axis} of a tensor with {rank} dimensions")
        found.add(axis % rank)
    return tuple(sorted(found))


def reduced_shape(ins: Sequence[Tensor | None], attrs: Mapping[str, Any]) -> list[Shape]:
    if ins[0] is None:
        raise GraphError("the input is missing")
    axes = axes_of(ins[0], ins[1])
    if attrs["keep_dims"]:
        return [tuple(1 if i in axes else d for i, d in enumerate(ins[0].shape))]
    return [tuple(d for i, d in enumerate(ins[0].shape) if i not in axes)]


for _kind in TYPES:
    define_op(_kind, arity=(2, 2), attrs=ATTRS)(reduced_shape)


def check(op: Op, ins: Sequence[Tensor], output: Tensor, backend: str) -> None:
    if ins[0].dtype != output.dtype or output.dtype not in TYPES[op.kind]:
        got = f"{ins[0].dtype} to {output.dtype}"
        raise UnsupportedOpError(op.kind, None, backend, got)
    rescales = op.kind != "reduce_max" or output.dtype == "float32"
    if not rescales and not quant_of(ins[0]).same_as(output.quant):
        raise GraphError(f"{op.name}: its output is quantized as its input is")


def rescale_params(op: Op, data: Tensor, output: Tensor, count: int) -> tuple[int, int]:
    """Mantissa and shift that bring a sum of `count` stored values to the output's scale.

    For a mean, 1/count goes into the mantissa, with as many bits to spare as the shift allows.
    """
    mantissa, shift = (int(v) for v in quantize_multiplier(scale_of(data) / scale_of(output)))
    if op.kind == "mean":
        spare = min(count.bit_length() - 1, 32, 31 + shift)
        mantissa, shift = (mantissa << spare) // count, shift - spare
    return mantissa, shift


@reference.register("mean", "sum")
def mean(op: Op, ins: Sequence[Tensor], outs: Sequence[Tensor], args: Arrays) -> list[np.ndarray]:
    x, data, output = args[0], ins[0], outs[0]
    check(op, ins, output, reference.name)
    axes = axes_of(data, ins[1])
    count = int(np.prod([data.shape[i] for i in axes], dtype=np.int64))
    if output.dtype == "float32":
        total = x.sum(axes, dtype=np.float64)
        made = total / count if op.kind == "mean" else total
        return [made.astype(np.float32).reshape(output.shape)]
    total = x.sum(axes, dtype=np.int64)
    centred = (total - zero_of(data) * count).astype(np.int32)
    scaled = multiply_by_quantized_multiplier(centred, *rescale_params(op, data, output, count))
    made = np.clip(scaled.astype(np.int64) + zero_of(output), *integer_range(output.dtype))
    return [made.astype(output.numpy_dtype).reshape(output.shape)]


@reference.register("reduce_max")
def reduce_max(
    op: Op, ins: Sequence[Tensor], outs: Sequence[Tensor], args: Arrays
) -> list[np.ndarray]:
    check(op, ins, outs[0], reference.name)
    return [args[0].max(axes_of(ins[0], ins[1])).reshape(outs[0].shape)]

"""average_pool_2d and max_pool_2d: pad pixels count neither in the mean nor in the maximum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tinykit.graph.errors import GraphError, UnsupportedOpError
from tinykit.graph.fixedpoint import activation_range
from tinykit.graph.ir import Op, Tensor
from tinykit.graph.ops.convolving import (
    Spans,
    check_strides,
    image,
    padded,
    spans,
    taps,
    window_out,
)
from tinykit.graph.registry import Shape, define_op, reference

ATTRS = {
    "padding": "valid",
    "stride_w": 1,
    "stride_h": 1,
    "filter_width": 1,
    "filter_height": 1,
    "fused_activation_function": "none",
}


@define_op("average_pool_2d", arity=(1, 1), attrs=ATTRS)
def average_pool_2d_shape(ins: Sequence[Tensor | None], attrs: Mapping[str, Any]) -> list[Shape]:
    shape = image(ins[0], "the input")
    check_strides(attrs)
    window = (attrs["filter_height"], attrs["filter_width"])
    return [(shape[0], *window_out(shape, window, attrs), shape[3])]


define_op("max_pool_2d", arity=(1, 1), attrs=ATTRS)(average_pool_2d_shape)


def _prepare(op: Op, data: Tensor, output: Tensor) -> Spans:
    if data.dtype not in ("float32", "int8", "int16"):
        raise UnsupportedOpError(op.kind, None, reference.name, f"{data.dtype} inputs")
    if data.quant is not None and output.quant is not None:
        apart = abs(float(data.quant.scale[0]) - float(output.quant.scale[0]))
        if apart > 1e-6 or data.quant.zero_point[0] != output.quant.zero_point[0]:
            raise GraphError(f"{op.name}: a pool's output is quantized as its input is")
    window = (op.attrs["filter_height"], op.attrs["filter_width"])
    return spans(data.shape, window, (output.shape[1], output.shape[2]), op.attrs)


def _activated(op: Op, made: np.ndarray, output: Tensor) -> list[np.ndarray]:
    low, high = activation_range(op.attrs["fused_activation_function"], output.dtype, output.quant)
    return [np.clip(made, low, high).astype(output.numpy_dtype)]


@reference.register("average_pool_2d")
def average_pool_2d(
    op: Op, ins: Sequence[Tensor], outs: Sequence[Tensor], args: Sequence[np.ndarray]
) -> list[np.ndarray]:
    (x,), output = args, outs[0]
    span = _prepare(op, ins[0], output)
    real = output.dtype == "float32"
    total = np.zeros(output.shape, np.float32 if real else np.int64)
    count = np.zeros((1, *output.shape[1:3], 1), np.int64)
    image_ = padded(x.astype(total.dtype), span)
    inside = padded(np.ones((1, *x.shape[1:3], 1), np.int64), span)
    for (_, _, values), (_, _, ones) in zip(taps(image_, span), taps(inside, span), strict=True):
        total += values
        count += ones
    if real:
        return _activated(op, total / count.astype(np.float32), output)
    # C's division: half is added away from zero, then the quotient is truncated
    half = np.abs(total) + count // 2
    return _activated(op, np.sign(total) * (half // count), output)


@reference.register("max_pool_2d")
def max_pool_2d(
    op: Op, ins: Sequence[Tensor], outs: Sequence[Tensor], args: Sequence[np.ndarray]
) -> list[np.ndarray]:
    (x,), output = args, outs[0]
    span = _prepare(op, ins[0], output)
    lowest = np.finfo(x.dtype).min if output.dtype == "float32" else np.iinfo(x.dtype).min
    inside = padded(np.ones((1, *x.shape[1:3], 1), bool), span)
    image_ = np.where(inside, padded(x, span), x.dtype.type(lowest))
    made = np.full(output.shape, lowest, x.dtype)
    for _, _, view in taps(image_, span):
        np.maximum(made, view, out=made)
    return _activated(op, made, output)

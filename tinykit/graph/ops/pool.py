"""average_pool_2d and max_pool_2d: pad pixels count neither in the mean nor in the maximum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tinykit.graph.errors import GraphError, UnsupportedOpError
from tinykit.graph.fixedpoint import activation_range
from tinykit.graph.ir import Op, Tensor
from tinykit.graph.ops.convolving import Pair, check_strides, image, padded, tap, window_out
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


def _prepare(op: Op, data: Tensor, output: Tensor) -> tuple[Pair, Pair, list[Pair]]:
    if data.dtype not in ("float32", "int8", "int16"):
        raise UnsupportedOpError(op.kind, None, reference.name, f"{data.dtype} inputs")
    if data.quant is not None and output.quant is not None:
        apart = abs(float(data.quant.scale[0]) - float(output.quant.scale[0]))
        if apart > 1e-6 or data.quant.zero_point[0] != output.quant.zero_point[0]:
            raise GraphError(f"{op.name}: a pool's output is quantized as its input is")
    window = (op.attrs["filter_height"], op.attrs["filter_width"])
    taps = [(y, z) for y in range(window[0]) for z in range(window[1])]
    return window, (output.shape[1], output.shape[2]), taps


@reference.register("average_pool_2d")
def average_pool_2d(
    op: Op, ins: Sequence[Tensor], outs: Sequence[Tensor], args: Sequence[np.ndarray]
) -> list[np.ndarray]:
    (x,), output = args, outs[0]
    window, out, taps = _prepare(op, ins[0], output)
    real = output.dtype == "float32"
    image_ = padded(x.astype(np.float32 if real else np.int64), window, out, op.attrs)
    inside = padded(np.ones((1, *x.shape[1:3], 1), np.int64), window, out, op.attrs)
    total = sum(tap(image_, y, z, out, op.attrs) for y, z in taps)
    count = sum(tap(inside, y, z, out, op.attrs) for y, z in taps)
    low, high = activation_range(op.attrs["fused_activation_function"], output.dtype, output.quant)
    if real:
        mean = total / np.asarray(count, np.float32)
        return [np.clip(mean, np.float32(low), np.float32(high))]
    # C's division: half is added away from zero, then the quotient is truncated
    half = np.abs(total) + count // 2
    mean = np.sign(total) * (half // count)
    return [np.clip(mean, low, high).astype(output.numpy_dtype)]


@reference.register("max_pool_2d")
def max_pool_2d(
    op: Op, ins: Sequence[Tensor], outs: Sequence[Tensor], args: Sequence[np.ndarray]
) -> list[np.ndarray]:
    (x,), output = args, outs[0]
    window, out, taps = _prepare(op, ins[0], output)
    # shifting the lowest value to 0 lets the zero padding stand for "nothing here"
    real = output.dtype == "float32"
    lowest = float(np.finfo(np.float32).min) if real else np.iinfo(x.dtype).min
    if real:
        inside = padded(np.ones((1, *x.shape[1:3], 1), bool), window, out, op.attrs)
        image_ = np.where(inside, padded(x, window, out, op.attrs), np.float32(lowest))
    else:
        image_ = padded(x.astype(np.int64) - lowest, window, out, op.attrs) + lowest
    made = tap(image_, *taps[0], out, op.attrs)
    for y, z in taps[1:]:
        made = np.maximum(made, tap(image_, y, z, out, op.attrs))
    low, high = activation_range(op.attrs["fused_activation_function"], output.dtype, output.quant)
    return [np.clip(made, low, high).astype(output.numpy_dtype)]

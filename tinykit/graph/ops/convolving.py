"""What the multiply-accumulate ops share: windows over padded images, and the way out of an
accumulator (bias, scaling, zero point, activation).

Accumulators are computed in float64 matrix products: every product and partial sum of 8- and
16-bit integers is an integer far below 2**53, so the result is exact, and BLAS does the work.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinykit.graph.errors import GraphError, UnsupportedOpError
from tinykit.graph.fixedpoint import (
    activation_range,
    axis_padding,
    conv_multipliers,
    multiply_by_quantized_multiplier,
    multiply_by_quantized_multiplier_int64,
    out_size,
    pad_first,
)
from tinykit.graph.ir import Op, Quantization, Tensor
from tinykit.graph.registry import reference

#: input dtype -> weight dtypes that TFLite Micro has a kernel for
WEIGHTS: Mapping[str, tuple[str, ...]] = {
    "float32": ("float32",),
    "int8": ("int8", "int4"),
    "int16": ("int8",),
}

Pair = tuple[int, int]


def check_types(op: Op, data: Tensor, weights: Tensor, output: Tensor) -> None:
    """Raise UnsupportedOpError unless TFLite Micro has a kernel for these dtypes."""
    if weights.dtype not in WEIGHTS.get(data.dtype, ()) or output.dtype != data.dtype:
        raise UnsupportedOpError(
            op.kind,
            None,
            reference.name,
            f"{data.dtype} inputs with {weights.dtype} weights and {output.dtype} outputs",
        )


def check_wide_bias(op: Op, data: Tensor, bias: np.ndarray | None) -> None:
    """Raise UnsupportedOpError for an int32 bias where int16 kernels read int64 whatever it is."""
    if data.dtype == "int16" and bias is not None and bias.dtype != np.int64:
        raise UnsupportedOpError(
            op.kind, None, reference.name, f"int16 inputs with {bias.dtype} biases, not int64"
        )


def quant_of(tensor: Tensor) -> Quantization:
    if tensor.quant is None:
        raise GraphError(f"tensor {tensor.name!r} is {tensor.dtype} and has no quantization")
    return tensor.quant


def check_strides(attrs: Mapping[str, Any]) -> None:
    for key, value in attrs.items():
        positive = key.startswith(("stride_", "dilation_", "filter_")) or key == "depth_multiplier"
        if positive and value < 1:
            raise GraphError(f"{key} is {value}, it should be at least 1")


def image(tensor: Tensor | None, what: str) -> tuple[int, int, int, int]:
    """The four dimensions of an image or filter tensor; GraphError when it has another rank."""
    if tensor is None or len(tensor.shape) != 4:
        shape = "nothing" if tensor is None else tensor.shape
        raise GraphError(f"{what} should have 4 dimensions, got {shape}")
    return tensor.shape  # type: ignore[return-value]


def check_bias(bias: Tensor | None, channels: int) -> None:
    if bias is not None and bias.size != channels:
        raise GraphError(f"{bias.size} biases for {channels} output channels")


def window_out(shape: Sequence[int], window: Pair, attrs: Mapping[str, Any]) -> Pair:
    """Output height and width; GraphError when the window does not fit."""
    made = tuple(
        out_size(
            shape[1 + i],
            window[i],
            attrs["stride_" + "hw"[i]],
            axis_padding(attrs["padding"], i),
            attrs.get(f"dilation_{'hw'[i]}_factor", 1),
        )
        for i in (0, 1)
    )
    if min(made) < 1:
        raise GraphError(f"a window of {window} does not fit {tuple(shape[1:3])} without padding")
    return made  # type: ignore[return-value]


@dataclass(frozen=True)
class Span:
    """The part of a window, along one axis, that meets the image at some position.

    Elements beyond it only ever see padding, so leaving them out keeps memory proportional to the
    image however large a window or dilation a file asks for.

    Attributes
    ----------
    kept : the window's elements that count
    before, after : zeros to put around the image
    start : where element `kept.start` sees the padded image at the first position
    """

    kept: slice
    before: int
    after: int
    start: int
    stride: int
    dilation: int
    out: int

    @classmethod
    def of(cls, size: int, window: int, stride: int, dilation: int, out: int, pad: int) -> Span:
        """`pad`: elements of padding before the first of the image."""
        last_position = (out - 1) * stride
        first = max(-(-(pad - last_position) // dilation), 0)
        stop = max(min((pad + size - 1) // dilation + 1, window), first)
        at = first * dilation - pad  # of the first kept element, in image coordinates
        end = at + last_position + max(stop - first - 1, 0) * dilation + 1
        before = max(-at, 0) if stop > first else 0
        after = max(end - size, 0) if stop > first else 0
        return cls(slice(first, stop), before, after, at + before, stride, dilation, out)

    @property
    def count(self) -> int:
        return self.kept.stop - self.kept.start

    def positions(self, element: int) -> slice:
        """What kept `element` sees of the padded image, at every position of the window."""
        start = self.start + element * self.dilation
        return slice(start, start + (self.out - 1) * self.stride + 1, self.stride)


Spans = tuple[Span, Span]


def spans(shape: Sequence[int], window: Pair, out: Pair, attrs: Mapping[str, Any]) -> Spans:
    """The window's spans along height and width of an image of `shape` (N, H, W, C)."""
    found = []
    for i in (0, 1):
        size, stride = shape[1 + i], attrs["stride_" + "hw"[i]]
        dilation = attrs.get(f"dilation_{'hw'[i]}_factor", 1)
        pad = pad_first(attrs["padding"], i, size, window[i], stride, out[i], dilation)
        found.append(Span.of(size, window[i], stride, dilation, out[i], pad))
    return found[0], found[1]


def padded(x: np.ndarray, span: Spans) -> np.ndarray:
    """`x` (N, H, W, C) with the zeros around it that the window sees."""
    pads = [(0, 0), *((s.before, s.after) for s in span), (0, 0)]
    return np.pad(x, pads) if any(map(any, pads)) else x


def taps(x: np.ndarray, span: Spans) -> Iterator[tuple[int, int, np.ndarray]]:
    """For each kept element (row, column) what it sees of padded `x`: a view (N, OH, OW, C)."""
    for y in range(span[0].count):
        for z in range(span[1].count):
            yield y, z, x[:, span[0].positions(y), span[1].positions(z)]


def centred(x: np.ndarray, tensor: Tensor) -> np.ndarray:
    """`x` in float64, less its zero point where kernels subtract it (int8, not int16)."""
    x = x.astype(np.float64)
    if tensor.dtype == "int8" and tensor.quant is not None:
        x -= float(tensor.quant.zero_point[0])
    return x


def leave_accumulator(
    acc: np.ndarray,
    bias: np.ndarray | None,
    data: Tensor,
    weights: Tensor,
    output: Tensor,
    activation: str,
) -> np.ndarray:
    """Turn accumulators (float64, channels last) into stored outputs.

    Parameters
    ----------
    bias : int16 kernels accumulate in 32 bits when it is int32; in 64 when int64 or absent
    """
    low, high = activation_range(activation, output.dtype, output.quant)
    if output.dtype == "float32":
        acc = acc.astype(np.float32)
        if bias is not None:
            acc += bias
        return np.clip(acc, np.float32(low), np.float32(high))
    quants = quant_of(data), quant_of(weights), quant_of(output)
    mantissa, shift = conv_multipliers(*quants)
    whole = acc.astype(np.int64)
    if bias is not None:
        whole += bias
    if output.dtype == "int16" and (bias is None or bias.dtype != np.int32):
        scaled = multiply_by_quantized_multiplier_int64(whole, mantissa, shift)
    else:
        # a sum beyond 32 bits wraps around in the runtime, so it does here
        scaled = multiply_by_quantized_multiplier(whole.astype(np.int32), mantissa, shift)
        if output.dtype != "int16":
            scaled = scaled + np.int32(quants[2].zero_point[0])
    return np.clip(scaled, low, high).astype(output.numpy_dtype)

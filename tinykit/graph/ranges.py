"""From ranges of real numbers to scales and zero points, as TFLite wants them."""

from __future__ import annotations

import numpy as np

from tinykit.graph.errors import GraphError
from tinykit.graph.ir import Quantization, integer_range

#: kind -> (scale, zero point) of an int8 output; int16 outputs are 1/32768, 0
FIXED_OUTPUT = {"softmax": (1 / 256, -128), "logistic": (1 / 256, -128), "tanh": (1 / 128, 0)}


def fixed_output(kind: str, dtype: str) -> Quantization:
    """The output quantization that TFLite prescribes for softmax, logistic and tanh."""
    if dtype == "int16":
        return Quantization.per_tensor(1 / 32768, 0)
    return Quantization.per_tensor(*FIXED_OUTPUT[kind])


def quantization(low: float, high: float, dtype: str = "int8") -> Quantization:
    """Scale and zero point that cover [`low`, `high`] and hold 0 exactly.

    Asymmetric for int8; symmetric for int16. An empty range gets scale 1/128 (a tensor that is
    always 0 needs some scale, and a tiny one would overflow the multipliers downstream).
    """
    low, high = min(float(low), 0.0), max(float(high), 0.0)
    if not np.isfinite([low, high]).all():
        raise GraphError(f"the range {low} to {high} is not finite")
    bottom, top = integer_range(dtype)
    if high - low < 1e-6:
        return Quantization.per_tensor(1 / 128, 0 if dtype == "int16" else bottom)
    if dtype == "int16":
        return Quantization.per_tensor(max(-low, high) / top, 0)
    scale = np.float32((high - low) / (top - bottom))
    zero = int(np.clip(np.round(bottom - low / float(scale)), bottom, top))
    return Quantization.per_tensor(float(scale), zero)


def range_of(data: np.ndarray, dtype: str = "int8") -> Quantization:
    """`quantization` that covers all of `data`."""
    return quantization(data.min(initial=0.0), data.max(initial=0.0), dtype)


def weight_range(data: np.ndarray, axis: int | None, bits: int = 8) -> Quantization:
    """Symmetric min-max scales, one for each index along `axis`; levels ±127 or ±7."""
    top = 2 ** (bits - 1) - 1
    if axis is None:
        largest = np.abs(data).max(initial=0.0, keepdims=True).ravel()[:1]
    else:
        rest = tuple(a for a in range(data.ndim) if a != axis)
        largest = np.abs(data).max(axis=rest, initial=0.0)
    # a channel of zeros takes the tensor's scale: any scale stores it, a tiny one overflows later
    common = float(largest.max(initial=0.0)) or 1.0
    scale = np.where(largest > common * 1e-6, largest, common) / top
    return Quantization(scale.astype(np.float32), np.zeros(scale.shape, np.int64), axis)


def quantize_weights(
    data: np.ndarray, quant: Quantization, bits: int = 8, full: bool = False
) -> np.ndarray:
    """Symmetric integers of `data`, int8, in ±(2**(bits-1) - 1); with `full` one lower, too."""
    top = 2 ** (bits - 1) - 1
    scale = quant.scale.astype(np.float64)
    if quant.axis is not None:
        scale = scale.reshape([-1 if a == quant.axis else 1 for a in range(data.ndim)])
    return np.clip(np.round(data.astype(np.float64) / scale), -top - full, top).astype(np.int8)


def room_for_bias(quant: Quantization, bias: np.ndarray, scale: float) -> Quantization:
    """Weight scales raised where bias / (input scale · weight scale) would leave int32."""
    most = np.abs(bias.astype(np.float64)) / (scale * 2**30)
    if quant.axis is None:
        most = most.max(initial=0.0, keepdims=True)
    if np.all(most <= quant.scale):
        return quant
    raised = np.maximum(quant.scale.astype(np.float64), most).astype(np.float32)
    return Quantization(raised, quant.zero_point, quant.axis)

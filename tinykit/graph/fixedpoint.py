"""TFLite's integer arithmetic, vectorised: exactly what TFLite Micro's reference kernels compute.

A real factor, say ``s_in * s_w / s_out``, is stored as a 31-bit mantissa and a power of two
(`quantize_multiplier`), and an accumulator is scaled by it with two roundings
(`multiply_by_quantized_multiplier`): a doubling high multiply that rounds half up, then a right
shift that rounds half away from zero. Kernels with 64-bit accumulators use a shorter, 15-bit
mantissa (`multiply_by_quantized_multiplier_int64`).

Source: TFLite's ``kernels/internal/common.cc`` and ``quantization_util.cc`` (the double-rounding
branch, which the PyPI build of tflite-micro is compiled with), and gemmlowp's ``fixedpoint.h``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tinykit.graph.errors import GraphError
from tinykit.graph.ir import Quantization, integer_range

INT32_MIN, INT32_MAX = -(1 << 31), (1 << 31) - 1


def round_half_away(x: ArrayLike) -> np.ndarray:
    """Round to nearest, ties away from zero, as C's ``round`` does (numpy's rounds to even)."""
    x = np.asarray(x)
    whole = np.trunc(x)
    return np.where(np.abs(x - whole) >= 0.5, whole + np.sign(x), whole)


def quantize_multiplier(real: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Mantissa and shift of a real factor: ``real ≈ mantissa * 2**(shift - 31)``.

    Parameters
    ----------
    real : float64, any shape; negative factors give a negative mantissa

    Returns
    -------
    mantissa : int32, same shape; 0, or magnitude in [2**30, 2**31)
    shift : int32, same shape; positive shifts left. Factors below about 2**-32 become 0.
    """
    fraction, shift = np.frexp(np.asarray(real, np.float64))
    mantissa = round_half_away(fraction * float(1 << 31)).astype(np.int64)
    carry = mantissa == 1 << 31
    mantissa = np.where(carry, mantissa // 2, mantissa)
    shift = np.where(carry, shift + 1, shift)
    tiny = shift < -31
    return (
        np.where(tiny, 0, mantissa).astype(np.int32),
        np.where(tiny, 0, shift).astype(np.int32),
    )


def saturating_rounding_doubling_high_mul(a: ArrayLike, b: ArrayLike) -> np.ndarray:
    """High half of ``2*a*b`` of int32 operands, rounded half up; the one overflow saturates."""
    a, b = np.asarray(a, np.int64), np.asarray(b, np.int64)
    high = (a * b + (1 << 30)) >> 31
    return np.minimum(high, INT32_MAX).astype(np.int32)


def rounding_divide_by_pot(x: ArrayLike, exponent: ArrayLike) -> np.ndarray:
    """Int32 ``x / 2**exponent`` rounded to nearest, ties away from zero; 0 <= exponent <= 31."""
    wide, exponent = np.asarray(x, np.int64), np.asarray(exponent, np.int64)
    mask = (np.int64(1) << exponent) - 1
    threshold = (mask >> 1) + (wide < 0)
    return ((wide >> exponent) + ((wide & mask) > threshold)).astype(np.int32)


def multiply_by_quantized_multiplier(
    x: ArrayLike, mantissa: ArrayLike, shift: ArrayLike
) -> np.ndarray:
    """Scale int32 accumulators by a quantized factor, with TFLite's two roundings.

    Parameters
    ----------
    x : integers within int32, any shape
    mantissa, shift : as `quantize_multiplier` makes them; broadcast against `x` (per channel:
        channels last)

    Returns
    -------
    int32 array. A left shift that leaves int32 wraps around, as it does in the runtime.

    Raises
    ------
    GraphError
        A factor of 2**30 or more.
    """
    mantissa, shift = np.asarray(mantissa, np.int64), np.asarray(shift, np.int64)
    _check_shift(shift, 30)
    wide = np.asarray(x, np.int64)
    if np.any(shift > 0):
        wide = (wide << np.maximum(shift, 0)).astype(np.int32).astype(np.int64)
    high = np.minimum((wide * mantissa + (1 << 30)) >> 31, INT32_MAX)
    return rounding_divide_by_pot(high, np.maximum(-shift, 0))


def multiply_by_quantized_multiplier_int64(
    x: ArrayLike, mantissa: ArrayLike, shift: ArrayLike
) -> np.ndarray:
    """Scale int64 accumulators (int16 kernels) by a factor whose mantissa is cut to 15 bits.

    Parameters
    ----------
    x : integers within 48 bits
    mantissa, shift : as `quantize_multiplier` makes them, non-negative

    Returns
    -------
    int32 array, rounded half up once; a result outside int32 wraps around.

    Raises
    ------
    GraphError
        A factor of 2**14 or more.
    """
    mantissa, shift = np.asarray(mantissa, np.int64), np.asarray(shift, np.int64)
    _check_shift(shift, 14)
    reduced = np.where(mantissa < 0x7FFF0000, (mantissa + (1 << 15)) >> 16, 0x7FFF)
    total = 15 - shift
    product = np.asarray(x, np.int64) * reduced + (np.int64(1) << (total - 1))
    return (product >> total).astype(np.int32)


def activation_range(
    activation: str, dtype: str, quant: Quantization | None
) -> tuple[float, float] | tuple[int, int]:
    """Lowest and highest stored value that a fused activation lets through.

    Parameters
    ----------
    activation : "none", "relu", "relu_n1_to_1" or "relu6"
    dtype : the output's dtype; float32 gives the range in reals
    quant : the output's quantization (needed for integer dtypes)
    """
    try:
        low, high = {
            "none": (None, None),
            "relu": (0.0, None),
            "relu_n1_to_1": (-1.0, 1.0),
            "relu6": (0.0, 6.0),
        }[activation]
    except KeyError:
        raise GraphError(f"unknown fused activation {activation!r}") from None
    if dtype == "float32":
        # TFLite's "none" is the finite float range: infinities are clipped to it
        limit = float(np.finfo(np.float32).max)
        return (-limit if low is None else low, limit if high is None else high)
    lowest, highest = integer_range(dtype)
    if low is not None:
        lowest = max(lowest, quantize_value(low, quant))
    if high is not None:
        highest = min(highest, quantize_value(high, quant))
    return lowest, highest


def quantize_value(real: float, quant: Quantization | None) -> int:
    """The unclamped stored value of one real number: divided in float32, ties away from zero.

    GraphError where TFLite Micro refuses: the value leaves int32.
    """
    if quant is None:
        raise GraphError("an integer tensor needs a quantization here")
    quotient = float(np.float32(real) / quant.scale[0])
    if not INT32_MIN <= quotient <= INT32_MAX:
        raise GraphError(
            f"with a scale of {quant.scale[0]:g}, {real:g} is beyond 32 bits; calibrate again (the "
            "scale has probably collapsed)"
        )
    return int(quant.zero_point[0]) + int(round_half_away(quotient))


def out_size(size: int, window: int, stride: int, padding: Any, dilation: int = 1) -> int:
    """Output length of a sliding window along one axis (SAME, VALID); 0 when none fits.

    Parameters
    ----------
    padding : "same", "valid", or a pair: elements before and after
    """
    if padding == "same":
        return -(-size // stride)
    reach = (window - 1) * dilation + 1
    if isinstance(padding, tuple):
        if not 0 <= min(padding) <= max(padding) < reach:
            raise GraphError(f"a padding of {padding} for a window of {reach}")
        size += sum(padding)
    elif padding != "valid":
        raise GraphError(f"padding is 'same' or 'valid', not {padding!r}")
    return max((size + stride - reach) // stride, 0)


def pad_before(size: int, window: int, stride: int, out: int, dilation: int = 1) -> int:
    """Zeros put before the data along one axis; the odd one out goes after. 0 for VALID."""
    total = (out - 1) * stride + (window - 1) * dilation + 1 - size
    return max(total, 0) // 2


def axis_padding(padding: Any, axis: int) -> Any:
    """What `padding` ("same", "valid" or top, bottom, left, right) says about rows (axis 0) or
    columns (1): the word, or elements before and after."""
    if isinstance(padding, str):
        return padding
    if not isinstance(padding, tuple) or len(padding) != 4:
        raise GraphError(f"padding is 'same', 'valid' or four numbers, not {padding!r}")
    return padding[2 * axis : 2 * axis + 2]


def pad_first(
    padding: Any, axis: int, size: int, window: int, stride: int, out: int, dilation: int = 1
) -> int:
    """Elements of padding before the data along `axis`, whichever way `padding` is given."""
    along = axis_padding(padding, axis)
    if isinstance(along, tuple):
        return int(along[0])
    return pad_before(size, window, stride, out, dilation)


def conv_multipliers(
    input_quant: Quantization, filter_quant: Quantization, output_quant: Quantization
) -> tuple[np.ndarray, np.ndarray]:
    """Mantissas and shifts, shape (scales of the filter,), of MAC kernels.

    TFLite Micro multiplies and divides the scales in float64, for fully connected ops too (where
    LiteRT first rounds the product of scales to float32; the two differ on ties).
    """
    factor = (
        input_quant.scale.astype(np.float64)[0]
        * filter_quant.scale.astype(np.float64)
        / output_quant.scale.astype(np.float64)[0]
    )
    return quantize_multiplier(factor)


def is_power_of_two(scale: float) -> tuple[bool, int]:
    """Whether TFLite takes `scale` for a power of two, and its rounded log2.

    TFLite computes ``log(x) * (1 / log(2))`` in float32 and accepts a distance below 1e-3.
    """
    log2 = np.float32(np.log(np.float32(scale))) * np.float32(1.0 / np.log(np.float32(2.0)))
    nearest = round_half_away(log2)
    return bool(abs(log2 - nearest) < np.float32(1e-3)), int(nearest)


def _check_shift(shift: np.ndarray, most: int) -> None:
    """Left shifts beyond `most` are undefined in the runtime's C, so they are refused here."""
    if shift.size and (largest := int(shift.max())) > most:
        raise GraphError(
            f"these scales combine to a factor of about 2**{largest}, above the 2**{most} that "
            "integer kernels apply; calibrate again (an output's scale has probably collapsed)"
        )

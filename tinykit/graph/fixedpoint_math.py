"""exp, 1/(1+x), logistic and tanh in fixed point, as TFLite's integer kernels compute them.

A number is an int32 `raw` in a Q format: with `integer_bits` of them before the point (sign bit
aside), it stands for ``raw / 2**(31 - integer_bits)``. Results have no integer bits, so they lie
in [-1, 1) and "one" is 2**31 - 1. Intermediate values fit int64, in which numpy computes here;
every product is rounded as the int32 kernels round it.

Source: gemmlowp's ``fixedpoint/fixedpoint.h``, which TFLite Micro is built on; and, for 16 bits,
the tables of TFLite's ``kernels/internal/common.h``, regenerated here from what they mean.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from tinykit.graph.fixedpoint import (
    INT32_MAX,
    INT32_MIN,
    round_half_away,
    rounding_divide_by_pot,
    saturating_rounding_doubling_high_mul,
)


def _q31(real: float) -> int:
    return round(real * (1 << 31))


#: exp(-2**e) for each power of two that an argument can contain
EXP_FACTORS = tuple((e, _q31(math.exp(-(2.0**e)))) for e in range(-2, 5))
EXP_MINUS_EIGHTH = _q31(math.exp(-1 / 8))
ONE_THIRD = _q31(1 / 3)
#: Newton's first guess for 1/d is 48/17 - 32/17 d; two integer bits
NEWTON_48_17 = round(48 / 17 * (1 << 29))
NEWTON_NEG_32_17 = round(-32 / 17 * (1 << 29))


def _mul(a: ArrayLike, b: ArrayLike) -> np.ndarray:
    return saturating_rounding_doubling_high_mul(a, b).astype(np.int64)


def _halve(x: ArrayLike, exponent: int) -> np.ndarray:
    return rounding_divide_by_pot(x, exponent).astype(np.int64)


def _shift_left(x: np.ndarray, exponent: int) -> np.ndarray:
    """``x * 2**exponent``, saturated where gemmlowp saturates it."""
    threshold = (1 << (31 - exponent)) - 1
    shifted = x << exponent
    return np.where(x > threshold, INT32_MAX, np.where(x < -threshold, INT32_MIN, shifted))


def exp_on_negative_values(raw: ArrayLike, integer_bits: int) -> np.ndarray:
    """exp of non-positive numbers with `integer_bits` (at most 5); int64 array holding Q0.31."""
    a = np.asarray(raw, np.int64)
    fraction_bits = 31 - integer_bits
    quarter = 1 << (fraction_bits - 2)
    # exp(a) = exp(r) * exp(-n/4), r in [-1/4, 0): a Taylor series around -1/8, then one factor
    # for each bit of n
    r = (a & (quarter - 1)) - quarter
    x = (r << integer_bits) + (1 << 28)
    x2 = _mul(x, x)
    x3 = _mul(x2, x)
    x4 = _mul(x2, x2)
    tail = _halve(_mul(_halve(x4, 2) + x3, ONE_THIRD) + x2, 1)
    result = EXP_MINUS_EIGHTH + _mul(EXP_MINUS_EIGHTH, x + tail)
    quarters = r - a
    for exponent, factor in EXP_FACTORS:
        if integer_bits > exponent:
            bit = 1 << (fraction_bits + exponent)
            result = np.where(quarters & bit, _mul(result, factor), result)
    return np.where(a == 0, INT32_MAX, result)


def _newton_reciprocal(raw: ArrayLike) -> np.ndarray:
    """2 / (1 + x) of x in [0, 1) given in Q0.31; the result has two integer bits."""
    half = (np.asarray(raw, np.int64) + INT32_MAX + 1) // 2
    x = NEWTON_48_17 + _mul(half, NEWTON_NEG_32_17)
    for _ in range(3):
        x = x + _shift_left(_mul(x, (1 << 29) - _mul(half, x)), 2)
    return x


def one_over_one_plus_x(raw: ArrayLike) -> np.ndarray:
    """1 / (1 + x) of x in [0, 1); both Q0.31."""
    return _shift_left(_newton_reciprocal(raw), 1)


def logistic(raw: ArrayLike, integer_bits: int) -> np.ndarray:
    """1 / (1 + exp(-x)); int64 array holding Q0.31."""
    a = np.asarray(raw, np.int64)
    positive = one_over_one_plus_x(exp_on_negative_values(-np.abs(a), integer_bits))
    return np.where(a == 0, 1 << 30, np.where(a > 0, positive, INT32_MAX - positive))


def tanh(raw: ArrayLike, integer_bits: int) -> np.ndarray:
    """tanh(x) = (1 - exp(-2x)) / (1 + exp(-2x)); int64 array holding Q0.31."""
    a = np.asarray(raw, np.int64)
    # one integer bit more reads the same raw number as twice the value
    decay = exp_on_negative_values(-np.abs(a), integer_bits + 1)
    positive = _shift_left(_newton_reciprocal(decay) - (1 << 29), 2)
    return np.where(a == 0, 0, np.where(a > 0, positive, -positive))


def leading_zeros(x: ArrayLike) -> np.ndarray:
    """Leading zero bits of non-negative integers below 2**32; 32 for zero."""
    # frexp is exact for such integers: x = f * 2**e, f in [1/2, 1)
    return (32 - np.frexp(np.asarray(x, np.float64))[1]).astype(np.int64)


def reciprocal(raw: ArrayLike, integer_bits: int) -> tuple[np.ndarray, np.ndarray]:
    """1 / x of positive numbers, as a Q0.31 mantissa and the bits of x above one.

    Returns
    -------
    mantissa, bits : int64 arrays; 1/x = mantissa * 2**-bits
    """
    x = np.asarray(raw, np.int64)
    headroom = leading_zeros(x)
    shifted_minus_one = ((x << headroom) & 0xFFFFFFFF) - (1 << 31)
    return one_over_one_plus_x(shifted_minus_one), integer_bits - headroom


def input_radius(integer_bits: int, left_shift: int) -> int:
    """Largest |input| that `left_shift` keeps inside a Q format (TFLite's CalculateInputRadius)."""
    return math.floor(((1 << integer_bits) - 1) * 2.0 ** (31 - integer_bits) / 2.0**left_shift)


@functools.cache
def sigmoid_table() -> np.ndarray:
    """256 samples of 65536 * sigmoid(i / 24), which int16 logistic and tanh interpolate.

    The curve is concave there and a chord runs below it, so each sample is raised by half of the
    chord's error at its midpoint; the last is 65535. int64 array, shape (256,).
    """
    i = np.arange(256)

    def curve(x: np.ndarray) -> np.ndarray:
        return 65536 / (1 + np.exp(-x / 24))

    error = curve(i + 0.5) - (curve(i) + curve(i + 1)) / 2
    table = np.rint(curve(i) + error / 2).astype(np.int64)
    table[255] = 65535
    table.flags.writeable = False
    return table


def int16_table(
    function: Callable[[np.ndarray], np.ndarray], low: float, high: float
) -> np.ndarray:
    """513 samples of `function` on [low, high] in Q0.15 for `int16_lookup`, in float32 throughout.

    Each sample is lowered by half of the chord's rounded error at its midpoint (TFLite's
    LUTPopulate). int64 array, shape (513,).
    """
    steps = 512
    low32, high32 = np.float32(low), np.float32(high)
    step = (high32 - low32) / np.float32(steps)
    half_step = step / np.float32(2)
    output_scale = np.float32(2.0) / np.float32(65535.0)
    width = output_scale * np.float32(32767) + output_scale * np.float32(32768)
    inverse = np.float32(65536.0) / width
    at = low32 + np.arange(steps + 1, dtype=np.float32) * step
    value = function(at[:-1]).astype(np.float32) * inverse
    following = function(at[1:]).astype(np.float32) * inverse
    middle = function(at[:-1] + half_step).astype(np.float32) * inverse
    sample = round_half_away(value)
    chord = round_half_away((following + sample) / np.float32(2))
    bias = round_half_away((chord - round_half_away(middle)) / np.float32(2))
    last = round_half_away(function(np.array([high], np.float32)).astype(np.float32) * inverse)
    table = np.clip(np.concatenate([sample - bias, last]), -32768, 32767).astype(np.int64)
    table.flags.writeable = False
    return table


def int16_lookup(value: ArrayLike, table: np.ndarray) -> np.ndarray:
    """Interpolate a 513-sample table at int16 `value`: 9 bits choose the sample, 7 the way on."""
    value = np.asarray(value, np.int64)
    index = 256 + (value >> 7)
    base = table[index]
    return base + (((table[index + 1] - base) * (value & 0x7F) + 64) >> 7)

"""The fixed-point arithmetic against exact integers and fractions."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tinykit.graph import fixedpoint as fp
from tinykit.graph.errors import GraphError
from tinykit.graph.ir import Quantization

exactly = settings(max_examples=300, deadline=None, derandomize=True)
int32 = st.integers(-(2**31), 2**31 - 1) | st.integers(-300, 300)
mantissas = st.integers(2**30, 2**31 - 1) | st.just(0)
factors = st.floats(2.0**-40, 2.0**20) | st.sampled_from([0.5, 1.0, 1 - 2.0**-40, 2.0**-32])


def wrapped(x: int, bits: int = 32) -> int:
    return (x + (1 << (bits - 1))) % (1 << bits) - (1 << (bits - 1))


def half_up(x: Fraction) -> int:
    return math.floor(x + Fraction(1, 2))


def half_away(x: Fraction) -> int:
    return int(math.copysign(math.floor(abs(x) + Fraction(1, 2)), x)) if x else 0


@exactly
@given(factors)
def test_multiplier_is_the_nearest_31_bit_mantissa(real: float) -> None:
    mantissa, shift = (int(v) for v in fp.quantize_multiplier(real))
    if Fraction(real) < Fraction(1, 2**32):
        assert (mantissa, shift) == (0, 0)
        return
    assert 2**30 <= mantissa < 2**31
    error = abs(Fraction(mantissa) * Fraction(2) ** (shift - 31) - Fraction(real))
    assert error <= Fraction(2) ** (shift - 31) / 2


def test_multiplier_of_zero_and_of_arrays() -> None:
    mantissa, shift = fp.quantize_multiplier(np.array([0.0, 0.5, 1.0, 2.0**-32, 2.0**-34]))
    assert mantissa.tolist() == [0, 2**30, 2**30, 2**30, 0]
    assert shift.tolist() == [0, 0, 1, -31, 0]
    assert mantissa.dtype == shift.dtype == np.int32


@exactly
@given(int32, int32)
@example(-(2**31), -(2**31))
def test_high_multiply_is_exact_and_rounds_half_up(a: int, b: int) -> None:
    expected = min(half_up(Fraction(a * b, 2**31)), 2**31 - 1)
    assert int(fp.saturating_rounding_doubling_high_mul(a, b)) == expected


@exactly
@given(int32, st.integers(0, 31))
def test_division_by_a_power_of_two_rounds_half_away(x: int, exponent: int) -> None:
    assert int(fp.rounding_divide_by_pot(x, exponent)) == half_away(Fraction(x, 2**exponent))


@exactly
@given(int32, mantissas, st.integers(-31, 12))
@example(2**31 - 1, 2**31 - 1, 12)
@example(-1, 2**30, 0)
def test_scaling_rounds_twice(x: int, mantissa: int, shift: int) -> None:
    shifted = wrapped(x << max(shift, 0))
    high = half_up(Fraction(shifted * mantissa, 2**31))
    expected = half_away(Fraction(high, 2 ** max(-shift, 0)))
    assert int(fp.multiply_by_quantized_multiplier(x, mantissa, shift)) == expected


@exactly
@given(st.integers(-(2**47), 2**47 - 1), mantissas, st.integers(-31, 14))
def test_wide_scaling_rounds_once(x: int, mantissa: int, shift: int) -> None:
    reduced = 0x7FFF if mantissa >= 0x7FFF0000 else (mantissa + 2**15) >> 16
    expected = wrapped(half_up(Fraction(x * reduced, 2 ** (15 - shift))))
    assert int(fp.multiply_by_quantized_multiplier_int64(x, mantissa, shift)) == expected


@exactly
@given(st.lists(int32, min_size=6, max_size=6), st.lists(factors, min_size=3, max_size=3))
def test_channels_broadcast_along_the_last_axis(x: list[int], real: list[float]) -> None:
    mantissa, shift = fp.quantize_multiplier(np.array(real))
    together = fp.multiply_by_quantized_multiplier(np.reshape(x, (2, 3)), mantissa, shift)
    for row in range(2):
        for c in range(3):
            alone = fp.multiply_by_quantized_multiplier(x[3 * row + c], mantissa[c], shift[c])
            assert together[row, c] == alone


@exactly
@given(st.floats(-1e6, 1e6) | st.integers(-50, 50).map(lambda n: n / 2))
def test_rounding_half_away(x: float) -> None:
    assert int(fp.round_half_away(x)) == half_away(Fraction(x))


@exactly
@given(st.integers(1, 40), st.integers(1, 7), st.integers(1, 5), st.integers(1, 4), st.booleans())
def test_windows_cover_what_they_should(
    size: int, window: int, stride: int, dilation: int, same: bool
) -> None:
    reach = (window - 1) * dilation + 1
    out = fp.out_size(size, window, stride, "same" if same else "valid", dilation)
    if same:
        assert out == math.ceil(size / stride)
    else:  # as many windows as lie inside
        assert out == len([s for s in range(0, size, stride) if s + reach <= size])
    before = fp.pad_before(size, window, stride, out, dilation)
    total = max((out - 1) * stride + reach - size, 0)
    assert before == total // 2
    if not same:
        assert out == 0 or total == 0


@pytest.mark.parametrize(
    ("activation", "expected"),
    [
        ("none", (-128, 127)),
        ("relu", (-10, 127)),
        ("relu6", (-10, 110)),
        ("relu_n1_to_1", (-30, 10)),
    ],
)
def test_activation_ranges(activation: str, expected: tuple[int, int]) -> None:
    assert fp.activation_range(activation, "int8", Quantization.per_tensor(0.05, -10)) == expected


def test_activation_range_of_floats_and_bad_ones() -> None:
    assert fp.activation_range("relu6", "float32", None) == (0.0, 6.0)
    low, high = fp.activation_range("none", "float32", None)
    assert high == -low == float(np.finfo(np.float32).max)
    with pytest.raises(GraphError, match="unknown fused activation 'gelu'"):
        fp.activation_range("gelu", "int8", Quantization.per_tensor(1.0))
    with pytest.raises(GraphError, match="beyond 32 bits"):
        fp.activation_range("relu6", "int8", Quantization.per_tensor(1e-12))
    with pytest.raises(GraphError, match="needs a quantization"):
        fp.activation_range("relu", "int8", None)


def test_powers_of_two() -> None:
    assert fp.is_power_of_two(2.0**-15) == (True, -15)
    assert fp.is_power_of_two(0.3)[0] is False


def test_factors_whose_shift_is_undefined_are_refused() -> None:
    mantissa, shift = fp.quantize_multiplier(2.0**30)
    with pytest.raises(GraphError, match=r"factor of about 2\*\*31, above the 2\*\*30"):
        fp.multiply_by_quantized_multiplier(1, mantissa, shift)
    assert int(fp.multiply_by_quantized_multiplier(1, *fp.quantize_multiplier(2.0**29))) == 2**29
    with pytest.raises(GraphError, match="calibrate again"):
        fp.multiply_by_quantized_multiplier_int64(1, mantissa, 15)
    assert int(fp.multiply_by_quantized_multiplier_int64(3, 2**30, 14)) == 3 << 13

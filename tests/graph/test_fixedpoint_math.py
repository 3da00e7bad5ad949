"""The fixed-point functions against the real ones. (That they equal TFLite Micro's, bit for bit, is
shown op by op in test_pointwise.)"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinykit.graph import fixedpoint_math as q

ONE = float(1 << 31)


@given(st.integers(0, 5), st.lists(st.integers(-(1 << 31), 0), min_size=1, max_size=50))
def test_exp(integer_bits: int, raw: list[int]) -> None:
    real = np.array(raw) / 2.0 ** (31 - integer_bits)
    got = q.exp_on_negative_values(raw, integer_bits) / ONE
    # a Taylor series to the fourth order on a quarter: 1/8**5 / 5! of exp(-1/8)
    np.testing.assert_allclose(got, np.exp(real), rtol=0, atol=3e-7)


@given(st.integers(0, 4), st.lists(st.integers(-(1 << 31) + 1, (1 << 31) - 1), min_size=1))
def test_logistic_and_tanh(integer_bits: int, raw: list[int]) -> None:
    real = np.array(raw) / 2.0 ** (31 - integer_bits)
    np.testing.assert_allclose(
        q.logistic(raw, integer_bits) / ONE, 1 / (1 + np.exp(-real)), rtol=0, atol=5e-7
    )
    np.testing.assert_allclose(q.tanh(raw, integer_bits) / ONE, np.tanh(real), rtol=0, atol=1e-6)


@given(st.lists(st.integers(0, (1 << 31) - 1), min_size=1))
def test_one_over_one_plus_x(raw: list[int]) -> None:
    got = q.one_over_one_plus_x(raw) / ONE
    np.testing.assert_allclose(got, 1 / (1 + np.array(raw) / ONE), rtol=0, atol=2e-8)


@given(st.lists(st.integers(1, (1 << 31) - 1), min_size=1), st.integers(0, 12))
def test_reciprocal(raw: list[int], integer_bits: int) -> None:
    mantissa, bits = q.reciprocal(raw, integer_bits)
    real = np.array(raw) / 2.0 ** (31 - integer_bits)
    np.testing.assert_allclose(mantissa / ONE * 2.0**-bits, 1 / real, rtol=5e-8)
    assert np.all(mantissa >= (1 << 30) - 4)  # in [1/2, 1] but for Newton's last bits


@given(st.integers(0, (1 << 32) - 1))
def test_leading_zeros(x: int) -> None:
    assert int(q.leading_zeros(x)) == 32 - x.bit_length()


def test_sigmoid_table_interpolates_within_a_step_of_the_curve() -> None:
    x = np.linspace(0, 254, 5001)
    table = q.sigmoid_table().astype(np.float64)
    i = np.floor(x).astype(int)
    between = table[i] + (table[i + 1] - table[i]) * (x - i)
    assert np.abs(between - 65536 / (1 + np.exp(-x / 24))).max() < 1.3


@pytest.mark.parametrize(
    ("function", "low", "high"),
    [(np.exp, -10.0, 0.0), (lambda x: 1 / (1 + x), 0.0, 1.0)],
    ids=["exp", "reciprocal"],
)
def test_int16_table(function: object, low: float, high: float) -> None:
    table = q.int16_table(function, low, high)  # type: ignore[arg-type]
    assert table.shape == (513,)
    values = np.arange(-32768, 32768)
    got = q.int16_lookup(values, table) / 32768
    real = function(low + (values + 32768) / 65536 * (high - low))  # type: ignore[operator]
    assert np.abs(got - real).max() < 2.5 / 32768

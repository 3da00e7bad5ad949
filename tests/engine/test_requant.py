"""Requantization in a few instructions against TFLite's two roundings."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tinykit.engine.requant import Requant
from tinykit.graph.fixedpoint import multiply_by_quantized_multiplier

MANTISSA = st.integers(1 << 30, (1 << 31) - 1)


def smmlar(a: np.ndarray, b: int, c: int, rounding: int = 1 << 31) -> np.ndarray:
    return ((a.astype(np.int64) * b + rounding) >> 32) + c


@st.composite
def layers(draw: st.DrawFn) -> Requant:
    zero = draw(st.integers(-128, 127))
    low = draw(st.sampled_from([-128, zero]))
    high = draw(st.integers(zero, 127)) if draw(st.booleans()) else 127
    signed = low < zero
    right = draw(st.integers(int(signed), 14))
    reach = draw(st.integers(1, 1 << 24))
    one = [np.array([v], np.int64) for v in (draw(MANTISSA), right, reach)]
    return Requant(one[0], one[1], zero, low, high, signed, one[2])


def accumulators(made: Requant) -> np.ndarray:
    """Zero and the ends, and all around the ties of the second rounding."""
    reach, scale = int(made.reach[0]), float(made.mantissa[0]) / 2.0 ** (31 + int(made.right[0]))
    ties = np.round((np.arange(-260, 260) + 0.5) / scale).astype(np.int64)
    near = ties[:, None] + np.arange(-4, 5)
    found = np.concatenate([near.ravel(), np.arange(-9, 10), [reach, -reach]])
    return found[np.abs(found) <= reach]


def expected(made: Requant, acc: np.ndarray) -> np.ndarray:
    scaled = multiply_by_quantized_multiplier(acc, made.mantissa, -made.right)
    return np.clip(scaled + made.zero, made.low, made.high)


@settings(max_examples=300, deadline=None)
@given(layers())
def test_doubled_accumulators(made: Requant) -> None:
    acc = accumulators(made)
    mantissa, add, shift = made.at(0)
    x = smmlar(2 * acc, mantissa, add)
    if made.signed:
        x += (2 * acc) >> 31
    y = np.clip(np.clip(x >> shift, -128, 127), made.low, made.high)
    np.testing.assert_array_equal(y, expected(made, acc))


@settings(max_examples=300, deadline=None)
@given(layers(), st.integers(2, 12))
def test_accumulators_times_a_power_of_two(made: Requant, times: int) -> None:
    add = made.raised(times)
    if add is None:
        assert made.signed or int(made.reach[0]) << times >= 1 << 26 or int(made.right[0]) > 8
        return
    acc = accumulators(made)
    shift = int(made.right[0]) + times - 1
    x = smmlar(acc << times, int(made.mantissa[0]), int(add[0]), rounding=0)
    y = np.clip(np.clip(x >> shift, -128, 127), made.low, made.high)
    np.testing.assert_array_equal(y, expected(made, acc))

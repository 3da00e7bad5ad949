"""Quantization as functions: torch is the oracle, and arithmetic in double precision."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.quant.fake_cases import cases
from tinykit.graph import TinykitError
from tinykit.graph.ranges import quantization, weight_range
from tinykit.quant import functional as fq


def test_equal_to_torchs_kernels_bit_for_bit() -> None:
    made = list(cases(200))
    assert sum(c.differing() for c in made) == 0
    assert sum(c.ties() for c in made) > 500
    assert {c.axis is None for c in made} == {True, False}


def test_levels() -> None:
    assert fq.levels(4) == (-8, 7)
    assert fq.levels(4, narrow=True) == (-7, 7)
    assert fq.levels(1) == (-1, 0)
    assert fq.levels(3, signed=False) == (0, 7)
    assert fq.levels(16) == (-32768, 32767)
    for bits in (0, 17, 2.0):
        with pytest.raises(TinykitError, match="whole bits from 1 to 16"):
            fq.levels(bits)  # type: ignore[arg-type]
    with pytest.raises(TinykitError, match="0 alone is left"):
        fq.levels(1, narrow=True)


@given(st.integers(2, 16), st.booleans(), st.integers(0, 2**31))
def test_integers_come_back(bits: int, narrow: bool, seed: int) -> None:
    """Every level is its own nearest level."""
    low, high = fq.levels(bits, narrow)
    g = torch.Generator().manual_seed(seed)
    q = torch.randint(low, high + 1, (3, 50), generator=g, dtype=torch.int32)
    scale = torch.rand(3, generator=g) + 1e-3
    zero = torch.randint(low, high + 1, (3,), generator=g, dtype=torch.int32)
    real = fq.dequantize(q, scale, zero, axis=0)
    assert torch.equal(fq.quantize(real, scale, zero, low, high, axis=0), q)


@given(st.integers(1, 4), st.sampled_from([1, 2, 3, 6]), st.integers(0, 2**31))
def test_a_group_is_a_tensor(outputs: int, group: int, seed: int) -> None:
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(outputs, 6, 2, generator=g)
    low, high = fq.value_range(x, group=group)
    scale, zero = fq.scale_of_range(low, high, -8, 7, symmetric=False)
    assert scale.shape == (outputs, 6 // group)
    got = fq.fake_quantize(x, scale, zero, -8, 7, group=group)
    split = fq.error_split(x, scale, zero, -8, 7, group=group)
    errors = []
    for o in range(outputs):
        for k in range(6 // group):
            part = x[o, k * group : (k + 1) * group]
            one = scale[o, k].reshape(1), zero[o, k].reshape(1)
            want = torch.fake_quantize_per_tensor_affine(part, *one, -8, 7)
            assert torch.equal(got[o, k * group : (k + 1) * group], want)
            errors.append(fq.error_split(part.contiguous(), *one, -8, 7))
    np.testing.assert_allclose(split, np.mean(errors, axis=0), rtol=1e-9)


@given(
    st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=60),
    st.floats(0.01, 20),
    st.integers(-8, 7),
)
def test_error_is_clipping_plus_rounding(values: list[float], scale: float, zero: int) -> None:
    x = torch.tensor(values)
    step = torch.tensor([scale])
    clipping, rounding = fq.error_split(x, step, torch.tensor([zero]), -8, 7)
    s = float(step)
    low, high = (-8 - zero) * s, (7 - zero) * s
    exact = np.float64(values)
    outside = (exact < np.float32(low)) | (exact > np.float32(high))
    real = torch.fake_quantize_per_tensor_affine(
        x, step, torch.tensor([zero], dtype=torch.int32), -8, 7
    )
    squared = (exact - real.double().numpy()) ** 2
    assert clipping + rounding == pytest.approx(squared.mean(), rel=1e-12, abs=1e-300)
    assert clipping == pytest.approx(squared[outside].sum() / len(values), rel=1e-12)
    # what is clipped lies at the nearer end, what is rounded is at most half a step off
    ends = np.where(exact < low, low - exact, exact - high)
    clipped = np.maximum(ends, 0)[outside]
    assert clipping * len(values) == pytest.approx((clipped**2).sum(), rel=1e-4, abs=1e-6)
    assert np.sqrt(squared[~outside]).max(initial=0) <= s / 2 * 1.0001


@given(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4), st.sampled_from([(8, False), (16, True)]))
def test_ranges_become_what_the_graph_makes_of_them(
    a: float, b: float, kind: tuple[int, bool]
) -> None:
    bits, symmetric = kind
    low, high = min(a, b, 0.0), max(a, b, 0.0)
    narrow = symmetric  # the graph's int16 scale covers ±32767
    scale, zero = fq.scale_of_range(low, high, *fq.levels(bits, narrow), symmetric)
    want = quantization(low, high, "int8" if bits == 8 else "int16")
    if high - low < 1e-6 and symmetric:
        return  # any step will do, and they take different ones
    assert float(scale) == pytest.approx(float(want.scale[0]), rel=1e-7)
    assert int(zero) == int(want.zero_point[0])


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 8])
def test_weights_scales_are_the_graphs(bits: int) -> None:
    x = np.random.default_rng(bits).normal(size=(5, 3, 3)).astype(np.float32)
    x[2] = 0  # a dead channel takes the widest channel's step
    low, high = fq.value_range(torch.from_numpy(x), 0)
    scale, zero = fq.scale_of_range(low, high, *fq.levels(bits, narrow=True), True)
    np.testing.assert_allclose(scale, weight_range(x, 0, bits).scale, rtol=1e-7)
    assert not zero.any()
    full, _ = fq.scale_of_range(low, high, *fq.levels(bits), True)
    q = torch.from_numpy(x) / full[:, None, None]
    assert q.min() >= fq.levels(bits)[0] - 1e-4
    assert q.max() <= fq.levels(bits)[1] + 1e-4


def test_constants() -> None:
    """A channel that is constant comes back as it is; one of zeros as zeros."""
    for symmetric in (True, False):
        for value in (0.0, 3.0, -2.5, 1e-8):
            x = torch.full((1, 6), value)
            scale, zero = fq.scale_of_range(*fq.value_range(x, 0), -127, 127, symmetric)
            back = fq.fake_quantize(x, scale, zero, -127, 127, axis=0)
            np.testing.assert_allclose(back, x, rtol=1e-5, atol=2e-8)
            assert torch.isfinite(scale).all()


def test_stochastic_rounding_is_right_on_average() -> None:
    g = torch.Generator().manual_seed(1)
    x = torch.tensor([0.2, -0.7, 1.5, 3.0, 100.0]).repeat(20_000, 1)
    got = fq.fake_quantize(x, 0.5, 0, -8, 7, rounding="stochastic", generator=g)
    # a step of .5: each draw has at most a deviation of .25
    np.testing.assert_allclose(got[:, :4].mean(0), x[0, :4], atol=4 * 0.25 / np.sqrt(20_000))
    assert (got[:, 4] == 3.5).all()
    low = (x[:, :4] / 0.5).floor() * 0.5
    assert ((got[:, :4] == low) | (got[:, :4] == low + 0.5)).all()
    again = torch.Generator().manual_seed(1)
    assert torch.equal(
        got, fq.fake_quantize(x, 0.5, 0, -8, 7, rounding="stochastic", generator=again)
    )


def test_mistakes_are_told() -> None:
    x = torch.randn(4, 6)
    ok = torch.ones(4)
    with pytest.raises(TinykitError, match="x holds NaN"):
        fq.quantize(torch.tensor([1.0, float("nan")]), 1.0, 0, -8, 7)
    with pytest.raises(TinykitError, match="scale has to be positive"):
        fq.quantize(x, 0.0, 0, -8, 7)
    with pytest.raises(TinykitError, match="scale has to be positive"):
        fq.quantize(x, float("nan"), 0, -8, 7)
    with pytest.raises(TinykitError, match=r"scale has shape \(4,\).*it takes \(6,\)"):
        fq.quantize(x, ok, 0, -8, 7, axis=1)
    with pytest.raises(TinykitError, match="rounding is 'up'"):
        fq.quantize(x, 1.0, 0, -8, 7, rounding="up")
    with pytest.raises(TinykitError, match="group is 4: it has to divide axis 1"):
        fq.value_range(x, group=4)
    with pytest.raises(TinykitError, match="is empty"):
        fq.value_range(torch.zeros(0, 3))
    with pytest.raises(TinykitError, match="is empty"):
        fq.error_split(torch.zeros(0), 1.0, 0, -8, 7)
    with pytest.raises(TinykitError, match="not finite"):
        fq.scale_of_range(0.0, float("nan"), -8, 7, False)
    with pytest.raises(TinykitError, match="before it begins"):
        fq.scale_of_range(1.0, -1.0, -8, 7, True)

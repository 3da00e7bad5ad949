import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy

from tinykit.graph import TinykitError
from tinykit.quant.observers import (
    OBSERVERS,
    Histogram,
    MeanSquaredError,
    MovingAverage,
    Percentile,
    observer,
)
from tinykit.quant.weights import least_squares_range


def test_minmax() -> None:
    o = observer("minmax")
    o.update(np.float32([1, 2]))
    o.update(np.float32([-3, 0]))
    assert o.range() == (-3, 2)


def test_moving_average_follows() -> None:
    o = MovingAverage(0.5)
    for high in (4, 8, 8):
        o.update(np.float32([0, high]))
    assert o.range() == (0, 7)


@given(
    st.lists(
        st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=20), min_size=1, max_size=6
    )
)
def test_histogram_counts_every_value_within_a_bin(batches: list[list[float]]) -> None:
    h = Histogram()
    for batch in batches:
        h.update(np.float32(batch))
    values = np.concatenate([np.float32(b) for b in batches]).astype(np.float64)
    assert h.counts.sum() == len(values)
    # cumulative counts are those of the values, to within a bin at each edge
    for edge in (0.25, 0.5, 0.75):
        x = h.left + h.width * round(edge * h.BINS)
        below = h.counts[: round(edge * h.BINS)].sum()
        slack = h.width + 1e-9 * abs(x)
        assert (values < x - slack).sum() <= below <= (values < x + slack).sum()


def test_percentile_is_numpys() -> None:
    x = np.random.default_rng(0).normal(size=100_000).astype(np.float32)
    o = Percentile(1.0)
    for part in np.split(x, 10):
        o.update(part)
    low, high = o.range()
    want = np.percentile(x, [0.5, 99.5])
    assert low == pytest.approx(want[0], abs=0.02)
    assert high == pytest.approx(want[1], abs=0.02)
    whole = Percentile(0)
    whole.update(x)
    assert whole.range() == (x.min(), x.max())


def squared_error(x: np.ndarray, low: float, high: float) -> float:
    step = (high - low) / 255
    zero = np.round(-low / step)
    return float((((np.clip(np.round(x / step) + zero, 0, 255) - zero) * step - x) ** 2).mean())


def test_mse_beats_minmax_and_is_near_the_best() -> None:
    x = np.append(np.random.default_rng(0).normal(size=500_000), 12.0)  # one outlier in many
    o = MeanSquaredError()
    o.update(x.astype(np.float32))
    found = squared_error(x, *o.range())
    assert found < squared_error(x, x.min(), x.max()) / 1.3
    grid = [squared_error(x, -a, b) for a in np.linspace(3, 5, 8) for b in np.linspace(3, 12, 16)]
    assert found <= min(grid) * 1.05


@pytest.mark.parametrize("levels", [7, 15, 31])
def test_mse_with_few_levels_is_near_the_best_symmetric_range(levels: int) -> None:
    x = np.random.default_rng(1).standard_t(4, size=50_000).astype(np.float32)
    o = observer("mse", levels, symmetric=True)
    o.update(x)
    low, high = o.range()
    assert low == -high

    def error(end: float) -> float:
        step, top = 2 * end / (levels - 1), (levels - 1) // 2
        return float(((np.clip(np.round(x / step), -top, top) * step - x) ** 2).mean())

    best = min(error(end) for end in np.linspace(0.3, np.abs(x).max(), 400))
    assert error(high) <= best * 1.1
    assert error(high) < error(float(np.abs(x).max())) / 2


def test_entropy_is_scipys_and_near_the_least() -> None:
    """Divergences of thresholds by scipy, from the same histogram."""
    x = np.append(np.random.default_rng(0).laplace(size=100_000), 40.0)
    o = observer("kl", 31, symmetric=True)
    o.update(x.astype(np.float32))
    assert isinstance(o, Histogram)
    centres, counts = o.centres(), o.counts

    def divergence(end: float) -> float:
        p = counts.astype(np.float64)
        inside = np.abs(centres) <= end
        p[np.flatnonzero(inside & (p > 0))[[0, -1]]] += (
            counts[centres < -end].sum(),
            counts[centres > end].sum(),
        )
        level = np.round(centres / (2 * end / 30))
        q = np.zeros_like(p)
        for k in np.unique(level[inside]):
            there = inside & (level == k) & (counts > 0)
            if there.any():
                q[there] = counts[there].sum() / there.sum()
        keep = inside & (counts > 0)
        return float(entropy(p[keep], q[keep]))

    found = divergence(o.range()[1])
    every = [divergence(end) for end in np.linspace(1, 40, 100)]
    assert found <= min(every) * 1.1
    assert o.range()[1] < 20


@pytest.mark.parametrize("name", OBSERVERS)
def test_constants_and_nothing(name: str) -> None:
    o = observer(name)
    with pytest.raises(TinykitError, match="seen no values"):
        o.range()
    o.update(np.zeros(5, np.float32))
    low, high = o.range()
    assert low <= 0 <= high


def test_unknown_and_out_of_range() -> None:
    with pytest.raises(TinykitError, match=r"no observer 'max'.*minmax"):
        observer("max")
    with pytest.raises(TinykitError, match="momentum"):
        MovingAverage(0)
    with pytest.raises(TinykitError, match="share"):
        Percentile(100)


@pytest.mark.parametrize("axis", [None, 0, 3])
def test_least_squares_scales_beat_minmax(axis: int | None) -> None:
    data = np.random.default_rng(1).standard_t(3, size=(6, 3, 3, 5)).astype(np.float32)

    def error(scale: np.ndarray) -> float:
        shape = [1] * 4
        if axis is not None:
            shape[axis] = -1
        s = scale.astype(np.float64).reshape(shape if axis is not None else ())
        return float(((np.clip(np.round(data / s), -7, 7) * s - data) ** 2).sum())

    found = least_squares_range(data, axis, 4).scale
    rest = None if axis is None else tuple(a for a in range(4) if a != axis)
    minmax = np.atleast_1d(np.abs(data).max(axis=rest)) / 7
    assert error(found) < error(minmax)
    # brute force, channel by channel: errors of channels add up, so each has its own best scale
    shares = np.linspace(0.05, 1, 2000)
    best = minmax.copy()
    for channel in range(len(minmax)):
        part = data if axis is None else np.take(data, channel, axis)
        scales = minmax[channel] * shares
        q = np.clip(np.round(part.ravel() / scales[:, None]), -7, 7) * scales[:, None]
        best[channel] = scales[((q - part.ravel()) ** 2).sum(axis=1).argmin()]
    assert error(found) <= error(best) * 1.02

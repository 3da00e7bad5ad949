"""The shipped table of LC on MNIST is whole, and is what its script makes."""

import pytest

from tinykit.explore._lc_table import FORMAT, METHODS
from tinykit.explore._shipped import stored
from tinykit.explore.sweep import lc_mnist

TABLE = stored("lc_mnist")
ROWS = {(r["scheme"], r["method"], r["seed"]): r for r in TABLE["rows"]}


def test_every_run_is_there() -> None:
    assert TABLE["format"] == FORMAT
    assert TABLE["about"]["seeds"] == list(lc_mnist.SEEDS)
    assert len(lc_mnist.SEEDS) >= 3
    expected = {(s, m, seed) for s in lc_mnist.SCHEMES for m in METHODS for seed in lc_mnist.SEEDS}
    expected |= {("reference", "float32", seed) for seed in lc_mnist.SEEDS}
    assert set(ROWS) == expected


def test_it_was_made_with_the_settings_that_the_script_has_now() -> None:
    term = next(iter(lc_mnist.SCHEMES.values()))
    now = lc_mnist.settings(term)
    schedule = TABLE["about"]["schedule"]
    assert (schedule["mu"], schedule["growth"], schedule["steps"]) == (
        now.mu,
        now.growth,
        now.steps,
    )


@pytest.mark.parametrize("scheme", lc_mnist.SCHEMES)
def test_rows_agree_with_themselves(scheme: str) -> None:
    weights = 784 * 300 + 300 * 100 + 100 * 10
    for seed in lc_mnist.SEEDS:
        lc, direct = ROWS[scheme, "lc", seed], ROWS[scheme, "direct", seed]
        # the history starts at direct compression and ends at the row's own error
        assert lc["history"][0][2] == pytest.approx(direct["error"], abs=0.011)
        assert lc["history"][-1][2] == pytest.approx(lc["error"], abs=0.011)
        assert lc["history"][-1][1] == pytest.approx(lc["gap"], abs=1e-6)
        if scheme == "two levels a layer":  # a bit a weight, 410 biases, and next to nothing else
            assert weights / 8 * 0.5 < lc["bytes"] - 4 * 410 < weights / 8 + 400
        if scheme == "rank selection":
            numbers = sum(
                r * (m + n)
                for r, (m, n) in zip(lc["ranks"], ((300, 784), (100, 300)), strict=False)
            )
            assert lc["bytes"] >= 4 * numbers

"""The shipped table of range and precision is whole, and is what its script makes."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from tinykit import data
from tinykit.explore._shipped import stored as table
from tinykit.explore.sweep import range_precision as sweep
from tinykit.quant.ranges import Ranged

TABLE = table("range_precision")
ROWS: list[dict[str, Any]] = TABLE["rows"]


def key(row: dict[str, Any]) -> tuple[Any, ...]:
    share = row.get("share")
    return row["what"], row["bits"], row["method"], share, row["seed"]


def test_every_run_is_there_once() -> None:
    expected = [
        ("none", 32, method, None, seed)
        for method in ("float", "float, trained on")
        for seed in sweep.SEEDS
    ]
    for what, bits, seed in itertools.product(sweep.WHAT, sweep.BITS, sweep.SEEDS):
        expected += [(what, bits, "ptq", share, seed) for share in sweep.SHARES]
        expected += [(what, bits, name, None, seed) for name in sweep.OBSERVERS]
        for method in sweep.METHODS:
            there = sweep.NORM_BITS if method == "norm" else sweep.TRAINED_BITS
            shares = sweep.TRAINED_SHARES if bits in there else ()
            expected += [(what, bits, method, share, seed) for share in shares]
    assert sorted(map(key, ROWS), key=repr) == sorted(expected, key=repr)
    assert TABLE["format"] == sweep.FORMAT
    assert TABLE["about"]["seeds"] == list(sweep.SEEDS)
    assert len(sweep.SEEDS) >= 3


def test_it_was_made_with_the_settings_that_the_script_has_now() -> None:
    assert TABLE["about"]["training"] == sweep._about(data.load("digits"), sweep.SEEDS)["training"]
    assert {"python", "torch", "numpy"} <= set(TABLE["about"]["versions"])


def test_accuracies_are_multiples_of_one_image() -> None:
    images = TABLE["about"]["test_examples"]
    for row in ROWS:
        assert row["accuracy"] * images == pytest.approx(round(row["accuracy"] * images), abs=1e-3)


@pytest.mark.parametrize("what", sweep.WHAT)
def test_errors_behave_as_their_definition_says(what: str) -> None:
    for bits, seed in itertools.product(sweep.BITS, sweep.SEEDS):
        rows = [r for r in ROWS if key(r)[:3] == (what, bits, "ptq") and r["seed"] == seed]
        clipping = [r["clipping"] for r in sorted(rows, key=lambda r: r["share"])]
        assert clipping == sorted(clipping, reverse=True)
        assert clipping[-1] == pytest.approx(0, abs=1e-6)
        finest = next(r["clipping"] for r in ROWS if key(r) == (what, 8, "ptq", 0.1, seed))
        mine = next(r["clipping"] for r in rows if r["share"] == 0.1)
        assert mine == pytest.approx(finest, rel=0.02)  # the end is the same at all bits
        best = min(r["clipping"] + r["rounding"] for r in rows)
        (mse,) = [r for r in ROWS if key(r) == (what, bits, "mse", None, seed)]
        # it chooses for each tensor, from a histogram
        assert mse["clipping"] + mse["rounding"] <= 1.05 * best + 1e-4


def test_one_row_again() -> None:
    """Without training, from a network trained here: another processor rounds its way elsewhere."""
    digits = data.load("digits")
    bench = sweep.Bench(Ranged.of(sweep.network(digits, 0), digits, "weights"), 0)
    row = bench.untrained(4, 0.7)
    (known,) = [r for r in ROWS if key(r) == key(row)]
    assert row["accuracy"] == pytest.approx(known["accuracy"], abs=0.04)
    assert row["rounding"] == pytest.approx(known["rounding"], rel=0.3)

"""The shipped table of averaging is whole, and is what its script makes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tinykit import data
from tinykit.explore._shipped import stored
from tinykit.explore.sweep import averaging as sweep

TABLE = stored("averaging")


def test_every_run_is_there_once() -> None:
    found = [(r["skew"], r["steps"], r["seed"]) for r in TABLE["rows"]]
    expected = list(itertools.product(sweep.SKEWS, sweep.STEPS, sweep.SEEDS))
    assert sorted(found) == sorted(expected)
    for row in TABLE["rows"]:
        assert np.shape(row["shared"]) == np.shape(row["drift"]) == (sweep.ROUNDS,)
        assert np.shape(row["own"]) == (sweep.ROUNDS, sweep.DEVICES)


def test_it_was_made_with_the_settings_that_the_script_has_now() -> None:
    now = sweep._about(data.load("digits"), sweep.SEEDS)
    assert {k: v for k, v in TABLE["about"].items() if k != "versions"} == {
        k: v for k, v in now.items() if k != "versions"
    }
    assert TABLE["format"] == sweep.FORMAT


def test_accuracies_are_multiples_of_one_image() -> None:
    images = TABLE["about"]["test_examples"]
    for row in TABLE["rows"]:
        counts = images * np.array([row["shared"], *np.transpose(row["own"])])
        assert counts == pytest.approx(np.round(counts), abs=0.02)


def test_one_row_again() -> None:
    """Another processor rounds otherwise, and training goes its own way from there."""
    row = sweep.row(data.load("digits"), "1 class", 5, seed=0, rounds=3)
    (known,) = [
        r for r in TABLE["rows"] if (r["skew"], r["steps"], r["seed"]) == ("1 class", 5, 0)
    ]  # fmt: skip
    assert row["shared"] == pytest.approx(known["shared"][:3], abs=0.03)
    assert np.array(row["own"]) == pytest.approx(np.array(known["own"][:3]), abs=0.03)

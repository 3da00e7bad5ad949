"""The shipped table of mixed precision is whole, and is what its script makes."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import as_file, files
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinykit import data
from tinykit.explore._shipped import stored as table
from tinykit.explore.sweep import mixed_precision as sweep
from tinykit.nn.train import accuracy
from tinykit.nn.weights import load_weights
from tinykit.nn.zoo import ds_cnn
from tinykit.quant.mixed import joint_cost, model_bytes, sensitivity

TABLE = table("mixed_precision")
ROWS: list[dict[str, Any]] = TABLE["rows"]


@pytest.fixture(scope="module")
def digits() -> Any:
    return data.load("digits")


@pytest.fixture(scope="module")
def model(digits: Any) -> Any:
    """The first seed's network, as it ships."""
    made = ds_cnn(digits.spec, sweep.WIDTH)
    with as_file(files("tinykit.explore") / "tables" / "mixed_precision.npz") as path:
        return load_weights(made, path)


def costs_of(seed: int) -> Mapping[str, Mapping[int, float]]:
    (net,) = [n for n in TABLE["networks"] if n["seed"] == seed]
    return {n: {int(b): c for b, c in by.items()} for n, by in net["sensitivity"].items()}


def test_every_plan_is_there_and_is_what_the_script_plans_now(model: Any) -> None:
    assert TABLE["format"] == sweep.FORMAT
    assert [n["seed"] for n in TABLE["networks"]] == list(sweep.SEEDS)
    assert len(sweep.SEEDS) >= 3
    expected = [p for seed in sweep.SEEDS for p in sweep.plans(model, costs_of(seed), seed)]
    assert len(ROWS) == len(expected)
    for row, plan in zip(ROWS, expected, strict=True):
        assert {name: row[name] for name in plan} == plan
        assert ("qat" in row) == ((row.get("average"), row["method"]) in sweep.TRAINED)


def test_bytes_keep_within_budgets_and_sums_are_sums(model: Any) -> None:
    for row in ROWS:
        costs = costs_of(row["seed"])
        assert row["bytes"] <= row["budget"]
        assert row["bytes"] == model_bytes(model, row["bits"], row["storage"])
        assert row["sum"] == pytest.approx(
            sum(costs[n][b] for n, b in row["bits"].items()), abs=2e-6
        )


def test_the_solved_choice_has_the_least_sum_of_its_budget() -> None:
    for row in ROWS:
        if row["storage"] == "packed" and row["average"] > 2:
            (solved,) = [
                r
                for r in ROWS
                if (r["seed"], r.get("average"), r["method"])
                == (row["seed"], row["average"], "mixed")
            ]
            assert solved["sum"] <= row["sum"] + 2e-6


def test_the_shipped_network_is_that_of_the_table(model: Any, digits: Any) -> None:
    known = TABLE["networks"][0]
    assert accuracy(model, digits.test.x, digits.test.y) == pytest.approx(
        known["accuracy"], abs=1e-6
    )
    live = sensitivity(model, digits, (2, 4), examples=sweep.EXAMPLES)
    for name, by in live.items():
        assert by[2] == pytest.approx(costs_of(0)[name][2], abs=2e-3)
    (row,) = [r for r in ROWS if (r["seed"], r.get("average"), r["method"]) == (0, 3.0, "mixed")]
    again = joint_cost(model, digits, row["bits"], examples=sweep.EXAMPLES)
    assert again == pytest.approx(row["joint"], abs=2e-3)


def test_one_layer_alone_costs_its_sensitivity(model: Any, digits: Any) -> None:
    """`joint_cost` and `sensitivity` are two ways to the same number, up to the 8-bit rest."""
    bits = {name: 8 for name, _ in TABLE["weights"]}
    first = next(iter(bits))
    cost = joint_cost(model, digits, {**bits, first: 2}, examples=128)
    alone = sensitivity(model, digits, (2,), examples=128)[first][2]
    assert cost == pytest.approx(alone, rel=0.1, abs=0.01)


@given(st.integers(0, 1000), st.integers(0, 200))
def test_bits_by_chance_fill_the_budget(seed: int, extra: int) -> None:
    sizes = {name: {b: b * n for b in range(2, 9)} for name, n in (("a", 3), ("b", 7), ("c", 2))}
    budget = 2 * 12 + extra
    bits = sweep.by_chance(sizes, budget, np.random.default_rng(seed))
    spent = sum(sizes[n][b] for n, b in bits.items())
    assert spent <= budget
    assert all(b == 8 or spent + sizes[n][b + 1] - sizes[n][b] > budget for n, b in bits.items())

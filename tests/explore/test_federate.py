"""Federate: the table's numbers reach figures and words; a setting simulated here is drawn."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest

from tinykit import data
from tinykit.explore import _federate_table
from tinykit.explore._federate_table import ALGORITHMS, TITLES, Run, Where, parse, reached
from tinykit.explore._shipped import TableError
from tinykit.explore.federate import HERE, Federate, Federated
from tinykit.explore.sweep import federate as sweep
from tinykit.graph.errors import MissingToolError

SKEWS, PARTS, DROPS, SEEDS, ROUNDS = (0.0, 0.1), (0.2, 1.0), (0.0, 0.5), (0, 1), 6


def raw() -> dict[str, Any]:
    """A small table whose numbers can be told apart; 50 devices, 5 test examples a class."""
    rows: list[dict[str, Any]] = []
    for n, (name, skew, part, drop, seed) in enumerate(
        itertools.product(ALGORITHMS, SKEWS, PARTS, DROPS, SEEDS)
    ):
        rng = np.random.default_rng(n)
        right = np.sort(rng.integers(5, 51, ROUNDS)).tolist()
        classes = [right[-1] // 10 + (c < right[-1] % 10) for c in range(10)]
        rows.append(
            {"algorithm": name, "skew": skew, "participation": part, "dropout": drop, "seed": seed,
             "right": right, "classes": classes,
             "drift": [None if drop and r == 2 else round(rng.random(), 2) for r in range(ROUNDS)],
             "answered": rng.integers(2, 9, ROUNDS).tolist(),
             "refused": [0, 0, 0, int(name == "fedadam"), 0, 0]}
        )  # fmt: skip
    counts = np.random.default_rng(5).multinomial(20, np.full(10, 0.1), 50)
    settings = {name: {"lr": 0.3} for name in ALGORITHMS}
    settings["feddyn"]["alpha"] = 0.1
    about = {
        "data": "digits", "test_examples": 50, "test_by_class": [5] * 10, "network": "64-64-10",
        "parameters": 4810, "devices": 50, "samples": 20, "rounds": ROUNDS, "seeds": list(SEEDS),
        "local": {"steps": sweep.STEPS, "batch": sweep.BATCH},
        "models": {name: [2, 2] if name == "scaffold" else [1, 1] for name in ALGORITHMS},
        "knobs": {"skew": SKEWS, "participation": PARTS, "dropout": DROPS},
        "settings": settings,
        "tuned_on": {"skew": 0.1, "participation": 0.2, "dropout": 0.0},
    }  # fmt: skip
    return {
        "format": 1, "about": about, "rows": rows,
        "holdings": {f"{skew:g}/{seed}": counts.tolist() for skew in SKEWS for seed in SEEDS},
    }  # fmt: skip


@pytest.fixture(scope="module")
def explorer() -> Federate:
    return Federate(parse(raw()))


def all_settings(explorer: Federate) -> list[dict[str, Any]]:
    choices = [c for c in explorer.controls if c.name != "here"]
    values = itertools.product(*(c.values for c in choices))  # type: ignore[union-attr]
    return [dict(zip((c.name for c in choices), v, strict=True)) for v in values]


def rows_of(result: Federated, name: str) -> list[dict[str, Any]]:
    seeds = [run.seed for run in result.runs[result.algorithms.index(name)]]
    return [
        row for row in raw()["rows"]
        if row["algorithm"] == name and row["seed"] in seeds
        and Where(row["skew"], row["participation"], row["dropout"]) == result.where
    ]  # fmt: skip


def test_every_setting_is_looked_up_drawn_and_told(explorer: Federate) -> None:
    settings = all_settings(explorer)
    for chosen in settings[:: len(settings) // 60]:
        assert explorer.instant(explorer.settings(chosen))
        result = explorer.compute(chosen)
        assert explorer.compute(chosen) == result
        for figure in explorer.figures(result).values():
            go.Figure(figure.to_plotly_json())
        words = explorer.text(result)
        assert "nan" not in words
        accuracy = explorer.figures(result)["accuracy"]
        lines = {t.name: t for t in accuracy.data if t.name}
        assert set(lines) == {TITLES[a] for a in result.algorithms}
        for name in result.algorithms:
            rows = rows_of(result, name)
            assert len(rows) == (2 if chosen["seed"] == "mean" else 1)
            mean = np.mean([row["right"] for row in rows], axis=0) / 50
            assert lines[TITLES[name]].y == pytest.approx(100 * mean)
            line = next(w for w in words.splitlines() if w.startswith(f"{TITLES[name]}: "))
            assert f"{mean[-1]:.1%} after {ROUNDS} rounds" in line
            at = [next((n for n, r in enumerate(row["right"], 1) if r >= 45), None) for row in rows]
            if None not in at:
                assert f"90% after {sum(at) / len(at):.0f} rounds" in line  # type: ignore[arg-type]
            elif any(at):
                assert f"{len(at) - at.count(None)} of {len(at)} seeds reaches 90%" in line
            else:
                assert "90% is not reached" in line


def test_models_and_bytes_are_counted_until_the_goal(explorer: Federate) -> None:
    chosen = {"algorithm": "scaffold", "other": "none", "seed": 1}
    result = explorer.compute(chosen)
    (row,) = rows_of(result, "scaffold")
    end = next((n for n, r in enumerate(row["right"], 1) if r >= 45), ROUNDS)
    down, up = 2 * 10 * end, 2 * sum(row["answered"][:end])
    text = explorer.text(result)
    assert f"{down:,} models down and {up:,} up, {4 * 4810 * (down + up) / 1e6:.1f} MB" in text
    assert "2 a device down and 2 up" in text


def test_a_device_s_accuracy_is_that_of_its_own_mix(explorer: Federate) -> None:
    result = explorer.compute({"other": "none", "seed": 0})
    (row,) = rows_of(result, "feddyn")
    counts = raw()["holdings"]["0.1/0"]
    device = sum(n * right / 5 for n, right in zip(counts[7], row["classes"], strict=True)) / 20
    assert result.devices(result.runs[0])[0, 7] == pytest.approx(device)
    drawn = explorer.figures(result)["devices"].data[0].y
    assert list(drawn) == sorted(drawn)
    assert any(math.isclose(y, 100 * device) for y in drawn)


def test_a_knob_eased_is_the_run_of_the_table(explorer: Federate) -> None:
    result = explorer.compute({"algorithm": "fedavg", "other": "none", "dropout": 0.5})
    now = np.mean([row["right"][-1] for row in rows_of(result, "fedavg")]) / 50
    eased = explorer.compute({"algorithm": "fedavg", "other": "none", "dropout": 0.0})
    then = np.mean([row["right"][-1] for row in rows_of(eased, "fedavg")]) / 50
    wanted = f"nobody dropping out {then:.1%} ({100 * (then - now):+.1f} points)"
    assert wanted in explorer.text(result)
    best = {"algorithm": "fedavg", "other": "none", "skew": 0.0, "participation": 1.0}
    assert "easiest setting" in explorer.text(explorer.compute(best))


def test_an_algorithm_compared_with_itself_is_shown_once(explorer: Federate) -> None:
    assert explorer.compute({"other": "feddyn"}).algorithms == ("feddyn",)


def test_refused_replies_are_told_and_count_as_sent(explorer: Federate) -> None:
    chosen = {"algorithm": "fedadam", "other": "scaffold", "seed": 1}
    result = explorer.compute(chosen)
    (row,) = rows_of(result, "fedadam")
    text = explorer.text(result)
    share = 1 / (sum(row["answered"]) + 1)
    assert f"guard refused {share:.1%} of the replies to FedAdam: updates" in text
    end = next((n for n, r in enumerate(row["right"], 1) if r >= 45), ROUNDS)
    came = sum(row["answered"][:end]) + sum(row["refused"][:end])
    assert f"{10 * end} models down and {came} up" in text
    assert "guard" not in explorer.text(explorer.compute({"other": "none"}))


def test_a_round_with_one_reply_or_none_has_no_drift() -> None:
    table = raw()
    for row in table["rows"]:
        row["answered"][3] = 1
    explorer = Federate(parse(table))
    drawn = explorer.figures(explorer.compute({"dropout": 0.5, "other": "none"}))["drift"].data
    # nobody answered in the third round, one device in the fourth
    assert list(drawn[-1].x) == [1, 2, 5, 6]


def test_a_table_with_gaps_or_of_another_format_is_refused() -> None:
    with pytest.raises(TableError, match="format 2"):
        parse({**raw(), "format": 2})
    gap = raw()
    del gap["rows"][3]
    with pytest.raises(TableError, match="fedavg"):
        parse(gap)


def test_reached_is_the_first_round_at_the_goal() -> None:
    def run(right: list[int]) -> Run:
        return Run(
            0, np.array(right), np.zeros(10), np.zeros(len(right)), *np.ones((2, len(right)))
        )

    assert reached(run([10, 45, 30, 50]), 50, 0.9) == 2
    assert reached(run([10, 44]), 50, 0.9) is None


# -- simulated here --------------------------------------------------------------------------------


def test_a_setting_run_here_is_drawn_meanwhile_and_known_after(explorer: Federate) -> None:
    chosen = {"here": HERE[0], "algorithm": "feddyn"}
    assert not explorer.instant(explorer.settings(chosen))
    seen: list[Federated] = []

    def tick(share: float | None, what: str, partial: Any = None, /) -> None:
        if partial is not None:
            assert share == pytest.approx(len(seen) / (2 * ROUNDS) + 1 / (2 * ROUNDS))
            seen.append(partial)

    result = explorer.compute(chosen, tick)
    assert [len(p.runs[-1][0]) for p in seen] == [*range(1, ROUNDS + 1)] * 2
    assert seen[0].algorithms == ("feddyn",)
    assert seen[-1].algorithms == result.algorithms == ("feddyn", "fedavg")
    for partial in (seen[0], seen[7]):
        for figure in explorer.figures(partial).values():
            go.Figure(figure.to_plotly_json())
    assert "run here" in explorer.figures(result)["accuracy"].layout.title.subtitle.text
    assert f"Simulated here just now, seed {HERE[0]}" in explorer.text(result)
    assert explorer.instant(explorer.settings(chosen))
    assert explorer.compute(chosen).runs == result.runs
    # of another pair only what is new is run
    seen.clear()
    explorer.compute({"here": HERE[0], "algorithm": "feddyn", "other": "none"}, tick)
    assert not seen


def test_the_same_in_python_is_the_same(explorer: Federate) -> None:
    chosen = {"here": HERE[1], "algorithm": "feddyn", "other": "none", "dropout": 0.5}
    result = explorer.compute(chosen)
    (run,) = result.runs[0]
    names: dict[str, Any] = {}
    exec(explorer.panels(result)["The same in Python"], names)
    history = names["history"]
    assert [r.answered for r in history] == run.answered.tolist()
    tests = len(data.load("digits").test)
    assert [round(a * tests) for _, a in history.evaluated()] == run.right.tolist()


def test_without_torch_the_table_works_and_running_here_says_what_to_do(
    explorer: Federate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tinykit.explore.federate.importlib.util.find_spec", lambda name: None)
    assert explorer.text(explorer.compute({}))
    with pytest.raises(MissingToolError, match="pip install torch"):
        explorer.compute({"here": HERE[2]})
    assert "torch" not in Federate.needs


# -- the shipped table -----------------------------------------------------------------------------


def test_the_shipped_table_says_what_the_sweep_would_make() -> None:
    table = _federate_table.load()
    about = table.about
    assert about["rounds"] == sweep.ROUNDS
    assert tuple(about["knobs"]["skew"]) == sweep.SKEWS
    digits = data.load("digits")
    assert table.by_class.tolist() == np.bincount(digits.test.y).tolist()
    for skew, seed in ((0.1, 0), (0.0, table.seeds[-1])):
        made = sweep.holds(sweep.federation(digits, skew, seed))
        assert table.holdings[skew, seed].tolist() == made.tolist()
    for name, settings in about["settings"].items():
        lr, own = settings["lr"], {k: v for k, v in settings.items() if k != "lr"}
        assert (lr, own) in sweep.CANDIDATES[name], "chosen from what was tried"
        assert table.models(name) == ((2, 2) if name == "scaffold" else (1, 1))
    for (_, where), runs in table.runs.items():
        asked = table.asked(where)
        for run in runs:
            assert run.classes.sum() == run.right[-1]
            sent = run.answered + run.refused
            assert (sent <= asked).all()
            if not where.dropout:
                assert (sent == asked).all()
            assert (run.classes <= table.by_class).all()


@pytest.mark.parametrize("name", ["fedavg", "scaffold"])
def test_rows_of_the_shipped_table_come_out_again(name: str) -> None:
    table = _federate_table.load()
    where = Where(0.1, 0.2, 0.5)
    (row,) = table.of(name, where, 0)
    own = dict(table.about["settings"][name])
    run = sweep.watched(data.load("digits"), name, where, 0, own.pop("lr"), own, rounds=4)
    assert run.answered.tolist() == row.answered[:4].tolist()
    assert run.refused.tolist() == row.refused[:4].tolist()
    # another machine may round otherwise
    assert np.abs(run.right - row.right[:4]).max() <= 4


def test_a_sweep_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "ROUNDS", 1)
    monkeypatch.setattr(sweep.watched, "__defaults__", (1, lambda run: None))
    monkeypatch.setattr(sweep, "SKEWS", (0.1,))
    monkeypatch.setattr(sweep, "PARTICIPATIONS", (0.2,))
    monkeypatch.setattr(sweep, "DROPOUTS", (0.0,))
    monkeypatch.setattr(
        sweep, "CANDIDATES", {name: found[:1] for name, found in sweep.CANDIDATES.items()}
    )
    table = sweep.run(tmp_path, (0,))
    parse(json.loads(json.dumps(table)))
    monkeypatch.setattr(sweep, "one", lambda *_: pytest.fail("it is done already"))
    monkeypatch.setattr(sweep, "_score", lambda *_: pytest.fail("it is done already"))
    assert sweep.run(tmp_path, (0,)) == table


def test_drift_is_never_cut_off_by_the_axis() -> None:
    """Of one device that moves among many that do not it is nearly 2."""
    explorer = Federate()
    for algorithm in ("fedavg", "fedadam"):
        result = explorer.compute(
            {"algorithm": algorithm, "other": "none", "participation": 1.0, "skew": 0.3}
        )
        top = explorer.figures(result)["drift"].layout.yaxis.range[1]
        assert top >= max(1.25, np.nanmax([run.drift for run in result.runs[0]]))

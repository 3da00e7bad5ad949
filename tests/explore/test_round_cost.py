"""What a round costs: the fleet's numbers reach figures and words; the table fits the work done."""

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
from tinykit.explore import _round_table
from tinykit.explore._round_fleets import BATCH, COHORTS, CUTOFFS, EPOCHS, MIXES, STEPS
from tinykit.explore._round_table import ALIKE, parse
from tinykit.explore._round_words import joules, seconds
from tinykit.explore._shipped import TableError
from tinykit.explore.round_cost import Costed, RoundCosts
from tinykit.explore.sweep import round_cost as sweep
from tinykit.federated.system import Fleet, Work, load


def raw() -> dict[str, Any]:
    """Accuracies that can be told apart, of a small and a large network."""
    rows = [
        {"mix": m, "cutoff": c, "cohort": k, "epochs": e, "seed": s, "accuracy": 0.5 + 1e-3 * n}
        for n, (m, c, k, e, s) in enumerate(sweep.grid((0, 1)))
    ]
    networks = {
        "mlp": {"title": "MLP", "macs": 4736, "parameters": 4810, "activation_bytes": 552},
        "resnet8": {
            "title": "ResNet-8", "macs": 3_000_000, "parameters": 78_000,
            "activation_bytes": 115_000,
        },
    }  # fmt: skip
    about = {
        "network": "64-64-10", "rounds": 30, "skew": 0.3, "samples": 20, "devices": 50,
        "test_examples": 360,
    }  # fmt: skip
    return {"format": 1, "about": about, "networks": networks, "rows": rows}


@pytest.fixture(scope="module")
def explorer() -> RoundCosts:
    return RoundCosts(parse(raw()))


def by_hand(result: Costed) -> tuple[float, float]:
    """Seconds and joules of the round, device by device from the catalogue."""
    net, mix = result.network, result.mix
    bits = 8 * 4 * net.parameters
    quickest = max(load(n).training_macs_per_s.value for n in mix.shares)
    spent = []
    for name, share in mix.shares.items():
        device = load(name)
        (link,) = (
            x for k, x in zip(result.fleet.classes, result.fleet.links, strict=True) if k == device
        )
        asked = result.epochs * STEPS
        step = 3 * net.macs * BATCH / device.training_macs_per_s.value
        done = asked
        if result.cutoff:
            limit = result.cutoff * asked * 3 * net.macs * BATCH / quickest
            done = min(asked, math.floor(limit / step + 1e-4))
        phases = [
            (device.overhead_s.value, device.idle_w.value),
            (bits / 1e6 / link.down_mbps.value, device.idle_w.value + link.receive_w.value),
            (done * step, device.compute_w.value),
            ((bits if done else 0) / 1e6 / link.up_mbps.value,
             device.idle_w.value + link.send_w.value),
        ]  # fmt: skip
        spent += [(phases, device.idle_w.value)] * round(share * result.cohort)
    ready = [sum(s for s, _ in phases) for phases, _ in spent]
    energy = sum(
        sum(s * w for s, w in phases) + (max(ready) - at) * idle
        for (phases, idle), at in zip(spent, ready, strict=True)
    )
    return max(ready), energy


def all_settings(explorer: RoundCosts) -> list[dict[str, Any]]:
    values = itertools.product(*(c.values for c in explorer.controls))  # type: ignore[union-attr]
    return [dict(zip((c.name for c in explorer.controls), v, strict=True)) for v in values]


def test_costs_are_those_of_the_catalogue_added_up(explorer: RoundCosts) -> None:
    for chosen in all_settings(explorer)[::37]:
        result = explorer.compute(chosen)
        took, energy = by_hand(result)
        assert result.cost.round_seconds == pytest.approx(took)
        assert result.cost.total_joules == pytest.approx(energy)


def test_every_setting_is_drawn_and_told(explorer: RoundCosts) -> None:
    for chosen in all_settings(explorer)[::71]:
        assert explorer.instant(chosen)
        result = explorer.compute(chosen)
        assert explorer.compute(chosen) == result
        figures = explorer.figures(result)
        for figure in figures.values():
            go.Figure(figure.to_plotly_json())
        words = explorer.text(result)
        assert f"The round takes {seconds(result.cost.round_seconds)} (modelled)" in words
        assert f"All devices take {joules(result.cost.total_joules)}" in words
        ring = next(t for t in figures["time"].data if t.name == "chosen")
        assert ring.x[0] == pytest.approx(result.cost.round_seconds)
        ring = next(t for t in figures["joules"].data if t.name == "chosen")
        assert ring.x[0] == pytest.approx(result.cost.total_joules)
        accuracy = np.mean(result.accuracies[result.epochs, result.cutoff])
        assert ring.y[0] == pytest.approx(100 * accuracy)
        assert f"What that buys: {accuracy:.1%}" in words


def test_the_straggler_and_what_waiting_takes_are_told(explorer: RoundCosts) -> None:
    words = explorer.text(explorer.compute({"fleet": "phones", "network": "resnet8"}))
    assert "slowest device (Google Nexus 6 (2014)), which spends most of it on compute" in words
    result = explorer.compute({"fleet": "phones", "network": "resnet8"})
    wait = result.cost.seconds["wait"].mean()
    assert f"on average a device waits {seconds(wait)}" in words
    assert "nobody waits" in explorer.text(explorer.compute({"fleet": "pis"}))


def test_a_cut_off_is_told_and_hidden_where_all_are_alike(explorer: RoundCosts) -> None:
    chosen = {"fleet": "phones-jetsons", "cutoff": 1, "epochs": 1, "network": "resnet8"}
    result = explorer.compute(chosen)
    words = explorer.text(result)
    assert result.cost.done.max() == STEPS, "the quickest class is not cut"
    empty = int((result.cost.done == 0).sum())
    assert empty
    assert f"{empty} of 10 get no step done" in words
    assert explorer.labels(explorer.settings(chosen)) == {}
    alike = {"fleet": "tx2-gpu", "cutoff": 1}
    assert explorer.labels(explorer.settings(alike)) == {"cutoff": None}
    assert explorer.compute(alike) == explorer.compute({**alike, "cutoff": 0})
    assert "The cut-off" not in explorer.text(explorer.compute(alike))


def test_a_cut_off_that_cuts_nobody_changes_nothing(explorer: RoundCosts) -> None:
    chosen = {"fleet": "tx2-both", "cutoff": 2, "network": "resnet8"}
    result = explorer.compute(chosen)
    assert "it changes nothing" in explorer.text(result)
    assert result.cost.round_seconds == result.costs[result.epochs, 0].round_seconds
    assert result.accuracies[5, 2] == result.accuracies[5, 0] != result.accuracies[5, 1]


def test_what_does_not_fit_and_which_link_is_missing_are_told(explorer: RoundCosts) -> None:
    words = explorer.text(explorer.compute({"fleet": "pis-esp32", "network": "resnet8"}))
    assert "Does not fit: training takes at least 722 KiB" in words
    assert "ESP32 at 240 MHz, one core (520 KiB)" in words
    small = explorer.text(explorer.compute({"fleet": "pis-esp32", "network": "mlp"}))
    assert "not fit" not in small
    link = explorer.text(explorer.compute({"fleet": "phones-jetsons", "link": "lte"}))
    assert "No LTE: NVIDIA Jetson TX2, training on its GPU; they stay" in link
    assert "No Wi-Fi" not in explorer.text(
        explorer.compute({"fleet": "phones-jetsons", "link": "wifi"})
    )
    lte = explorer.compute({"fleet": "phones", "link": "lte"})
    wifi = explorer.compute({"fleet": "phones", "link": "wifi"})
    assert (lte.cost.seconds["upload"] > wifi.cost.seconds["upload"]).all()


def test_how_far_the_model_was_off_is_told(explorer: RoundCosts) -> None:
    words = explorer.text(explorer.compute({}))
    # 36.8 minutes were published, 45.5 modelled
    assert "time of the third is +24% off" in words
    assert "6 to 8 times what the study counted" in words
    assert "Nobody measured how fast Samsung Galaxy S9" in words


@pytest.mark.parametrize("name", [n for n, mix in MIXES.items() if not mix.alike])
def test_the_table_s_devices_do_the_steps_of_the_explorer_s(name: str) -> None:
    """A class does as much of its work in the simulation as here, whatever the network."""
    mix = MIXES[name]
    for epochs, cutoff, macs in itertools.product(EPOCHS, CUTOFFS[1:], (4736, 387_240, 7_491_712)):
        here, there = Work.from_macs(macs), Work.from_macs(4736)
        kinds = list(mix.shares)
        devices = range(len(kinds))
        few = sweep.SAMPLES // STEPS
        done = Fleet(kinds, here).steps_within(
            devices, epochs * STEPS, BATCH, mix.cutoff_s(here, epochs, cutoff)
        )
        simulated = Fleet(kinds, there).steps_within(
            devices, epochs * STEPS, few, mix.cutoff_s(there, epochs, cutoff, few)
        )
        assert done.tolist() == simulated.tolist()
        assert done[kinds.index(mix.quickest)] == epochs * STEPS


def test_mixes_are_whole_devices_in_every_cohort() -> None:
    for mix in MIXES.values():
        assert sum(mix.shares.values()) == pytest.approx(1)
        for cohort in COHORTS:
            assert all(math.isclose(s * cohort, round(s * cohort)) for s in mix.shares.values()), (
                "or the class that is waited for may be missing"
            )


def test_a_table_with_gaps_is_refused() -> None:
    gap = raw()
    gap["rows"] = [r for r in gap["rows"] if (r["mix"], r["epochs"]) != (ALIKE, 5)]
    with pytest.raises(TableError, match="alike"):
        parse(gap)


def test_the_shipped_table_holds_what_is_counted_and_simulated() -> None:
    table = _round_table.load()
    for name, counted in sweep.networks(("mlp", "ds_cnn")).items():
        net = table.networks[name]
        assert {**counted} == {
            "title": net.title, "macs": net.macs, "parameters": net.parameters,
            "activation_bytes": net.activation_bytes,
        }  # fmt: skip
    assert table.networks["mlp"].macs == 64 * 64 + 64 * 10
    # MLPerf Tiny's visual wake words: 7.49 M (Banbury et al. 2021)
    assert table.networks["mobilenet_v1"].macs == pytest.approx(7.49e6, rel=1e-3)
    key = ("phones", 1, 5, 1)
    row = sweep.one(data.load("digits"), *key, 0)
    (shipped,) = [a for n, a in enumerate(table.accuracies[key]) if table.about["seeds"][n] == 0]
    assert row["accuracy"] == pytest.approx(shipped, abs=0.02)


def test_a_sweep_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        sweep, "grid", lambda seeds: [(ALIKE, 0, 5, 1, 0), ("pis-esp32", 1, 5, 1, 0)]
    )
    monkeypatch.setattr(sweep, "ROUNDS", 2)
    table = sweep.run(tmp_path, (0,))
    assert json.loads(json.dumps(table)) == table
    monkeypatch.setattr(sweep, "one", lambda *_: pytest.fail("it is done already"))
    assert sweep.run(tmp_path, (0,)) == table


def test_a_price_that_hardly_differs_is_drawn_from_zero() -> None:
    """On a logarithmic axis this short not one tick would be left."""
    explorer = RoundCosts()
    alike = explorer.figures(explorer.compute({"fleet": "tx2-gpu"}))["time"]
    most = max(alike.data[0].x)
    assert alike.layout.xaxis.type is None
    assert alike.layout.xaxis.range[0] == 0 < most < alike.layout.xaxis.range[1]
    assert "log" not in alike.layout.xaxis.title.text
    unlike = explorer.figures(explorer.compute({"fleet": "phones"}))["time"]
    assert unlike.layout.xaxis.type == "log"


def test_a_cut_off_that_saves_no_time_says_so() -> None:
    explorer = RoundCosts()
    where = {"fleet": "phones-jetsons", "network": "mlp", "cutoff": 4, "epochs": 10, "cohort": 25}
    assert "hardly shortens the round, and leaves 47% of the work" in explorer.text(
        explorer.compute(where)
    )

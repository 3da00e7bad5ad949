"""A simulation drawn while it runs: beside the notebook, stoppable, failing in words."""

from __future__ import annotations

import time

import pytest

from tinykit import explore
from tinykit.data import load
from tinykit.data.partitions import IID, partition
from tinykit.explore import _live
from tinykit.explore.sweep.federate import network
from tinykit.federated import ClientError, FedAvg, Local, Simulation


def simulation(strategy: FedAvg | None = None, **settings: object) -> Simulation:
    digits = load("digits")
    devices = partition(digits, IID(), devices=6, samples=20, test=0.2, seed=0)
    return Simulation(
        network(0), devices, strategy, local=Local(steps=2, batch=8, lr=0.1), cohort=3,
        test=digits.test, **settings,
    )  # fmt: skip


def test_a_watched_run_ends_with_the_bits_of_one_that_nobody_watched() -> None:
    alone = simulation(evaluate_devices=2)
    alone.run(4)
    seen = explore.watch(simulation(evaluate_devices=2), 4)
    history = seen.join(60)
    assert len(history) == 4
    assert seen.simulation.fingerprint() == alone.fingerprint()
    assert seen.button.layout.display == "none"
    assert seen.figures.status == {}
    lines = seen.figures.figures["accuracy"]["data"]
    shared = next(t for t in lines if t.get("name") == "shared model")
    assert shared["y"] == pytest.approx([100 * a for _, a in history.evaluated()])
    own = next(t for t in lines if t.get("name") == "devices, mean and range")
    assert own["y"] == pytest.approx([100 * a for _, a in history.personal()])
    assert f"{history[-1].accuracy:.1%}" in seen.figures.readout
    assert "12 of 12 replies" in seen.figures.readout


def test_it_is_drawn_while_it_runs_but_not_too_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_live, "EVERY", 0.0)
    seen = explore.watch(simulation(), 5)
    seen.join(60)
    # before the first round, after each, at the end
    assert seen.drawn == 7
    monkeypatch.setattr(_live, "EVERY", 3600.0)
    seen = explore.watch(simulation(), 5)
    seen.join(60)
    assert seen.drawn == 2


def test_the_button_stops_it_and_watching_again_goes_on() -> None:
    made = simulation()
    seen = explore.watch(made, 100_000)
    until = time.monotonic() + 60
    while not made.done and time.monotonic() < until:
        time.sleep(0.01)
    seen.button.click()
    assert len(seen.join(60)) == made.done < 100_000
    assert not seen.running
    assert "rounds done" in seen.figures.readout
    done = made.done
    assert len(explore.watch(made, done + 2).join(60)) == done + 2


class Failing(FedAvg):
    def client(self, device: object) -> object:  # type: ignore[override]
        raise ValueError("no battery")


def test_what_goes_wrong_is_told_and_raised_by_join() -> None:
    seen = explore.watch(simulation(Failing(), engine="sequential"), 3)
    with pytest.raises(ClientError, match="no battery"):
        seen.join(60)
    assert "no battery" in seen.figures.status["error"]


def test_a_simulation_without_test_examples_shows_loss_and_drift() -> None:
    made = simulation()
    made.test = None
    seen = explore.watch(made, 2)
    seen.join(60)
    assert set(seen.figures.figures) == {"loss", "drift"}

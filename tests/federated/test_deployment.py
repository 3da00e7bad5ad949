"""A simulation on a fleet: partial work, deadlines, what a round costs, and what resuming needs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest

from tests.federated.world import federation, mlp
from tinykit.federated import Deployment, FederatedError, Fleet, Local, Simulation, Work
from tinykit.federated.system import Catalogue, catalogue

SIZES = (5, 11, 25, 40)
#: examples a second of every device
RATE = 10.0


def fleet(book: Catalogue | None = None) -> Fleet:
    work = Work.from_rates({"pixel-4": RATE}, "a test")
    return Fleet(["pixel-4"] * len(SIZES), work, catalog=book)


def make(deployment: Deployment | None = None, **given: object) -> Simulation:
    settings = {"local": Local(epochs=2, batch=10), "engine": "sequential", **given}
    return Simulation(mlp(), federation(SIZES), deployment=deployment, **settings)


def test_time_is_that_of_the_mean_minibatch() -> None:
    cost = Deployment(fleet()).cost(range(4), federation(SIZES), Local(epochs=2, batch=10), 0, 0)
    # minibatches of 5; 10 and 1; 10, 10 and 5; 10: what counts is ⌈mean⌉ examples a step
    assert cost.done.tolist() == [2, 4, 6, 8]
    np.testing.assert_allclose(cost.seconds["compute"], np.array([10, 24, 54, 80]) / RATE)


def test_partial_work_is_kept() -> None:
    free, cut = make(), make(Deployment(fleet(), cutoff_s=2.0, always_on=True))
    free.run(1, progress=False)
    cut.run(1, progress=False)
    assert cut.history[0].answered == 4
    # 20 examples: 2 steps of 10 for the last device, as with as few steps asked of it
    same = make(local=Local(steps=2, batch=10))
    same.run(1, progress=False)
    whole = Deployment(fleet(), cutoff_s=2.0).cost(
        range(4), federation(SIZES), Local(epochs=2, batch=10), 0, 0
    )
    assert whole.done.tolist() == [2, 3, 2, 2]
    assert cut.fingerprint() not in (free.fingerprint(), same.fingerprint())


def test_those_that_are_too_late_or_do_nothing_are_named() -> None:
    ask = (range(4), federation(SIZES), Local(epochs=2, batch=10), make().bytes_down)
    finish = Deployment(fleet()).cost(*ask, make().bytes_up).finish_s
    limit = float(finish[1:3].mean())
    late = make(Deployment(fleet(), deadline_s=limit, always_on=True))
    late.run(1, progress=False)
    assert late.history[0].failed == dict.fromkeys((2, 3), "it missed the deadline")
    assert late.history[0].seconds == pytest.approx(limit)
    assert late.history[0].answered == 2
    never = make(Deployment(fleet(), cutoff_s=0.1, always_on=True))
    before = never.fingerprint()
    never.run(1, progress=False)
    assert set(never.history[0].failed.values()) == {"it got no step done before the cut-off"}
    assert never.fingerprint() == before


def test_resuming_on_another_fleet_is_refused(tmp_path: Path) -> None:
    """Also where only a number of the catalogue differs, which decides who is on line."""
    path, book = tmp_path / "run.ckpt", catalogue()
    make(Deployment(fleet())).run(1, checkpoint=path, progress=False)
    make(Deployment(fleet())).run(2, checkpoint=path, progress=False)
    phone = book.devices["pixel-4"]
    rarely = replace(phone, available=replace(phone.available, value=0.01))
    other = Catalogue(book.links, MappingProxyType({**book.devices, "pixel-4": rarely}))
    for deployment in (Deployment(fleet(other)), Deployment(fleet(), deadline_s=99.0)):
        with pytest.raises(FederatedError, match="other deployment"):
            make(deployment).run(3, checkpoint=path, progress=False)


def test_deployments_that_cannot_be() -> None:
    with pytest.raises(FederatedError, match="needs a Fleet, got 3"):
        Deployment(3)  # type: ignore[arg-type]
    for name in ("cutoff_s", "deadline_s"):
        for value in (-1.0, "2", float("nan")):
            with pytest.raises(FederatedError, match=name):
                Deployment(fleet(), **{name: value})  # type: ignore[arg-type]
    with pytest.raises(FederatedError, match=r"the fleet has 4 devices, .* 2"):
        Simulation(mlp(), federation((5, 5)), deployment=Deployment(fleet()))

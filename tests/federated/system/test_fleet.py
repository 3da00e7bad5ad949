"""What a round costs: against a loop over devices, and what must hold for any fleet."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from tests.federated.system.fleets import CLASSES, Round, one_by_one, rounds
from tinykit.federated.system import PHASES, Fleet, FleetError, UnknownDeviceError, Work, load

WORK = Work.from_macs(1e6)


@given(rounds())
@settings(max_examples=150, deadline=None)
def test_the_arrays_equal_a_loop_over_devices(asked: Round) -> None:
    cost = asked.cost()
    seconds, joules, done = one_by_one(asked)
    for phase in PHASES:
        # a phase that a deadline cut is a difference of sums
        assert_allclose(cost.seconds[phase], [s[phase] for s in seconds], rtol=1e-9, atol=1e-9)
        assert_allclose(cost.joules[phase], [j[phase] for j in joules], rtol=1e-9, atol=1e-8)
    # a quotient on the edge of a whole number may fall either way in the loop
    assert np.all(np.abs(cost.done - np.array(done, np.int64)) <= 1)
    assert cost.total_joules == pytest.approx(sum(sum(j.values()) for j in joules))


@given(rounds(), st.floats(0, 50))
@settings(max_examples=150, deadline=None)
def test_partial_work_never_exceeds_the_cutoff(asked: Round, cutoff: float) -> None:
    step = asked.fleet.step_seconds(asked.devices, asked.batch)
    done = asked.fleet.steps_within(asked.devices, asked.steps, asked.batch, cutoff)
    assert done.dtype == np.int64
    assert np.all(done * step <= cutoff)
    assert np.all((done == asked.steps) | ((done + 1) * step > cutoff * (1 - 1e-12)))
    cost = asked.cost(cutoff_s=cutoff, deadline_s=None)
    assert np.all(cost.seconds["compute"] <= cutoff)
    assert np.all(cost.seconds["upload"][done == 0] == 0), "nothing new is not sent"
    assert_array_equal(cost.returned, done > 0)


@given(rounds(), st.integers(1, 50), st.floats(1.1, 10))
@settings(max_examples=100, deadline=None)
def test_more_work_or_less_bandwidth_is_never_quicker(
    asked: Round, more: int, times: float
) -> None:
    first = asked.cost(deadline_s=None)
    # differences of sums round in their last place
    least = first.round_seconds * (1 - 1e-12)
    assert asked.cost(deadline_s=None, steps=asked.steps + more).round_seconds >= least
    slower = asked.cost(
        deadline_s=None, bytes_down=times * asked.bytes_down, bytes_up=times * asked.bytes_up
    )
    assert slower.round_seconds >= least
    assert slower.total_joules >= first.total_joules * (1 - 1e-12)


@given(rounds())
@settings(max_examples=100, deadline=None)
def test_the_round_is_its_slowest_device_and_the_others_wait(asked: Round) -> None:
    cost = asked.cost()
    assert cost.round_seconds == pytest.approx(cost.finish_s.max(initial=0.0))
    assert np.all(cost.seconds["wait"] >= 0)
    if asked.deadline_s is not None:
        assert cost.round_seconds <= asked.deadline_s * (1 + 1e-12)
        assert not np.any(cost.returned & cost.dropped)
    idle = [load(kind).idle_w.value for kind in cost.kinds]
    assert_allclose(cost.joules["wait"], cost.seconds["wait"] * idle)


def test_waiting_costs_energy() -> None:
    alone = Fleet(["pixel-4"], WORK).cost([0], 10, 32, 1e5, 1e5)
    beside = Fleet(["pixel-4", "stm32f446"], WORK).cost([0, 1], 10, 32, 1e5, 1e5)
    assert beside.joules["wait"][0] > 0 == alone.joules["wait"][0]
    assert beside.device_joules[0] - alone.device_joules[0] == pytest.approx(
        (beside.round_seconds - alone.round_seconds) * load("pixel-4").idle_w.value
    )
    assert beside.stragglers().tolist() == [1]


def test_a_round_by_hand() -> None:
    fleet = Fleet(["nexus-6"], Work.from_rates({"nexus-6": 10.0}, "made up"), links={
        "nexus-6": "lte"
    })  # fmt: skip
    cost = fleet.cost([0], steps=4, batch=5, bytes_down=13e6 / 8, bytes_up=6e6 / 8)
    assert {p: cost.seconds[p][0] for p in PHASES} == pytest.approx(
        {"overhead": 2.0, "download": 1.0, "compute": 2.0, "upload": 1.0, "wait": 0.0}
    )
    assert cost.total_joules == pytest.approx(
        2 * 0.2 + 1 * (0.2 + 1.96) + 2 * 3.85 + 1 * (0.2 + 3.92)
    )
    cut = fleet.cost([0], 4, 5, 13e6 / 8, 6e6 / 8, cutoff_s=1.7)
    assert cut.done.tolist() == [3]
    assert cut.partial.tolist() == [True]
    assert cut.seconds["compute"][0] == pytest.approx(1.5)
    late = fleet.cost([0], 4, 5, 13e6 / 8, 6e6 / 8, deadline_s=4.5)
    assert late.dropped.tolist() == [True]
    assert late.round_seconds == 4.5
    assert late.seconds["compute"][0] == pytest.approx(1.5)
    assert late.seconds["upload"][0] == 0
    assert not late.returned.any()


def test_a_cutoff_of_whole_steps_keeps_them_all() -> None:
    fleet = Fleet(["pixel-4"] * 1000, WORK, speed=np.linspace(0.1, 3, 1000))
    who = np.arange(1000)
    step = fleet.step_seconds(who, 7)
    for count in (1, 3, 10, 49):
        for device in range(0, 1000, 97):
            cutoff = float(count * step[device])
            assert fleet.steps_within([device], 100, 7, cutoff) == count


def test_nobody_costs_nothing() -> None:
    cost = Fleet(["pixel-4"], WORK).cost([], 5, 4, 10, 10, cutoff_s=1, deadline_s=2)
    assert cost.round_seconds == cost.total_joules == 0
    assert cost.stragglers().tolist() == []
    assert cost.done.dtype == np.int64
    assert json.loads(cost.to_json())["devices"] == []
    assert "0 devices" in str(cost)
    assert len(Fleet([], WORK)) == 0


def test_availability_is_drawn_by_share_round_and_seed() -> None:
    fleet = Fleet.mix({"pixel-4": 0.5, "stm32f446": 0.5}, 20_000, WORK, seed=2)
    here = fleet.available(3, seed=1)
    assert here.shape == (20_000,)
    assert_array_equal(here, fleet.available(3, seed=1))
    assert np.any(here != fleet.available(4, seed=1))
    assert np.any(here != fleet.available(3, seed=2))
    phones = np.array(fleet.kinds_of(range(20_000))) == "pixel-4"
    assert here[phones].mean() == pytest.approx(0.2, abs=0.02)
    assert here[~phones].mean() == pytest.approx(0.9, abs=0.02)
    night, noon = (fleet.available(3, 1, hour=h)[phones].mean() for h in (3, 12))
    assert night == pytest.approx(load("pixel-4").by_hour[3], abs=0.02)
    assert noon == pytest.approx(load("pixel-4").by_hour[12], abs=0.02)
    assert_array_equal(fleet.available(3, 1, hour=24), fleet.available(3, 1, hour=0))


@given(st.lists(CLASSES, min_size=1, max_size=5, unique=True), st.integers(0, 200), st.data())
@settings(max_examples=50, deadline=None)
def test_a_mix_follows_its_shares(kinds: list[str], devices: int, data: st.DataObject) -> None:
    size = len(kinds)
    weights = data.draw(st.lists(st.floats(0.01, 1), min_size=size, max_size=size))
    shares = {k: w / sum(weights) for k, w in zip(kinds, weights, strict=True)}
    fleet = Fleet.mix(shares, devices, WORK, seed=1)
    counts = Counter(fleet.kinds_of(range(devices)))
    assert len(fleet) == devices == counts.total()
    for kind, share in shares.items():
        assert abs(counts[kind] - share * devices) < 1 + 1e-6
    again = Fleet.mix(shares, devices, WORK, seed=1)
    assert again.kinds_of(range(devices)) == fleet.kinds_of(range(devices))


def test_spread_scatters_the_speed_about_the_class() -> None:
    fleet = Fleet.mix({"pixel-4": 1.0}, 5000, WORK, seed=1, spread=0.3)
    assert np.log(fleet.speed).std() == pytest.approx(0.3, rel=0.05)
    assert np.median(fleet.speed) == pytest.approx(1, rel=0.05)
    assert_allclose(
        fleet.seconds_per_example * fleet.speed, WORK.seconds_per_example(load("pixel-4"))
    )


def test_what_fits_the_memory() -> None:
    fleet = Fleet(["stm32f446", "nrf52840", "pixel-4"], WORK)
    assert fleet.fits(200_000).tolist() == [False, True, True]


def test_a_cost_says_what_it_is() -> None:
    cost = Fleet(["pixel-4", "galaxy-s9"], WORK).cost([0, 1], 10, 32, 1e5, 1e5)
    said = json.loads(cost.to_json())
    assert said["labels"]["seconds"]["unit"] == "s"
    assert said["labels"]["joules"]["provenance"] == "modelled"
    assert "galaxy-s9: training_macs_per_s" in said["labels"]["seconds"]["how"]
    assert "pixel-4: training_macs_per_s" not in said["labels"]["seconds"]["how"]
    assert said["round_seconds"] == cost.round_seconds
    assert "modelled" in str(cost)
    assert "galaxy-s9" in str(cost)
    rows = cost.by_kind()
    assert sum(row["joules [J]"] for row in rows) == pytest.approx(cost.total_joules)
    measured = Fleet(["galaxy-s9"], Work.from_rates({"galaxy-s9": 50}, "a bench")).cost(
        [0], 1, 1, 0, 0
    )
    how = measured.labels["seconds"].how
    assert "50 examples/s, a bench" in how
    assert "training_macs_per_s" not in how, "the catalogue's assumption was not used"


FLEET = Fleet(["pixel-4", "nexus-6"], WORK)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"steps": -1}, "steps: expected whole numbers, 0 or more"),
        ({"steps": 1.5}, "steps: expected whole"),
        ({"batch": 0}, "batch: expected whole numbers, 1 or more"),
        ({"bytes_down": -1}, "bytes_down"),
        ({"bytes_up": float("nan")}, "bytes_up"),
        ({"bytes_up": "many"}, "bytes_up: expected finite numbers"),
        ({"cutoff_s": -1.0}, "cutoff_s"),
        ({"cutoff_s": "2"}, "cutoff_s must be a number"),
        ({"cutoff_s": float("nan")}, "cutoff_s"),
        ({"deadline_s": float("inf")}, "deadline_s"),
        ({"devices": [2]}, "no device 2: the fleet has devices 0 to 1"),
        ({"devices": [-1]}, "no device -1"),
        ({"devices": [0, 0]}, "asked twice"),
        ({"devices": [0.5]}, "whole numbers"),
        ({"steps": [1, 2, 3]}, "steps: 3 numbers for 2 devices"),
        ({"bytes_up": [1, 2, 3]}, "bytes_up: 3 numbers for 2 devices"),
    ],
)
def test_a_round_that_cannot_be(asked: dict, words: str) -> None:
    fine = {"devices": [0, 1], "steps": 1, "batch": 1, "bytes_down": 1, "bytes_up": 1}
    with pytest.raises(FleetError, match=words):
        FLEET.cost(**{**fine, **asked})


def test_a_fleet_that_cannot_be() -> None:
    with pytest.raises(FleetError, match=r"add up to 0\.9"):
        Fleet.mix({"pixel-4": 0.5, "nexus-6": 0.4}, 10, WORK)
    with pytest.raises(FleetError, match=r"share of 'nexus-6' .*got -0\.5"):
        Fleet.mix({"pixel-4": 1, "nexus-6": -0.5}, 10, WORK)
    with pytest.raises(FleetError, match=r"share of 'pixel-4' .*got 'half'"):
        Fleet.mix({"pixel-4": "half"}, 10, WORK)  # type: ignore[dict-item]
    with pytest.raises(FleetError, match="a share for each class"):
        Fleet.mix(["pixel-4"], 10, WORK)  # type: ignore[arg-type]
    for devices in (-1, 2.5, "five"):
        with pytest.raises(FleetError, match="devices of a fleet must be a whole number"):
            Fleet.mix({"pixel-4": 1}, devices, WORK)  # type: ignore[arg-type]
    with pytest.raises(FleetError, match=r"Work\.from_macs.*got 4800"):
        Fleet.mix({"pixel-4": 1}, 10, 4800)  # type: ignore[arg-type]
    with pytest.raises(FleetError, match="spread"):
        Fleet.mix({"pixel-4": 1}, 1, WORK, spread=-1)
    with pytest.raises(FleetError, match="'galaxy-tab-s6' has no 'lte'; it has wifi"):
        Fleet(["galaxy-tab-s6"], WORK, links={"galaxy-tab-s6": "lte"})
    with pytest.raises(FleetError, match="speed"):
        Fleet(["pixel-4"], WORK, speed=[0])
    with pytest.raises(FleetError, match="hour"):
        FLEET.available(0, 0, hour=25)
    with pytest.raises(UnknownDeviceError, match=r"closest: pixel-4"):
        Fleet(["pixel4a"], WORK)
    with pytest.raises(UnknownDeviceError, match="no link is called 'wify'"):
        Fleet(["pixel-4"], WORK, links={"pixel-4": "wify"})


def test_work_that_cannot_be() -> None:
    for bad in (0, -1, float("nan"), "many"):
        with pytest.raises(FleetError, match="MACs of a forward pass"):
            Work.from_macs(bad)
    with pytest.raises(FleetError, match="MACs of a forward pass"):
        Work(macs=-5.0)
    with pytest.raises(FleetError, match=r"Work\.from_macs.* or measured"):
        Work()
    with pytest.raises(FleetError, match="examples/s of pixel-4"):
        Work.from_rates({"pixel-4": 0}, "a bench")
    with pytest.raises(FleetError, match="source"):
        Work.from_rates({"pixel-4": 3}, "")
    with pytest.raises(FleetError, match="no rate was measured on 'nexus-6'"):
        Fleet(["nexus-6"], Work.from_rates({"pixel-4": 3}, "a bench"))
    both = Work.from_rates({"pixel-4": 4}, "a bench", macs=1e6)
    assert both.seconds_per_example(load("pixel-4")) == 0.25
    assert both.provenance(load("nexus-6")) == "modelled"


def test_work_from_a_profile() -> None:
    class Profile:
        macs = 2_000

    assert Work.from_macs(Profile()).macs == 2_000
    Profile.macs = None
    with pytest.raises(FleetError, match="that profile has no MACs"):
        Work.from_macs(Profile())

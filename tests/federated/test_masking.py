"""Masks cancel exactly, hide what they should, and can be taken out of devices that left."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tests.federated.uplink_cases import simulation
from tinykit.federated import (
    Faults,
    FedAvg,
    FedAvgM,
    FedDyn,
    Float32,
    Guard,
    Masking,
    Scaffold,
    SecureSum,
    TopK,
)
from tinykit.federated import secret_sharing as sharing
from tinykit.federated.errors import FederatedError

PLAIN = FedAvg(weighted=False)


# -- the protocol ---------------------------------------------------------------------------------


@given(
    st.sets(st.integers(0, 500), min_size=2, max_size=7),
    st.integers(1, 40),
    st.integers(8, 32),
    st.integers(0, 10_000),
)
@settings(max_examples=40)
def test_masks_cancel_exactly(devices: set[int], size: int, bits: int, round: int) -> None:
    parties = SecureSum(Masking(bits=bits), sorted(devices), size, seed=1, round=round)
    masked = {d: parties.mask(d, np.zeros(size)) for d in devices}
    total = sum(row.astype(object) for row in masked.values())
    assert all(int(value) % 2**bits == 0 for value in total)
    assert (parties.sum(masked) == 0).all()


@given(st.data())
@settings(max_examples=40)
def test_the_sum_is_exact_but_for_fixed_point(data: st.DataObject) -> None:
    count = data.draw(st.integers(2, 6))
    bits = data.draw(st.integers(10, 32))
    clip = data.draw(st.floats(0.01, 100))
    masking = Masking(bits=bits, clip=clip, threshold=0.34)
    devices = list(range(10, 10 + count))
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    updates = {d: rng.normal(0, clip / 2, 20) for d in devices}
    parties = SecureSum(masking, devices, 20, seed=0, round=3)
    answered = data.draw(
        st.sets(st.sampled_from(devices), min_size=masking.needed(count), max_size=count)
    )
    found = parties.sum({d: parties.mask(d, updates[d]) for d in answered})
    expected = sum(np.clip(updates[d], -clip, clip) for d in answered)
    assert np.abs(found - expected).max() <= len(answered) * masking.step(count) * (1 + 1e-9)


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=20), st.integers(8, 32))
def test_fixed_point_makes_nothing_larger(values: list[float], bits: int) -> None:
    masking, x = Masking(bits=bits, clip=2.0), np.array(values)
    back = masking.from_fixed(masking.to_fixed(x, 5), 5)
    assert (np.abs(back) <= np.abs(x) + 1e-12).all()


@pytest.mark.parametrize("bits", [8, 16, 32])
@pytest.mark.parametrize("update", [0.0, 0.9])
def test_one_device_s_message_looks_uniform(bits: int, update: float) -> None:
    parties = SecureSum(Masking(bits=bits), [0, 1, 2], 50_000, seed=0, round=0)
    seen = parties.mask(1, np.full(50_000, update))
    assert int(seen.max()) < 2**bits
    highest, lowest = seen >> np.uint32(bits - 8), seen & np.uint32(255)
    for byte in (highest, lowest):
        counts = np.bincount(byte, minlength=256)
        assert stats.chisquare(counts).pvalue > 1e-4
    # while the same test sees at once what is not masked
    bare = parties.masking.to_fixed(np.full(50_000, update), 3) >> np.uint32(bits - 8)
    assert stats.chisquare(np.bincount(bare, minlength=256)).pvalue < 1e-12


def test_rounds_and_devices_have_masks_of_their_own() -> None:
    rows = [
        SecureSum(Masking(), [0, 1, 2], 2000, seed=0, round=r).mask(d, np.zeros(2000))
        for r in (0, 1)
        for d in (0, 1, 2)
    ]
    for one, other in combinations(rows, 2):
        assert abs(np.corrcoef(one, other)[0, 1]) < 0.62  # three of one round add up to zero
        assert not np.array_equal(one, other)
    assert abs(np.corrcoef(rows[0], rows[3])[0, 1]) < 0.1


def test_two_devices_need_each_other() -> None:
    parties = SecureSum(Masking(), [4, 9], 10, seed=0, round=0)
    with pytest.raises(FederatedError, match="1 of 2 devices answered, 2 are needed"):
        parties.sum({4: parties.mask(4, np.zeros(10))})


# -- keys and shares ------------------------------------------------------------------------------


def test_two_devices_agree_and_a_third_does_not() -> None:
    a, b, c = (sharing.secret(np.random.default_rng(i)) for i in range(3))
    both = sharing.agreed_seed(a, sharing.public_key(b), 7)
    assert both == sharing.agreed_seed(b, sharing.public_key(a), 7)
    assert both != sharing.agreed_seed(c, sharing.public_key(a), 7)
    assert both != sharing.agreed_seed(a, sharing.public_key(b), 8)


@given(st.integers(0, sharing.PRIME - 1), st.integers(1, 6), st.integers(0, 3))
@settings(max_examples=30)
def test_any_so_many_shares_give_the_secret_back(secret: int, threshold: int, more: int) -> None:
    people = list(range(3, 3 + threshold + more))
    shares = sharing.share(secret, people, threshold, np.random.default_rng(0))
    for some in combinations(people, threshold):
        assert sharing.recover({p: shares[p] for p in some}) == secret
    if threshold > 1:
        few = people[: threshold - 1]
        assert sharing.recover({p: shares[p] for p in few}) != secret


def test_a_share_alone_says_nothing() -> None:
    counts = np.zeros((2, 16), dtype=int)
    for row, secret in enumerate((0, sharing.PRIME - 1)):
        for seed in range(4000):
            shares = sharing.share(secret, [0, 1, 2], 2, np.random.default_rng([row, seed]))
            counts[row, shares[1] * 16 // sharing.PRIME] += 1
    assert stats.chisquare(counts[0]).pvalue > 1e-4
    assert stats.chisquare(counts[1]).pvalue > 1e-4


# -- in a federation ------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", [PLAIN, FedAvgM(weighted=False)], ids=repr)
@pytest.mark.parametrize("faults", [Faults(), Faults(dropout=0.3, nan=0.1)], ids=["", "dropout"])
def test_the_server_gets_the_same_mean(strategy: object, faults: Faults) -> None:
    settings = {"faults": faults, "cohort": 8, "guard": Guard(outlier=None)}
    open_, masked = (
        simulation(strategy, **settings),
        simulation(strategy, masking=Masking(threshold=0.2), **settings),
    )
    open_.run(4)
    masked.run(4)
    assert [r.answered for r in open_.history] == [r.answered for r in masked.history]
    assert (open_.server["model"] - masked.server["model"]).abs().max() < 1e-6
    if faults.dropout:
        assert any(r.failed for r in masked.history), "somebody's masks had to be taken out"


def test_fewer_bits_travel_and_cost_little() -> None:
    runs = [simulation(PLAIN, masking=Masking(bits=bits)) for bits in (32, 16)]
    for run in runs:
        run.run(3)
    size = runs[0].setting.net.size
    keys = 5 * 16 + 5 * 4 * 16
    assert [run.history[0].bytes_up for run in runs] == [
        5 * size * 4 + keys,
        5 * size * 2 + keys,
    ]
    step = Masking(bits=16).step(5)
    assert (runs[0].server["model"] - runs[1].server["model"]).abs().max() < 200 * step


def test_a_round_with_too_few_is_given_up() -> None:
    run = simulation(PLAIN, masking=Masking(threshold=0.8), faults=Faults(dropout=0.6), cohort=1.0)
    before = run.server["model"].clone()
    run.run(1)
    row = run.history[0]
    assert row.answered == 0
    assert "too few answered to take the masks out" in row.failed.values()
    assert torch.equal(run.server["model"], before)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"strategy": Scaffold()}, "masking gives the server the mean"),
        ({"strategy": FedDyn()}, "masking gives the server the mean"),
        ({"strategy": FedAvg()}, r"FedAvg\(weighted=False\)"),
        ({"compression": TopK(0.1)}, "cannot be compressed"),
        ({"cohort": 1}, "2 or more"),
        ({"guard": Guard()}, r"Guard\(outlier=None\)"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_masks_would_make_useless_is_refused(settings: dict, words: str) -> None:
    with pytest.raises(FederatedError, match=words):
        simulation(**{"strategy": PLAIN, "masking": Masking(), **settings})


def test_the_identity_may_be_masked() -> None:
    simulation(PLAIN, masking=Masking(), compression=Float32()).run(1)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Masking(bits=4), "8 to 32"),
        (lambda: Masking(clip=-1.0), "above 0"),
        (lambda: Masking(threshold=0.0), "share above 0"),
        (lambda: Masking(bits=8).levels(200), "use more bits"),
        (lambda: SecureSum(Masking(), [1], 5, seed=0, round=0), "nobody to agree"),
        (lambda: sharing.share(5, [0, 1], 3, np.random.default_rng(0)), "cannot be needed"),
    ],
)
def test_what_cannot_be_meant_is_refused(make: object, words: str) -> None:
    with pytest.raises(FederatedError, match=words):
        make()  # type: ignore[operator]

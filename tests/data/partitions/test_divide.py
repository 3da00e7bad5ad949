"""What all partitions have in common: nothing twice, sizes, parts, seeds, errors, speed."""

from __future__ import annotations

import importlib
import pkgutil
import time
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinykit as tk
from tinykit.data import DataError, DataSpec, Federation, Split, partitions
from tinykit.data.partitions import (
    IID,
    Ask,
    Dirichlet,
    DirichletByClass,
    FewClasses,
    LogNormal,
    Partition,
    PermutedLabels,
    Shards,
    Shift,
    Users,
    partition,
)

sized = st.one_of(
    st.just(IID()),
    st.builds(Dirichlet, st.floats(1e-3, 100)),
    st.builds(Shards, st.integers(1, 4)),
)
kinds = st.one_of(
    sized,
    st.builds(DirichletByClass, st.floats(0.5, 100), st.just(0), st.booleans()),
    st.just(FewClasses((1, 3))),
    st.builds(LogNormal, st.floats(0, 2), sized),
    st.builds(PermutedLabels, sized),
    st.builds(lambda over: Shift("brightness", over, groups=2), sized),
)


@st.composite
def pools(draw: st.DrawFn) -> Split:
    sizes = draw(st.lists(st.integers(0, 30), min_size=1, max_size=5).filter(sum))
    y = np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes))
    return Split(np.zeros((len(y), 1, 1, 1), np.float32), y)


@settings(deadline=None, derandomize=True, max_examples=300)
@given(data=st.data(), pool=pools(), how=kinds, test=st.sampled_from([0.0, 0.2, 0.5, 0.9]))
def test_what_holds_for_all(data: st.DataObject, pool: Split, how: Partition, test: float) -> None:
    devices = data.draw(st.integers(1, len(pool)))
    samples = data.draw(st.none() | st.integers(1, len(pool) // devices))
    spec = DataSpec("numbers", (1, 1, 1), tuple("abcde"))
    asked = {"devices": devices, "samples": samples, "test": test, "allow_empty": True}
    try:
        federation = partition(pool, how, **asked, seed=3, spec=spec)
    except DataError:
        # the only kind that may run short of what it needs
        assert isinstance(how, FewClasses)
        assert samples is not None
        return
    assert len(federation) == devices
    held = np.concatenate([*federation.train, *federation.test])
    assert len(np.unique(held)) == len(held)
    whole = federation.sizes + (np.array([len(t) for t in federation.test]) if test else 0)
    if isinstance(how, LogNormal | DirichletByClass):
        assert whole.sum() == (samples * devices if samples else len(pool))
    elif samples:
        assert (whole == samples).all()
    elif not isinstance(how, FewClasses):
        assert whole.sum() == len(pool)
        assert np.ptp(whole) <= 1
    assert bool(federation.test) == bool(test)
    check_parts(federation, pool.y, test)
    again = partition(pool, how, **asked, seed=3, spec=spec)
    assert again.fingerprint() == federation.fingerprint()


def check_parts(federation: Federation, y: np.ndarray, test: float) -> None:
    """Sizes of test parts, and which classes they have, by the original labels."""
    for own, out in zip(federation.train, federation.test, strict=False):
        whole = len(own) + len(out)
        if whole < 2:
            assert len(out) == 0
            continue
        assert len(out) == min(max(int(test * whole + 0.5), 1), whole - 1)
        learnt, tested = np.bincount(y[own], minlength=5), np.bincount(y[out], minlength=5)
        there = learnt + tested
        whole_part = np.floor(test * there).astype(int)
        extra = tested - whole_part
        assert set(extra) <= {0, 1}
        spare = (extra == 0) & (there - whole_part >= 2)  # could have given one more
        if np.any(learnt[there > 0] == 0):  # tested, but not learnt: only where nothing else is
            assert not spare.any()
        if np.any(tested[there >= 2] == 0):
            assert not extra[whole_part > 0].any()


def test_every_kind_is_exported() -> None:
    for module in pkgutil.iter_modules(partitions.__path__):
        inside = vars(importlib.import_module(f"tinykit.data.partitions.{module.name}"))
        for name, kind in inside.items():
            if isinstance(kind, type) and issubclass(kind, Partition):
                assert name in partitions.__all__


def test_a_new_kind_is_a_class() -> None:
    @dataclass(frozen=True)
    class Turns(Partition):
        """One example after the other."""

        def divide(self, ask: Ask) -> np.ndarray:
            return np.arange(len(ask.y)) % ask.devices

    federation = partition(tk.data.load("digits"), Turns(), devices=7, test=0.1)
    assert federation.name == "digits, Turns()"
    assert set(np.concatenate(federation.holdings())) == set(range(1257))


def test_another_seed_is_another_federation() -> None:
    data = tk.data.load("digits")
    every = [
        IID(), Dirichlet(0.5), DirichletByClass(1.0), Shards(2), LogNormal(1.0), FewClasses(),
        PermutedLabels(), Shift("noise"),
    ]  # fmt: skip
    for how in every:
        texts = {
            partition(data, how, devices=10, test=0.2, seed=s).fingerprint() for s in (0, 0, 1)
        }
        assert len(texts) == 2


def test_a_datasets_test_split_is_left_alone() -> None:
    data = tk.data.load("digits")
    before = data.test.x.copy()
    federation = partition(data, Shift("blur", PermutedLabels()), devices=10, test=0.2)
    assert len(federation.pool) == len(data.train)
    assert np.array_equal(data.test.x, before)
    assert federation.spec == data.spec
    assert federation.name.startswith("digits, Shift('blur'") or "blur" in federation.name


def test_holding_out_changes_nothing_else() -> None:
    data = tk.data.load("digits")
    without = partition(data, Dirichlet(0.3), devices=12, samples=40, seed=5)
    held = partition(data, Dirichlet(0.3), devices=12, samples=40, test=0.25, seed=5)
    for device in range(12):
        both = np.sort(np.concatenate([held.train[device], held.test[device]]))
        assert np.array_equal(both, without.train[device])
        assert len(held.test[device]) == 10


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"devices": 50, "samples": 30}, r"need 1,500, there are 1,257; take at most samples=25"),
        ({"devices": 2000}, "1,257 examples cannot be divided over 2,000 devices"),
        ({"devices": 2000, "samples": 1}, r"at most devices=1257"),
        ({}, "needs to know how many devices"),
        ({"devices": 0}, "at least 1"),
        ({"devices": 5, "samples": 0}, "at least 1"),
        ({"devices": 5, "test": 1.0}, "less than 1"),
        ({"devices": 5, "test": float("nan")}, "less than 1"),
        ({"devices": 5, "seed": -1}, "0 or more"),
    ],
)
def test_what_cannot_be_asked(asked: dict[str, float], why: str) -> None:
    with pytest.raises(DataError, match=why):
        partition(tk.data.load("digits"), IID(), **asked)  # type: ignore[arg-type]


def test_a_split_needs_a_user_for_each_example() -> None:
    with pytest.raises(DataError, match="one user for each"):
        Split(np.zeros((2, 1, 1, 1), np.float32), np.zeros(2, np.int64), np.zeros(3, np.int64))
    split = Split(np.zeros((9, 1, 1, 1), np.float32), np.zeros(9, np.int64), np.arange(9))
    taken = split.take(4)
    assert taken.users is not None
    assert len(set(taken.users)) == 4


@pytest.mark.parametrize(
    "how",
    [
        IID(), Dirichlet(0.1), DirichletByClass(1.0), Shards(2), LogNormal(1.0), FewClasses(),
        PermutedLabels(), Shift("noise", groups=None), Users(),
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("samples", [None, 8])
def test_ten_thousand_devices_take_no_time(how: Partition, samples: int | None) -> None:
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(10_000), 10)
    pool = Split(rng.random((100_000, 8, 8, 1), np.float32), rng.integers(0, 10, 100_000), users)
    start = time.process_time()
    federation = partition(pool, how, devices=10_000, samples=samples, test=0.2)
    assert time.process_time() - start < 2
    assert len(federation) == 10_000

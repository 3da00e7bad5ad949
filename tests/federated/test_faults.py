"""Devices that fail: the run finishes, stays finite, can be repeated, and forgets nothing."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.federated.world import ALGORITHMS, digits, federation, mlp
from tinykit.federated import Cohort, Faults, FedAvg, FedDyn, Guard, Local, Scaffold, Simulation
from tinykit.federated.engines.engine import Broadcast
from tinykit.federated.rounds import work_of
from tinykit.federated.strategy import Replies, Strategy

ENGINES = ("sequential", "vectorised")
LOCAL = Local(steps=2, batch=8, lr=0.1)
KINDS = {
    "dropout 90 %": Faults(dropout=0.9),
    "NaN 50 %": Faults(nan=0.5),
    "huge 30 %": Faults(huge=0.3),
    "flipped 30 %": Faults(flipped=0.3),
    "all": Faults(dropout=0.3, nan=0.2, huge=0.1, flipped=0.1),
}


def make(strategy: Strategy | None = None, **given: object) -> Simulation:
    settings = {"local": LOCAL, "cohort": 4, "seed": 5, "test": digits().test, **given}
    return Simulation(mlp(), federation(), strategy or FedAvg(), **settings)  # type: ignore[arg-type]


def finite(run: Simulation) -> bool:
    tables = run.memories._table.values()
    return all(bool(v.isfinite().all()) for v in (*run.server.values(), *tables))


@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize("kind", ["all"])
def test_every_algorithm_survives(name: str, kind: str) -> None:
    runs = [make(ALGORITHMS[name], faults=KINDS[kind], engine="sequential") for _ in range(2)]
    for run in runs:
        run.run(6, progress=False)
    assert runs[0].done == 6
    assert finite(runs[0])
    assert any(row.failed for row in runs[0].history)
    assert runs[0].fingerprint() == runs[1].fingerprint()
    assert str(runs[0].history.to_state()) == str(runs[1].history.to_state())


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_fault(kind: str, engine: str) -> None:
    run = make(FedDyn(), faults=KINDS[kind], engine=engine, cohort=Cohort(2, sampling="poisson"))
    run.run(25, progress=False)
    assert finite(run)
    assert run.done == 25
    # nobody is asked in some rounds, which then change nothing
    assert min(row.asked for row in run.history) == 0
    said = {why.split()[2] for row in run.history for why in row.failed.values()}
    wanted = {"dropout 90 %": {"out"}, "NaN 50 %": {"holds"}, "huge 30 %": {"has"}, "all": {"out",
              "holds", "has"}, "flipped 30 %": set()}  # fmt: skip
    assert said == wanted[kind]


def test_dropout_as_often_as_asked_for() -> None:
    faults = Faults(dropout=0.5, nan=0.2, huge=0.1, flipped=0.1)
    kinds = [faults.kind(3, r, d) for r in range(100) for d in range(50)]
    for name, share in (("dropout", 0.5), ("nan", 0.2), ("huge", 0.1), ("flipped", 0.1)):
        # five standard deviations of a binomial share
        assert abs(kinds.count(name) / 5000 - share) < 5 * (share * (1 - share) / 5000) ** 0.5
    assert {Faults().kind(3, r, d) for r in range(9) for d in range(9)} == {None}
    assert {Faults(dropout=1.0).kind(3, r, d) for r in range(9) for d in range(9)} == {"dropout"}


@pytest.mark.parametrize("faults", [Faults(dropout=1.0), Faults(nan=1.0)], ids=["gone", "refused"])
@pytest.mark.parametrize("strategy", [FedAvg(), Scaffold(), FedDyn()])
def test_nobody_answers(strategy: Strategy, faults: Faults) -> None:
    run = make(strategy, faults=faults)
    before = run.fingerprint()
    run.run(3, progress=False)
    assert run.fingerprint() == before
    assert [row.answered for row in run.history] == [0, 0, 0]
    assert all(len(row.failed) == row.asked == 4 for row in run.history)
    assert all(row.loss != row.loss for row in run.history)  # NaN: there was none
    each = 4 * run.setting.net.size * (1 + len(strategy.sends))
    # those that are refused have sent all the same
    assert run.history[0].bytes_up == (0 if faults.dropout else 4 * each)
    assert isinstance(run.history[-1].accuracy, float)


def test_dropouts_are_as_if_not_asked() -> None:
    """The server's model is the mean of those that answered, whoever else was asked."""
    run = make(faults=Faults(dropout=0.5), engine="sequential")
    run.run(1, progress=False)
    asked = run.cohort.draw(run.federation, 5, 0)
    there = [d for d in asked if d not in run.history[0].failed]
    assert 0 < len(there) < len(asked)
    models = []
    for device in there:
        works = [work_of(run, 0, device, None)]
        one = make(engine="sequential")
        broadcast = _broadcast(one)
        replies, _ = one.engine.train(one.setting, broadcast, works)
        assert replies is not None
        models.append((replies.model[0], len(run.federation.train[device])))
    total = sum(size for _, size in models)
    want = sum(model * size for model, size in models) / total
    assert (run.weights() - want).abs().max() <= 1e-7


def _broadcast(run: Simulation) -> Broadcast:
    return Broadcast(0, {"model": run.server["model"]}, run.statistics, run.local.lr_in(0), 5)


def replies(*norms: float) -> Replies:
    n = len(norms)
    model = torch.tensor(norms)[:, None] * torch.tensor([[0.6, 0.8]])
    empty = torch.zeros(n, 0)
    return Replies(
        tuple(range(n)), model, empty, {}, {}, torch.ones(n), torch.ones(n), torch.zeros(n), 0.1
    )


def refused(usual: deque[float], *norms: float, guard: Guard | None = None) -> set[int]:
    return set((guard or Guard()).refused(replies(*norms), torch.zeros(2), usual))


class TestGuard:
    def test_refuses_what_is_far_from_usual(self) -> None:
        assert refused(deque(), 1.0, 1.2, 0.8, 1e6) == {3}
        assert refused(deque(), 1.0, 9.9, 1.0) == set()
        assert refused(deque(), 1.0, 10.1, 1.0) == {1}

    def test_two_in_the_first_round(self) -> None:
        assert refused(deque(), 1.0, 1e6) == {1}

    def test_nan_and_infinity_always(self) -> None:
        for guard in (Guard(), Guard(outlier=None)):
            assert refused(deque(), 1.0, float("nan"), float("inf"), guard=guard) == {1, 2}
            assert refused(deque(), float("nan"), guard=guard) == {0}
        assert refused(deque(), 1.0, 1e6, 1.0, guard=Guard(outlier=None)) == set()

    def test_zero_updates_do_not_open_the_door(self) -> None:
        """Devices that did no step are no measure of what is usual."""
        assert refused(deque(), 0.0, 0.0, 0.0, 1.0, 1e6) == {4}
        usual: deque[float] = deque()
        for _ in range(5):
            assert refused(usual, 0.0, 0.0) == set()
        assert refused(usual, 1.0, 1.0, 1.0) == set()
        assert refused(usual, 0.0, 0.0, 1e6) == {2}

    def test_remembers_what_was_usual(self) -> None:
        usual: deque[float] = deque()
        for _ in range(3):
            assert refused(usual, 1.0) == set()
        assert refused(usual, 1e6) == {0}
        assert refused(usual, 1e6) == {0}
        assert refused(usual, 1.1) == set()

    def test_recovers_from_a_poisoned_first_round(self) -> None:
        usual: deque[float] = deque()
        assert refused(usual, 1e6) == set()  # nothing to compare it with
        for _ in range(2):
            assert refused(usual, 1.0) == set()
        assert refused(usual, 1e6) == {0}

    def test_those_who_have_learnt_all_do_not_set_the_measure(self) -> None:
        """Most devices send next to nothing, some still learn: all of them are honest."""
        usual: deque[float] = deque()
        assert refused(usual, 1.0, 0.9, 1.1) == set()
        for _ in range(12):
            assert refused(usual, 1e-4, 1e-4, 1e-4, 0.8) == set()
        assert refused(usual, 1e-4, 1e-4, 1e-4, 9.0) == {3}

    def test_those_who_are_cut_off_early_do_not_either(self) -> None:
        """One step of twenty is a twentieth of the update, and no measure for the others."""
        cohort = replace(replies(0.05, 0.05, 1.0), steps=torch.tensor([1, 1, 20]))
        assert Guard().refused(cohort, torch.zeros(2), deque()) == {}

    def test_memory_and_what_is_sent_count_too(self) -> None:
        good = replies(1.0, 1.0)
        bad = torch.tensor([[0.0], [float("nan")]])
        for kind in ("memory", "sent"):
            spoiled = replace(good, **{kind: {"x": bad}})
            assert set(Guard().refused(spoiled, torch.zeros(2), deque())) == {1}

    @given(
        st.lists(st.floats(0.5, 4.0), min_size=3, max_size=9),
        st.lists(st.floats(1e3, 1e9), max_size=2),
        st.integers(0, 5),
    )
    def test_a_minority_is_found(self, good: list[float], bad: list[float], zeros: int) -> None:
        norms = [*good, *bad, *[0.0] * zeros]
        assert refused(deque(), *norms) == set(range(len(good), len(good) + len(bad)))


@pytest.mark.parametrize("engine", ENGINES)
def test_huge_updates_leave_no_trace(engine: str) -> None:
    """Refused on time, they cost no more than a dropout of the same devices."""
    run = make(FedDyn(), faults=Faults(huge=0.3), engine=engine)
    run.run(15, progress=False)
    calm = make(FedDyn(), engine=engine)
    calm.run(15, progress=False)
    spread = max(float(v.abs().max()) for v in run.server.values())
    usual = max(float(v.abs().max()) for v in calm.server.values())
    assert sum(len(row.failed) for row in run.history) > 5
    assert spread < 2 * usual


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("strategy", [FedAvg(), FedDyn(), Scaffold(), Scaffold(recover=True)])
def test_a_device_without_time_for_a_step_learns_nothing(strategy: Strategy, engine: str) -> None:
    run = make(strategy, engine=engine)
    works = [work_of(run, 0, 1, 0), work_of(run, 0, 3, None)]
    shared = {n: run.server[n] for n in ("model", *strategy.shared)}
    broadcast = Broadcast(0, shared, run.statistics, 0.1, 5)
    back, errors = run.engine.train(run.setting, broadcast, works)
    assert back is not None
    assert not errors
    assert torch.equal(back.model[0], run.server["model"])
    assert not torch.equal(back.model[1], run.server["model"])
    assert back.loss[0] == 0
    for value in (*back.memory.values(), *back.sent.values()):
        assert not value[0].any()
        assert value[1].any()

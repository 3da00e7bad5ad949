"""The Flower engine: the sequential engine's bits, errors in words, and nothing that hangs.

Ray takes its time to start, so what needs it shares one start, and one more is left to hang.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import tinykit as tk
from tinykit.data.federation import Federation
from tinykit.federated import (
    MAML,
    ClientError,
    Faults,
    FedAdam,
    FedAvg,
    FedAvgM,
    FedBN,
    FedDyn,
    FederatedError,
    FedProx,
    Flower,
    Local,
    Prototypes,
    Scaffold,
    Simulation,
    Strategy,
)
from tinykit.federated.device import Device, Reply
from tinykit.federated.engines import flower as engine_module
from tinykit.graph import MissingToolError

needs_ray = pytest.mark.skipif(
    find_spec("flwr") is None or find_spec("ray") is None, reason="needs the extra `flower`"
)
#: Ray on two cores that others use too
PATIENT = pytest.mark.timeout(300)

SIZES = (24, 8, 40, 16, 8, 32, 0, 48)


def federation() -> Federation:
    data = tk.data.load("digits")
    rng = np.random.default_rng(0)
    parts = [rng.choice(len(data.train), n, replace=False).astype(np.int64) for n in SIZES]
    return Federation("eight devices", data.spec, data.train, tuple(parts))


def mlp(*middle: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), *middle, nn.Linear(16, 10))


def normed() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10)
    )


def simulation(
    strategy: Strategy, engine: str | Flower, model: nn.Module | None = None, **given: Any
) -> Simulation:
    settings: dict[str, Any] = {
        "local": Local(steps=3, batch=8, lr=0.1),
        "cohort": 4,
        "seed": 2**70 + 5,
        "faults": Faults(dropout=0.25),
    }
    return Simulation(
        model or mlp(), federation(), strategy, engine=engine, **{**settings, **given}
    )


@pytest.fixture(scope="module")
def engine() -> Iterator[Flower]:
    with Flower(workers=2, timeout=120) as engine:
        yield engine


CASES: dict[str, tuple[Strategy, Callable[[], nn.Module]]] = {
    "FedAvg": (FedAvg(), mlp),
    "FedAvg-dropout": (FedAvg(), lambda: mlp(nn.Dropout(0.5))),
    "FedProx": (FedProx(mu=0.3), mlp),
    "FedAvgM": (FedAvgM(momentum=0.7), mlp),
    "FedAdam": (FedAdam(server_lr=0.02), mlp),
    "SCAFFOLD": (Scaffold(), mlp),
    "FedDyn": (FedDyn(alpha=0.2), mlp),
    "FedAvg-convolutions": (FedAvg(), normed),
    "FedBN": (FedBN(), normed),
    "Per-FedAvg": (FedAvg(customise=MAML(steps=2, lr=0.05)), mlp),
    "PFLDyn": (FedDyn(customise=Prototypes()), mlp),
    "PFLScaf": (Scaffold(customise=MAML(steps=1, lr=0.05)), mlp),
}


@needs_ray
@PATIENT
@pytest.mark.parametrize("case", CASES)
def test_the_bits_are_those_of_the_sequential_engine(
    case: str, engine: Flower, tmp_path: Path
) -> None:
    """Half of the devices a round, some drop out, and the run is stopped and resumed."""
    strategy, model = CASES[case]
    expected = simulation(strategy, "sequential", model())
    expected.run(4)
    assert any(row.failed for row in expected.history), "nobody dropped out: the test is too easy"

    file = tmp_path / "run"
    simulation(strategy, engine, model()).run(2, checkpoint=file)
    resumed = simulation(strategy, engine, model())
    resumed.run(4, checkpoint=file)
    assert resumed.fingerprint() == expected.fingerprint()
    assert resumed.history.rounds == expected.history.rounds


@needs_ray
@PATIENT
def test_a_run_goes_on_on_the_other_engine(engine: Flower, tmp_path: Path) -> None:
    expected = simulation(Scaffold(), "sequential")
    expected.run(3)
    file = tmp_path / "run"
    simulation(Scaffold(), "sequential").run(1, checkpoint=file)
    simulation(Scaffold(), engine).run(2, checkpoint=file)
    last = simulation(Scaffold(), "sequential")
    last.run(3, checkpoint=file)
    assert last.fingerprint() == expected.fingerprint()


class Picky(FedAvg):
    """Raises on devices with 8 examples, and answers with too little on those with 16."""

    def client(self, device: Device) -> Reply:
        if device.examples == 8:
            raise ZeroDivisionError("nothing to see")
        model = device.sgd()
        return Reply(model[:3] if device.examples == 16 else model)


@needs_ray
@PATIENT
def test_clients_that_fail_are_those_of_the_sequential_engine(engine: Flower) -> None:
    def run(on: str | Flower, on_error: str) -> Simulation:
        return simulation(Picky(), on, cohort=7, faults=None, on_error=on_error)

    expected, got = run("sequential", "drop"), run(engine, "drop")
    expected.run(2)
    got.run(2)
    assert got.history.rounds == expected.history.rounds
    assert set(got.history[0].failed) == {1, 3, 4}
    assert "ZeroDivisionError: nothing to see" in got.history[0].failed[1]
    assert got.fingerprint() == expected.fingerprint()
    with pytest.raises(ClientError, match="device 1 failed in round 1: ZeroDivisionError"):
        run(engine, "raise").run(1)


class Stranger(FedAvg):
    def client(self, device: Device) -> Reply:
        if device.examples == 8:
            os._exit(3)
        return Reply(device.sgd())


@needs_ray
@PATIENT
def test_a_job_that_raises_ends_with_its_own_error(engine: Flower) -> None:
    def stop(_simulation: Simulation, _row: object) -> None:
        raise KeyboardInterrupt

    run = simulation(FedAvg(), engine)
    with pytest.raises(KeyboardInterrupt):
        run.run(3, on_round=stop)
    assert run.done == 1
    run.run(3)  # and the engine goes on
    expected = simulation(FedAvg(), "sequential")
    expected.run(3)
    assert run.fingerprint() == expected.fingerprint()


class Unsendable(FedAvg):
    def __reduce__(self) -> str:
        raise TypeError("no copies of me")


@needs_ray
@PATIENT
def test_what_cannot_be_sent_is_said(engine: Flower) -> None:
    with pytest.raises(FederatedError, match="Unsendable cannot be sent to Flower's workers"):
        simulation(Unsendable(), engine).run(1)


@needs_ray
@PATIENT
def test_a_second_ray_is_refused(engine: Flower) -> None:
    with pytest.raises(FederatedError, match=r"Ray is running in this process already"):
        simulation(FedAvg(), "flower").run(1)
    simulation(FedAvg(), engine).run(1)  # the first one was left alone


@needs_ray
@PATIENT
def test_a_worker_that_dies_is_said_and_ray_is_gone(engine: Flower) -> None:
    """The last test of the shared engine: it stops."""
    import ray

    with pytest.raises(FederatedError, match="a worker of Flower died in round 1"):
        simulation(Stranger(), engine, cohort=7, faults=None, on_error="drop").run(1)
    assert not ray.is_initialized()


class Sleeper(FedAvg):
    def client(self, device: Device) -> Reply:
        time.sleep(600)
        return Reply(device.sgd())


@needs_ray
@PATIENT
def test_devices_that_never_answer_end_the_round() -> None:
    import ray

    begun = time.monotonic()
    with pytest.raises(FederatedError, match=r"after 1 s, \d of 4 devices of round 1 have not"):
        simulation(Sleeper(), Flower(workers=1, timeout=1), faults=None).run(1)
    assert time.monotonic() - begun < 240, "it waited for those that sleep"
    assert not ray.is_initialized()


# -- without Ray ----------------------------------------------------------------------------------


class FakeRuntime:
    """Notes what is asked of it, and answers nothing."""

    log: list[str] = []

    def __init__(self, workers: int | None, address: str | None) -> None:
        self.busy = False
        self.log.append(f"start {workers}")

    def give(self, setting: object) -> None:
        self.log.append("give")

    def stop(self) -> None:
        self.log.append("stop")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[FakeRuntime]:
    from contextlib import nullcontext

    FakeRuntime.log = []
    runtime = SimpleNamespace(Runtime=FakeRuntime, quiet=nullcontext)
    monkeypatch.setattr(engine_module, "_runtime", lambda: runtime)
    return FakeRuntime


SETTING: Any = SimpleNamespace(net=SimpleNamespace(device=torch.device("cpu")))


@pytest.mark.parametrize("error", [None, KeyboardInterrupt, FederatedError])
def test_it_stops_whatever_happens(
    error: type[BaseException] | None, fake: type[FakeRuntime]
) -> None:
    def job(train: object) -> str:
        if error is not None:
            raise error("mine")
        return "done"

    engine = Flower(workers=3)
    if error is None:
        assert engine.session(SETTING, job) == "done"
    else:
        with pytest.raises(error, match="mine"):
            engine.session(SETTING, job)
    assert fake.log == ["start 3", "give", "stop"]


def test_it_is_started_once_inside_with(fake: type[FakeRuntime]) -> None:
    with Flower() as engine:
        for _ in range(2):
            engine.session(SETTING, lambda train: None)
    assert fake.log == ["start None", "give", "give", "stop"]


def test_it_is_not_used_again_when_devices_have_not_answered(fake: type[FakeRuntime]) -> None:
    def job(train: Any) -> None:
        train.args[0].busy = True
        raise KeyboardInterrupt

    with Flower() as engine:
        with pytest.raises(KeyboardInterrupt):
            engine.session(SETTING, job)
        assert fake.log == ["start None", "give", "stop"]
        engine.session(SETTING, lambda train: None)
    assert fake.log[3:] == ["start None", "give", "stop"]


@pytest.mark.parametrize("missing", ["flwr", "ray"])
def test_what_is_missing_is_said(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in sys.modules if n.split(".")[0] == missing]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.delitem(sys.modules, "tinykit.federated.engines.flower_runtime", raising=False)
    with pytest.raises(MissingToolError, match=r"pip install 'tinyml-kit\[flower\]'"):
        simulation(FedAvg(), "flower").run(1)


def test_mistakes_are_said() -> None:
    with pytest.raises(FederatedError, match="at least one worker, got 0"):
        Flower(workers=0)
    with pytest.raises(FederatedError, match="timeout must be above 0 s, got 0"):
        Flower(timeout=0)
    elsewhere: Any = SimpleNamespace(net=SimpleNamespace(device=torch.device("cuda")))
    with pytest.raises(FederatedError, match="the model is on cuda"):
        Flower().session(elsewhere, lambda train: None)


def test_nothing_of_flower_is_imported_before_it_is_used() -> None:
    source = (
        "import sys; from tinykit.federated import Simulation, Flower; Flower();"
        "assert not {'flwr', 'ray', 'tensorflow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", source], check=True)

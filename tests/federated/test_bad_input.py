"""Foreseeable mistakes: an error in words, from the kit, that names what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.federated.world import digits, federation, mlp, normed
from tinykit.data.federation import Federation
from tinykit.data.types import Split
from tinykit.federated import (
    MAML,
    ClientError,
    Cohort,
    Device,
    Faults,
    FedAdam,
    FedAvg,
    FedAvgM,
    FedBN,
    FedDyn,
    FederatedError,
    FedProx,
    Guard,
    Local,
    Prototypes,
    Reply,
    Scaffold,
    Sequential,
    Simulation,
    Vectorised,
)

NAN, INF = float("nan"), float("inf")
ENGINES = ("sequential", "vectorised")
LOCAL = Local(steps=2, batch=8, lr=0.1)


def make(model: Any = None, of: Any = None, strategy: Any = None, **given: Any) -> Simulation:
    settings = {"local": LOCAL, "cohort": 3, **given}
    return Simulation(model or mlp(), of or federation(), strategy, **settings)


@pytest.mark.parametrize(
    ("kind", "name", "values"),
    [
        (Local, "steps", (0, -1, 1.5, 2.0, NAN, INF, True, "2")),
        (Local, "epochs", (0, -1, 0.5, NAN)),
        (Local, "batch", (0, -8, 7.5, NAN, INF, True)),
        (Local, "lr", (0, -0.1, NAN, INF, "0.1", True)),
        (Local, "decay", (0, -1, NAN, INF)),
        (Local, "weight_decay", (-1e-9, NAN, INF)),
        (Local, "clip", (0, -1, NAN, INF)),
        (Faults, "dropout", (-0.1, 1.1, NAN, True)),
        (Faults, "nan", (-0.1, 1.1, NAN)),
        (Faults, "scale", (NAN, INF, -1)),
        (Guard, "outlier", (1, 0, -3, NAN, INF)),
        (FedProx, "mu", (-1, NAN, INF, "1")),
        (FedAvgM, "momentum", (1, -0.1, NAN)),
        (FedAvgM, "server_lr", (0, -1, NAN, INF)),
        (FedAdam, "server_lr", (0, NAN)),
        (FedAdam, "beta1", (1, -0.1, NAN)),
        (FedAdam, "beta2", (1, -0.1, NAN)),
        (FedAdam, "tau", (0, -1, NAN, INF)),
        (Scaffold, "server_lr", (0, -1, NAN, INF)),
        (FedDyn, "alpha", (0, -1, NAN, INF)),
        (MAML, "steps", (-1, 1.5, NAN, True)),
        (MAML, "lr", (0, -1, NAN, INF)),
        (Prototypes, "classes", (1, 0, 2.5, NAN)),
        (Cohort, "devices", (-1, 1.5, NAN, True)),
        (Cohort, "share", (-0.5, 1.5, NAN, INF)),
        (Sequential, "workers", (0, -1, 1.5)),
        (Vectorised, "chunk", (0, -1, 1.5)),
    ],
)
def test_settings_out_of_range(kind: Callable[..., object], name: str, values: tuple) -> None:
    for value in values:
        with pytest.raises(FederatedError, match=r"must be|needs") as caught:
            kind(**{name: value})
        assert name in str(caught.value)
        assert repr(value) in str(caught.value)


def test_settings_that_contradict() -> None:
    with pytest.raises(FederatedError, match="steps or epochs"):
        Local(steps=2, epochs=1)
    with pytest.raises(FederatedError, match="together at most 1"):
        Faults(dropout=0.6, nan=0.6)
    with pytest.raises(FederatedError, match=r"devices=3, share=0\.5"):
        Cohort(devices=3, share=0.5)
    with pytest.raises(FederatedError, match="'fixed' or 'poisson'"):
        Cohort(devices=3, sampling="uniform")  # type: ignore[arg-type]


@pytest.mark.parametrize("cohort", [0, 0.0, -1, 1.5, -0.5, 7, True, NAN, "3", None, 10**9])
def test_cohorts_that_cannot_be(cohort: Any) -> None:
    with pytest.raises(FederatedError, match="cohort"):
        make(cohort=cohort)


def test_empty_devices_are_never_asked() -> None:
    of = federation((0, 9, 0, 4, 12))
    simulation = make(of=of, cohort=1.0, strategy=FedDyn())
    simulation.run(3, progress=False)
    assert set(simulation.memories.rows) == {1, 3, 4}
    assert all(row.asked == 3 for row in simulation.history)
    with pytest.raises(FederatedError, match=r"more than the 3 devices of .* that hold examples"):
        make(of=of, cohort=4)
    with pytest.raises(FederatedError, match="no device holds an example"):
        make(of=federation((0, 0)))


def test_empty_devices_do_not_slow_the_others_down() -> None:
    """m in "1/m" counts those that can take part."""
    for strategy in (FedDyn(), Scaffold()):
        a = make(of=federation((9, 4, 12)), cohort=1.0, strategy=strategy)
        parts = a.federation.train
        padded = replace(a.federation, train=(*parts, *(np.zeros(0, np.int64),) * 5), test=())
        b = make(of=padded, cohort=1.0, strategy=strategy)
        a.run(3, progress=False)
        b.run(3, progress=False)
        assert torch.equal(a.weights(), b.weights())


class Tuple(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = mlp()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.inner(x), x


def cumulative() -> nn.Module:
    model = normed()
    model[1].momentum = None
    return model


def poisoned() -> nn.Module:
    model = mlp()
    model[1].weight.data[0, 0] = NAN
    return model


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(9, 10)), r"does not take .* \(1, 8, 8\)"),
        (lambda: nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.LazyLinear(10)), "call the mo"),
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 7)), r"\(2, 7\).* 10 classes"),
        (lambda: nn.Sequential(nn.Linear(8, 10)), r"\(2, 1, 8, 10\) for 2 examples"),
        (lambda: nn.Sequential(nn.Flatten()), "no parameters"),
        (lambda: mlp().requires_grad_(False), "all are frozen"),
        (lambda: mlp().double(), r"1\.weight.* must be float32"),
        (lambda: mlp().half(), "must be float32"),
        (Tuple, "returns a tuple"),
        (cumulative, "cumulative average"),
        (poisoned, r"1\.weight of the model holds NaN"),
        (lambda: "mlp", r"must be a torch\.nn\.Module, got 'mlp'"),
        (lambda: nn.Linear, r"must be a torch\.nn\.Module"),
    ],
)
def test_models_that_do_not_fit(model: Callable[[], Any], says: str) -> None:
    with pytest.raises(FederatedError, match=says):
        make(model())


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"strategy": FedAvg}, "strategy must be a Strategy"),
        ({"strategy": "FedAvg"}, "strategy must be a Strategy, got 'FedAvg'"),
        ({"strategy": FedAvg(customise=MAML)}, "customise must be a Customise"),  # type: ignore[arg-type]
        ({"strategy": FedAvg(customise=Prototypes(classes=5))}, r"Prototypes\(classes=10\)"),
        ({"strategy": FedBN()}, "has none: use FedAvg"),
        ({"local": {"steps": 2}}, "local must be a Local"),
        ({"faults": 0.5}, "faults must be a Faults"),
        ({"guard": True}, "guard must be a Guard"),
        ({"personalise": "MAML"}, "personalise must be a Customise"),
        ({"test": 3}, "test must be a Split"),
        ({"engine": "ray"}, "no engine 'ray'; there are sequential"),
        ({"engine": 3}, "no engine 3"),
        ({"seed": -1}, "seed must be a whole number, 0 or more; got -1"),
        ({"seed": 0.5}, "seed must be"),
        ({"evaluate_every": 0}, "evaluate_every must be"),
        ({"evaluate_devices": -1}, "evaluate_devices .* must be"),
        ({"on_error": "ignore"}, "on_error is 'raise' or 'drop'"),
        ({"device": "gpu"}, "device is 'cpu' or 'cuda', got 'gpu'"),
    ],
)
def test_arguments_that_do_not_fit(given: dict[str, Any], says: str) -> None:
    with pytest.raises(FederatedError, match=says):
        make(**given)


def test_federation_of_another_type() -> None:
    with pytest.raises(FederatedError, match="federation must be a Federation"):
        Simulation(mlp(), digits())  # type: ignore[arg-type]


def test_prototypes_need_a_linear_layer() -> None:
    model = nn.Sequential(nn.Conv2d(1, 10, 8), nn.Flatten())
    make(model)
    with pytest.raises(FederatedError, match="this model has none"):
        make(model, strategy=FedAvg(customise=Prototypes()))
    with pytest.raises(FederatedError, match="this model has none"):
        make(model, personalise=Prototypes())


def changed(x: Callable[[np.ndarray], Any] = np.copy, y: Callable[[np.ndarray], Any] = np.copy):
    split = digits().train
    return Split(x(split.x), y(split.y))


@pytest.mark.parametrize("where", ["pool", "test"])
@pytest.mark.parametrize(
    ("split", "says"),
    [
        (changed(y=lambda y: y + 1), "labels of {} lie between 1 and 10"),
        (changed(y=lambda y: y - 1), "labels of {} lie between -1 and 8"),
        (changed(y=lambda y: y.astype(np.int32)), "{} needs float32 examples and int64"),
        (changed(x=lambda x: x.astype(np.float64)), "{} needs float32 examples and int64"),
        (changed(x=lambda x: np.where(x > 0.9, np.nan, x).astype(np.float32)), "{} hold NaN"),
    ],
)
def test_data_that_do_not_fit(where: str, split: Split, says: str) -> None:
    of = federation()
    if where == "pool":
        given = {"of": Federation(of.name, of.spec, split, of.train)}
    else:
        given = {"test": split}
    with pytest.raises(FederatedError, match=says.format(where)):
        make(**given)


def test_test_examples_of_another_shape_or_none() -> None:
    split = digits().test
    with pytest.raises(FederatedError, match=r"of \(1, 4, 8\) \(C, H, W\)"):
        make(test=Split(split.x[:, :4], split.y))
    with pytest.raises(FederatedError, match="test has 0 examples"):
        make(test=Split(split.x[:0], split.y[:0]))


class TestRun:
    @pytest.mark.parametrize("rounds", [-1, 1.5, NAN, True, "3"])
    def test_rounds(self, rounds: Any) -> None:
        with pytest.raises(FederatedError, match="rounds must be"):
            make().run(rounds)

    @pytest.mark.parametrize("every", [0, -1, 1.5])
    def test_checkpoint_every(self, every: Any) -> None:
        with pytest.raises(FederatedError, match="checkpoint_every must be"):
            make().run(1, checkpoint_every=every)

    def test_until(self) -> None:
        with pytest.raises(FederatedError, match=r"Simulation\(test=data\.test\)"):
            make().run(3, until=0.9)
        for until in (90, -0.1, NAN):
            with pytest.raises(FederatedError, match="until must be"):
                make(test=digits().test).run(3, until=until)

    def test_until_holds_for_a_run_that_goes_on(self) -> None:
        run = make(test=digits().test, cohort=6)
        run.run(50, until=0.3, progress=False)
        done = run.done
        assert 0 < done < 50
        run.run(50, until=0.3, progress=False)
        assert run.done == done
        run.run(done + 2, progress=False)
        assert run.done == done + 2

    def test_no_such_device(self) -> None:
        run = make(of=federation((9, 4), test=3), cohort=2)
        for device in (-1, 2):
            with pytest.raises(FederatedError, match=f"no device {device}"):
                run.model(device)
            with pytest.raises(FederatedError, match=f"no device {device}"):
                run.device_accuracy([device])
        with pytest.raises(FederatedError, match="has no test parts"):
            make(of=replace(federation(), test=())).device_accuracy()
        with pytest.raises(FederatedError, match=r"needs Simulation\(test"):
            run.accuracy()

    def test_device_without_test_examples(self) -> None:
        of = federation((9, 4), test=3)
        bare = replace(of, test=(of.test[0], np.zeros(0, np.int64)))
        run = make(of=bare, cohort=2)
        assert set(run.device_accuracy()) == {0}
        with pytest.raises(FederatedError, match=r"devices \[1\] hold no examples"):
            run.device_accuracy([1])


class Wrong(FedDyn):
    """A client function that is right but for what a test puts in its place, on device 3 alone."""

    put: Callable[[Device, Reply], object]

    def client(self, device: Device) -> Reply:
        return type(self).put(device, super().client(device))  # type: ignore[return-value]


def raises(device: Device, reply: Reply) -> object:
    raise ZeroDivisionError("no battery")


WRONG: dict[str, tuple[Callable[[Device, Reply], object], str]] = {
    "raises": (raises, "ZeroDivisionError: no battery"),
    "None": (lambda d, r: None, "returned a NoneType; it must return a Reply"),
    "tensor": (lambda d, r: r.model, "returned a Tensor"),
    "shape": (lambda d, r: replace(r, model=r.model[:-1]), r"has shape \(\d+,\), expected \(\d+,"),
    "matrix": (lambda d, r: replace(r, model=r.model[None]), r"has shape \(1, \d+\)"),
    "double": (lambda d, r: replace(r, model=r.model.double()), "is torch.float64, expected"),
    "list": (lambda d, r: replace(r, model=[1.0]), "model is a list, not a tensor"),
    "no memory": (lambda d, r: replace(r, memory={}), r"memory has \[\], Wrong declares .*dual"),
    "more memory": (
        lambda d, r: replace(r, memory={**r.memory, "more": r.model}),
        r"memory has \['dual', 'more'\]",
    ),
    "memory's shape": (
        lambda d, r: replace(r, memory={"dual": r.model[:3]}),
        r"memory\['dual'\] has shape \(3,\)",
    ),
    "memory's type": (lambda d, r: replace(r, memory=r.model), "memory is a Tensor; it is a dict"),
    "undeclared": (lambda d, r: replace(r, sent={"x": r.model}), r"sent has \['x'\]"),
    "torch": (lambda d, r: r.model @ r.model[:-1], "RuntimeError: .*size"),
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("what", WRONG)
def test_client_functions_that_fail(what: str, engine: str) -> None:
    put, says = WRONG[what]
    strategy = type("Wrong", (Wrong,), {"put": staticmethod(put)})()
    run = make(strategy=strategy, engine=engine)
    before = run.fingerprint()
    first = run.cohort.draw(run.federation, 0, 0)[0]
    with pytest.raises(ClientError, match=rf"device {first} failed in round 1: .*{says}"):
        run.run(2, progress=False)
    assert run.fingerprint() == before
    assert run.done == 0
    # dropped instead: nobody answers, the model stays, and the history says why
    run = make(strategy=strategy, engine=engine, on_error="drop")
    run.run(2, progress=False)
    assert run.fingerprint() == before
    assert [row.answered for row in run.history] == [0, 0]
    assert len(run.history[0].failed) == 3


@pytest.mark.parametrize("engine", ENGINES)
def test_one_device_that_fails_among_others(engine: str) -> None:
    """Told apart on both engines, and left out without a trace on the others."""

    class Small(FedAvg):
        def client(self, device: Device) -> Reply:
            if device.examples < 10:
                raise ValueError("too few")
            return super().client(device)

    of = federation()
    run = make(of=of, strategy=Small(), engine=engine, on_error="drop", cohort=1.0)
    run.run(1, progress=False)
    assert run.history[0].failed == dict.fromkeys((0, 4), "ValueError: too few")
    rest = replace(of, train=tuple(p if len(p) >= 10 else p[:0] for p in of.train), test=())
    want = make(of=rest, engine="sequential", cohort=1.0)
    want.run(1, progress=False)
    assert torch.equal(run.weights(), want.weights())
    with pytest.raises(ClientError, match="device 0 failed in round 1: ValueError: too few"):
        make(of=of, strategy=Small(), engine=engine, cohort=1.0).run(1, progress=False)


def test_a_client_that_branches_needs_the_sequential_engine() -> None:
    class Branches(FedAvg):
        def client(self, device: Device) -> Reply:
            model = device.sgd()
            return Reply(model if model.sum() > -1e9 else device.start)

    make(strategy=Branches(), engine="sequential").run(1, progress=False)
    for on_error in ("raise", "drop"):
        run = make(strategy=Branches(), engine="vectorised", on_error=on_error)
        with pytest.raises(ClientError, match=r"round 1: .* one by one, but not all at once") as e:
            run.run(1, progress=False)
        assert "engine='sequential'" in str(e.value)


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (lambda s, r: 1 / 0, "aggregate failed in round 1: ZeroDivisionError"),
        (lambda s, r: {}, r"returned \[\]; it declares \['model'\]"),
        (lambda s, r: {**s, "more": s["model"]}, r"returned \['model', 'more'\]"),
        (
            lambda s, r: {"model": s["model"][:-1]},
            r"returned 'model' as torch.float32 \(\d+,\); it",
        ),
        (lambda s, r: {"model": s["model"].double()}, "returned 'model' as torch.float64"),
        (lambda s, r: {"model": s["model"] * NAN}, "grew past all bounds in round 1"),
        (lambda s, r: {"model": r.sent["control"]}, "failed in round 1: KeyError: 'control'"),
    ],
)
def test_servers_that_fail(made: Callable[..., Any], says: str) -> None:
    class Odd(FedAvg):
        def aggregate(self, server, replies, devices):  # type: ignore[no-untyped-def]
            return made(server, replies)

    run = make(strategy=Odd())
    before = run.fingerprint()
    with pytest.raises(FederatedError, match=says):
        run.run(1, progress=False)
    assert run.fingerprint() == before


def test_batch_norm_of_a_single_example() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.BatchNorm1d(4), nn.Linear(4, 10))
    with pytest.raises(ClientError, match=r"device 1 failed in round 1: .*more than 1 value"):
        make(model, federation((4, 1)), local=Local(steps=1, batch=4), cohort=2,
             engine="sequential").run(1, progress=False)  # fmt: skip

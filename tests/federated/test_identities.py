"""Algorithms that must coincide, bit for bit, and memories that must not be touched."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.federated.oracles import World
from tests.federated.world import ALGORITHMS, NORMED, federation, mlp, normed, vector
from tinykit.federated import (
    MAML,
    Cohort,
    Faults,
    FedAvg,
    FedAvgM,
    FedDyn,
    FedProx,
    Identity,
    Local,
    Scaffold,
    Simulation,
    Strategy,
)
from tinykit.federated.simulation import Round

LOCAL = Local(steps=3, batch=8, lr=0.2, decay=0.9, weight_decay=1e-3, clip=1.5)
ENGINES = ("sequential", "vectorised")


def ended(strategy: Strategy, engine: str = "sequential", **given: object) -> Simulation:
    settings = {"local": LOCAL, "cohort": 3, "seed": 1, **given}
    simulation = Simulation(mlp(), federation(), strategy, engine=engine, **settings)
    simulation.run(4, progress=False)
    return simulation


def same(a: Simulation, b: Simulation) -> bool:
    return torch.equal(a.weights(), b.weights()) and a.history.to_state() == b.history.to_state()


@pytest.mark.parametrize("engine", ENGINES)
class TestCoincide:
    def test_fedprox_without_a_spring_is_fedavg(self, engine: str) -> None:
        assert same(ended(FedProx(mu=0.0), engine), ended(FedAvg(), engine))
        assert not same(ended(FedProx(mu=0.01), engine), ended(FedAvg(), engine))

    def test_fedavgm_without_momentum_is_fedavg(self, engine: str) -> None:
        a = ended(FedAvgM(momentum=0.0, server_lr=1.0), engine).weights()
        b = ended(FedAvg(), engine).weights()
        assert (a - b).abs().max() <= 1e-6  # w + (mean − w) rounds

    def test_pfldyn_with_identity_is_feddyn(self, engine: str) -> None:
        a, b = ended(FedDyn(customise=Identity()), engine), ended(FedDyn(), engine)
        assert same(a, b)
        assert a.fingerprint() == b.fingerprint()

    @pytest.mark.parametrize("strategy", [FedAvg, FedDyn, Scaffold])
    def test_maml_without_steps_is_identity(self, strategy: type[Strategy], engine: str) -> None:
        a = ended(strategy(customise=MAML(steps=0)), engine)
        b = ended(strategy(), engine)
        assert a.fingerprint() == b.fingerprint()
        c = ended(strategy(customise=MAML(steps=1)), engine)
        assert c.fingerprint() != b.fingerprint()

    def test_first_order_maml_differs_in_the_second_order_only(self, engine: str) -> None:
        def gap(lr: float) -> float:
            both = [
                ended(FedAvg(customise=MAML(1, lr, first_order=first)), engine)
                for first in (True, False)
            ]
            return float((both[0].weights() - both[1].weights()).abs().max())

        # the Hessian's term is as large as the inner step
        assert 5 < gap(0.02) / gap(0.002) < 15


def test_one_device_is_plain_sgd() -> None:
    """FedAvg of one device, all of it taking part, is torch's own SGD, to the bit."""
    one = federation((23,))
    local = Local(steps=7, batch=8, lr=0.2, decay=0.9, weight_decay=1e-3)
    simulation = Simulation(mlp(), one, FedAvg(), local=local, engine="sequential")
    simulation.run(3, progress=False)
    model = mlp()
    of = World(one, local, cohort=1, rounds=3, seed=0)
    for r in range(3):
        sgd = torch.optim.SGD(model.parameters(), lr=local.lr_in(r), weight_decay=1e-3)
        for (x, y), _ in of.batches(r, 0):
            sgd.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            sgd.step()
    assert torch.equal(simulation.weights(), vector(model))


FAULTS = Faults(dropout=0.25, nan=0.25)


def unchanged_but_of_those_that_answered(simulation: Simulation, rounds: int) -> int:
    """Checks each round; how many memories there were to leave alone."""
    devices = range(len(simulation.federation))
    before: dict[int, dict[str, torch.Tensor]] = {}
    spared = 0

    def look(run: Simulation, row: Round) -> None:
        nonlocal before, spared
        asked = run.cohort.draw(run.federation, run.seed, row.number - 1)
        answered = set(asked) - set(row.failed)
        assert len(answered) == row.answered
        now = {d: run.memories.get(d, {}) for d in devices if d in run.memories.rows}
        now = {d: {n: v.clone() for n, v in m.items()} for d, m in now.items()}
        for device in devices:
            old, new = before.get(device, {}), now.get(device, {})
            if device in answered:
                assert set(new) == set(run.strategy.memory)
                if new:
                    assert not old or any(not torch.equal(old[n], new[n]) for n in new)
            else:
                assert set(old) == set(new)
                assert all(torch.equal(old[n], new[n]) for n in old)
                spared += len(old)
        before = now

    simulation.run(rounds, on_round=look, progress=False)
    return spared


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", [*ALGORITHMS, *NORMED])
def test_memories_of_others_are_untouched(name: str, engine: str) -> None:
    strategy = (ALGORITHMS | NORMED)[name]
    of = federation((8, 16, 24, 16, 8, 8)) if name in NORMED else federation()
    simulation = Simulation(
        normed() if name in NORMED else mlp(), of, strategy, local=Local(steps=2, batch=8),
        cohort=Cohort(devices=3, sampling="poisson"), faults=FAULTS, engine=engine, seed=3,
    )  # fmt: skip
    spared = unchanged_but_of_those_that_answered(simulation, 10)
    assert any(row.failed for row in simulation.history)
    assert (spared > 10) == bool(strategy.memory)
    # only what is declared is kept, and only of devices that once answered
    assert set(simulation.server) == {"model", *strategy.shared, *strategy.private} | (
        {"mean"} if isinstance(strategy, FedDyn) else set()
    )
    assert set(simulation.memories._table) == set(strategy.memory)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_client_that_writes_into_what_it_is_given_spoils_nobody_elses(engine: str) -> None:
    class Careless(FedAvg):
        def client(self, device):  # type: ignore[no-untyped-def]
            reply = super().client(device)
            device.start.mul_(0.0)
            return reply

    assert torch.equal(ended(Careless(), engine).weights(), ended(FedAvg(), engine).weights())

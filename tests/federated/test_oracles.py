"""Every algorithm against a plain loop written from its paper, on both engines.

Agreement of single-precision runs over four rounds: 2e-6 at most (absolute, parameters of order
0.1), which the clip's epsilon in torch and the order of sums explain.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tests.federated import oracles
from tests.federated.oracles import Weights, World
from tests.federated.world import ALGORITHMS, federation, mlp, normed, vector
from tinykit.federated import FedAvg, FedBN, Local, Scaffold, Simulation, Strategy

LOCAL = Local(steps=4, batch=8, lr=0.2, decay=0.9, weight_decay=1e-3, clip=1.5)
ENGINES = ("sequential", "vectorised")
CLOSE = 2e-6


def world(local: Local = LOCAL, **given: int) -> World:
    return World(federation(), local, **{"cohort": 3, "rounds": 4, "seed": 4, **given})


def run(strategy: Strategy, of: World, engine: str, model: nn.Module | None = None) -> Simulation:
    simulation = Simulation(
        model or mlp(), of.federation, strategy, local=of.local, cohort=of.cohort, seed=of.seed,
        engine=engine,
    )  # fmt: skip
    simulation.run(of.rounds, progress=False)
    return simulation


def flat(weights: Weights) -> Tensor:
    return torch.cat([w.detach().reshape(-1) for w in weights])


def start() -> Weights:
    return [p.detach().clone() for p in mlp().parameters()]


INNER = oracles.maml(2, 0.05)
#: name → the weights that people use after the oracle's run
PLAIN: dict[str, Callable[[World], Weights]] = {
    "FedAvg": lambda w: oracles.fedavg(w, start()),
    "FedProx": lambda w: oracles.fedavg(w, start(), mu=0.3),
    "FedAvgM": lambda w: oracles.fedavgm(w, start(), 0.7, 0.8),
    "FedAdam": lambda w: oracles.fedadam(w, start(), 0.02, 0.9, 0.99, 1e-3),
    "SCAFFOLD": lambda w: oracles.scaffold(w, start(), 0.9)[0],
    "FedDyn": lambda w: oracles.feddyn(w, start(), 0.2)[0],
    "Per-FedAvg": lambda w: oracles.fedavg(w, start(), INNER),
    "PFLDyn-MAML": lambda w: oracles.feddyn(w, start(), 0.2, INNER)[0],
    "PFLDyn-prototypes": lambda w: oracles.feddyn(w, start(), 0.2, oracles.prototypes)[0],
    "PFLScaf": lambda w: oracles.scaffold(w, start(), 1.0, INNER)[0],
}


def test_each_algorithm_has_an_oracle() -> None:
    assert set(PLAIN) == set(ALGORITHMS)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize(
    "local", [LOCAL, Local(epochs=1, batch=6, lr=0.2)], ids=["steps", "epochs"]
)
def test_same_as_the_plain_loop(name: str, engine: str, local: Local) -> None:
    want = flat(PLAIN[name](world(local)))
    got = run(ALGORITHMS[name], world(local), engine).weights()
    moved = (want - flat(start())).abs().max()
    assert moved > 1e-2
    assert (got - want).abs().max() <= CLOSE


def test_algorithms_differ() -> None:
    """Agreement would mean little if they all did the same."""
    ends = [flat(oracle(world())) for oracle in PLAIN.values()]
    gaps = [(a - b).abs().max() for k, a in enumerate(ends) for b in ends[:k]]
    assert min(gaps) > 100 * CLOSE


@pytest.mark.parametrize("recover", [False, True])
@pytest.mark.parametrize("engine", ENGINES)
def test_scaffold_controls(engine: str, recover: bool) -> None:
    of = world()
    w, c, own = oracles.scaffold(of, start(), 0.9)
    simulation = run(Scaffold(server_lr=0.9, recover=recover), of, engine)
    assert (simulation.weights() - flat(w)).abs().max() <= CLOSE
    zero = {"control": torch.zeros_like(simulation.weights())}
    mine = torch.stack(
        [simulation.memories.get(i, zero)["control"] for i in range(len(of.federation))]
    )
    assert (mine - torch.stack([flat(ci) for ci in own])).abs().max() <= 1e-5
    assert (simulation.server["control"] - flat(c)).abs().max() <= 1e-5
    assert mine.abs().max() > 1e-2
    # the invariant that makes the corrections cancel: c is the mean of all c_i
    assert (simulation.server["control"] - mine.mean(0)).abs().max() <= 1e-6


@pytest.mark.parametrize("engine", ENGINES)
def test_feddyn_duals(engine: str) -> None:
    of = world()
    _, sent, h, slopes = oracles.feddyn(of, start(), 0.2)
    simulation = run(ALGORITHMS["FedDyn"], of, engine)
    zero = {"dual": torch.zeros_like(simulation.weights())}
    mine = torch.stack(
        [simulation.memories.get(i, zero)["dual"] for i in range(len(of.federation))]
    )
    assert (mine - torch.stack([flat(s) for s in slopes])).abs().max() <= CLOSE
    assert (simulation.server["dual"] - flat(h)).abs().max() <= CLOSE
    assert (simulation.server["model"] - flat(sent)).abs().max() <= 5 * CLOSE
    assert mine.abs().max() > 1e-2
    # what the server infers is what devices hold: h is the mean of λ over all of them
    assert (simulation.server["dual"] - mine.mean(0)).abs().max() <= 1e-6


#: batch norm needs full minibatches on the vectorised engine
EVEN = (8, 16, 24, 16, 8)


@pytest.mark.parametrize("engine", ENGINES)
def test_fedbn(engine: str) -> None:
    local = Local(steps=4, batch=8, lr=0.1, decay=0.9, weight_decay=1e-3)
    of = World(federation(EVEN), local, cohort=3, rounds=4, seed=2)
    shared, kept = oracles.fedbn(of, normed())
    simulation = run(FedBN(), of, engine, normed())
    assert len(kept) == len(EVEN)
    for device, module in kept.items():
        mine = simulation.model(device).state_dict()
        state = shared.state_dict()
        want = {n: v if n.startswith("1.") else state[n] for n, v in module.state_dict().items()}
        for name, value in want.items():
            if value.is_floating_point():
                assert (mine[name] - value).abs().max() <= CLOSE, name
    spread = torch.stack([m.state_dict()["1.running_mean"] for m in kept.values()]).std(0)
    assert spread.max() > 1e-2


@pytest.mark.parametrize("engine", ENGINES)
def test_fedavg_averages_batch_norm_statistics(engine: str) -> None:
    local = Local(steps=4, batch=8, lr=0.1, decay=0.9, weight_decay=1e-3)
    of = World(federation(EVEN), local, cohort=3, rounds=4, seed=2)
    want = oracles.fedavg_module(of, normed())
    mine = run(FedAvg(), of, engine, normed()).model()
    assert (vector(mine) - vector(want)).abs().max() <= CLOSE
    for name, value in want.state_dict().items():
        if value.is_floating_point():
            assert (mine.state_dict()[name] - value).abs().max() <= CLOSE, name

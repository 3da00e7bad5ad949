"""On least squares, whose optimum a solver finds: FedDyn and SCAFFOLD get there, FedAvg does not.

The theory's promise in one number. Devices' optima lie apart, they do many local steps, and some
are asked in a round.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tinykit.data.federation import Federation
from tinykit.data.types import DataSpec, Split
from tinykit.federated import FedAvg, FedDyn, FedProx, Local, Scaffold, Simulation, Strategy

DEVICES, EACH, FEATURES = 6, 12, 4


def squares(logits: Tensor, y: Tensor) -> Tensor:
    target = (y[:, None] == torch.arange(2)).to(logits.dtype)
    return ((logits - target) ** 2).sum(1) / 2


def problem() -> Federation:
    """Each device sees inputs scaled its own way and labels by a rule of its own."""
    rng = np.random.default_rng(3)
    scales = rng.uniform(0.4, 1.6, (DEVICES, 1, FEATURES))
    x = rng.standard_normal((DEVICES, EACH, FEATURES)) * scales
    rule = rng.standard_normal((DEVICES, FEATURES, 1))
    y = (x @ rule)[..., 0] > 0
    pool = Split(x.reshape(-1, 1, 1, FEATURES).astype(np.float32), y.reshape(-1).astype(np.int64))
    parts = tuple(np.arange(DEVICES * EACH).reshape(DEVICES, EACH))
    return Federation("squares", DataSpec("squares", (1, 1, FEATURES), ("no", "yes")), pool, parts)


def linear() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(FEATURES, 2))


def optimum(federation: Federation) -> np.ndarray:
    """Where the mean over devices of their mean losses is least: one least-squares solution."""
    x = federation.pool.x.reshape(-1, FEATURES).astype(np.float64)
    inputs = np.hstack([x, np.ones((len(x), 1))])
    solution = np.linalg.lstsq(inputs, np.eye(2)[federation.pool.y], rcond=None)[0]
    return np.concatenate([solution[:FEATURES].T.reshape(-1), solution[FEATURES]])


def distance(strategy: Strategy, cohort: int, rounds: int) -> tuple[float, Simulation]:
    federation = problem()
    simulation = Simulation(
        linear(), federation, strategy, local=Local(steps=8, batch=EACH, lr=0.3), cohort=cohort,
        loss=squares, engine="vectorised",
    )  # fmt: skip
    simulation.run(rounds, progress=False)
    best = optimum(federation)
    return float(np.linalg.norm(simulation.weights().numpy() - best)), simulation


def test_averaging_stops_short() -> None:
    away, _ = distance(FedAvg(), DEVICES, 30)
    assert away > 0.03
    prox, _ = distance(FedProx(mu=1.0), DEVICES, 30)
    assert prox > 0.01


@pytest.mark.parametrize("cohort", [DEVICES, 3])
@pytest.mark.parametrize("strategy", [FedDyn(alpha=0.6), Scaffold()], ids=["FedDyn", "SCAFFOLD"])
def test_corrections_reach_the_optimum(strategy: Strategy, cohort: int) -> None:
    away, _ = distance(strategy, cohort, 40 if cohort == DEVICES else 100)
    assert away < 1e-4


def test_feddyn_fixed_point() -> None:
    """There λᵢ is device i's gradient at the optimum, and they add up to nothing."""
    _, simulation = distance(FedDyn(alpha=0.6), DEVICES, 40)
    federation = problem()
    duals = torch.stack([simulation.memories.get(i, {})["dual"] for i in range(DEVICES)])
    model = linear()
    best = torch.tensor(optimum(federation), dtype=torch.float32)
    nn.utils.vector_to_parameters(best, model.parameters())
    for device in range(DEVICES):
        own = federation.device(device)
        x, y = torch.tensor(own.x).permute(0, 3, 1, 2), torch.tensor(own.y)
        slopes = torch.autograd.grad(squares(model(x), y).mean(), list(model.parameters()))
        want = torch.cat([s.reshape(-1) for s in slopes])
        assert want.norm() > 1e-2
        assert (duals[device] - want).norm() < 1e-3
    assert duals.sum(0).norm() < 1e-4
    assert simulation.server["dual"].norm() < 1e-4

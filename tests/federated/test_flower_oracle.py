"""Flower's own strategies, and a plain Flower program, as the oracle. No Ray here: it is quick."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
import torch

from tinykit.federated import FedAdam, FedAvg, FedAvgM, Local, Replies, Simulation, Strategy

if find_spec("flwr") is None:
    pytest.skip("needs the extra `flower`", allow_module_level=True)

from tests.federated import flower_program as program
from tests.federated.flower_program import (
    Array,
    ArrayRecord,
    ConfigRecord,
    Message,
    MetricRecord,
    RecordDict,
    theirs,
)

SIZES = (10, 35, 20, 7, 50)


@pytest.mark.parametrize("weight_decay", [0.0, 1e-3])
@pytest.mark.parametrize(("network", "batch"), [("mlp", 8), ("cnn", 32)])
def test_fedavg_is_that_of_flower_bit_for_bit(
    network: str, batch: int, weight_decay: float
) -> None:
    """Flower's FedAvg and ClientApps that train with `torch.optim.SGD`, against a simulation."""
    local = Local(epochs=1, batch=batch, lr=0.1, weight_decay=weight_decay)
    world = program.World(network, SIZES, local)
    grid = program.LocalGrid(program.client_app(world), len(SIZES))
    expected = torch.cat([v.reshape(-1) for v in program.rounds(world, grid, 3).values()])

    def weights(engine: str) -> torch.Tensor:
        run = Simulation(
            program.network(world), program.federation(world), local=local, engine=engine
        )
        run.run(3)
        return run.weights()

    assert not torch.equal(expected, Simulation(
        program.network(world), program.federation(world), local=local
    ).weights())  # fmt: skip
    assert program.sha256([weights("sequential")]) == program.sha256([expected])
    assert (weights("vectorised") - expected).abs().max() < 1e-6


class _Nodes(program.LocalGrid):
    def __init__(self) -> None:
        super().__init__(program.ClientApp(), len(SIZES))


def replies(rng: np.random.Generator, start: torch.Tensor) -> Replies:
    models = start + torch.from_numpy(rng.normal(0, 0.1, (len(SIZES), len(start)))).float()
    return Replies(
        tuple(range(len(SIZES))),
        models,
        torch.zeros(len(SIZES), 0),
        {},
        {},
        torch.tensor(SIZES),
        torch.ones(len(SIZES), dtype=torch.int64),
        torch.zeros(len(SIZES)),
        0.1,
    )


def messages(asked: Iterable[Message], given: Replies) -> Iterator[Message]:
    for message, model, size in zip(asked, given.model, given.examples.tolist(), strict=True):
        metrics = MetricRecord({"num-examples": size})
        arrays = ArrayRecord({"model": Array(model.numpy())})
        yield Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)


class _Zeros:
    """What `Strategy.begin` needs of a network."""

    start = torch.linspace(-1, 1, 50)


@pytest.mark.parametrize("exact", [True, False], ids=["FedAvgM", "FedAdam"])
def test_server_steps_are_those_of_flower(exact: bool) -> None:
    """Five rounds of aggregation of made-up replies.

    FedAvgM is the same to the bit. Flower's FedAdam corrects the bias of Adam's moments (its step
    in round r is η·√(1 − β₂ʳ⁺¹) / (1 − β₁ʳ⁺¹)), which algorithm 2 of the paper does not: with that
    step both agree to rounding.
    """
    ours: Strategy
    flower: Any
    if exact:
        ours = FedAvgM(momentum=0.8, server_lr=0.7)
        flower = theirs.FedAvgM(
            fraction_evaluate=0.0, server_learning_rate=0.7, server_momentum=0.8
        )
    else:
        ours = FedAdam(server_lr=0.05, beta1=0.9, beta2=0.99, tau=1e-3)
        flower = theirs.FedAdam(fraction_evaluate=0.0, eta=0.05, beta_1=0.9, beta_2=0.99, tau=1e-3)
    rng = np.random.default_rng(0)
    server = ours.begin(_Zeros)  # type: ignore[arg-type]
    arrays = ArrayRecord({"model": Array(_Zeros.start.numpy())})
    for number in range(1, 6):
        given = replies(rng, server["model"])
        asked = flower.configure_train(number, arrays, ConfigRecord(), _Nodes())
        arrays, _ = flower.aggregate_train(number, list(messages(asked, given)))
        step = ours
        if isinstance(ours, FedAdam):
            corrected = np.sqrt(1 - 0.99 ** (number + 1)) / (1 - 0.9 ** (number + 1))
            step = replace(ours, server_lr=0.05 * float(corrected))
        server = step.aggregate(server, given, len(SIZES))
        expected = torch.from_numpy(arrays["model"].numpy()).float()
        if exact:
            assert torch.equal(server["model"], expected)
        else:
            torch.testing.assert_close(server["model"], expected, rtol=1e-5, atol=1e-6)


def test_momentum_of_zero_is_fedavg() -> None:
    given = replies(np.random.default_rng(1), _Zeros.start)
    server = FedAvgM(momentum=0.0).begin(_Zeros)  # type: ignore[arg-type]
    plain = FedAvg().aggregate(server, given, 5)["model"]
    torch.testing.assert_close(
        FedAvgM(momentum=0.0).aggregate(server, given, 5)["model"], plain, rtol=0, atol=1e-6
    )

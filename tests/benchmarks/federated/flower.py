"""FedAvg against Flower's own FedAvg on Ray: the bits, and how far the vectorised engine is off.

The peer is a plain Flower program (`tests/federated/flower_program.py`): its clients train with
`torch.optim.SGD`, `flwr.serverapp.strategy.FedAvg` averages; replies are sorted by client.
"""

from __future__ import annotations

from importlib.util import find_spec

import torch

from tests.benchmarks._figure import Figure, at_least, at_most
from tests.benchmarks.federated import _child
from tests.federated.flower_worlds import World, federation, network
from tinykit.federated import Flower, Simulation

ROUNDS = 3
SIZES = (64, 20, 33, 128, 7)
DEVICES = f"{ROUNDS} rounds, devices of {', '.join(map(str, SIZES))} examples"


def run() -> list[Figure]:
    if find_spec("flwr") is None or find_spec("ray") is None:
        return [Figure("FedAvg against Flower's (not installed)", None, "")]
    figures = []
    with Flower() as engine:
        for name in ("mlp", "cnn"):
            figures += _compare(name, engine)
    return figures


def _compare(name: str, engine: Flower) -> list[Figure]:
    task = World(name, SIZES, _child.world(name).local)
    sha = _child.ask("flower", name, ",".join(map(str, SIZES)), str(ROUNDS))["sha"]

    def weights(on: str | Flower) -> torch.Tensor:
        run = Simulation(network(task), federation(task), local=task.local, engine=on)
        run.run(ROUNDS, progress=False)
        return run.weights()

    single = weights("sequential")
    apart = float((weights("vectorised") - single).abs().max())
    what = f"FedAvg, {name}, {DEVICES}"
    return [
        at_least(
            f"{what}: same SHA-256 as Flower's on Ray", int(_child._sha(single) == sha), "", 1
        ),
        at_least(
            f"{what}: same on the kit's Flower engine",
            int(torch.equal(weights(engine), single)),
            "",
            1,
        ),
        at_most(f"{what}: vectorised, largest difference", apart, "", 1e-6),
    ]

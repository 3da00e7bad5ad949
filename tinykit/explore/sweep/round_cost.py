"""The table of "What a round costs": what local epochs and cut-offs do to accuracy.

The digits are learnt by FedAvg on fifty devices of each mix, whose slower classes are cut off as
the explorer's are: a class does the same share of its steps whatever the network, so that the table
holds for all of them the work that is done; its accuracy is that of its own small network. Networks
are counted: multiply-accumulates, parameters, activations.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinykit import data
from tinykit.data.partitions import Dirichlet, partition
from tinykit.explore._round_fleets import COHORTS, CUTOFFS, EPOCHS, MIXES, STEPS
from tinykit.explore._round_table import ALIKE, FORMAT
from tinykit.explore.sweep import versions
from tinykit.explore.sweep.federate import network

if TYPE_CHECKING:
    from tinykit.data.types import Dataset

log = logging.getLogger(__name__)

SEEDS = (0, 1, 2)
DEVICES, SAMPLES, ROUNDS, SKEW, LR = 50, 20, 20, 0.3, 0.3
#: accuracy is the mean after the last so many rounds
LAST = 5
#: zoo network → shape of what it takes, classes, for people
NETWORKS = {
    "mlp": ((8, 8, 1), 10, "MLP 64-64-10 on 8×8 digits"),
    "lenet": ((28, 28, 1), 10, "LeNet on 28×28 digits"),
    "ds_cnn": ((49, 10, 1), 12, "DS-CNN for keywords"),
    "resnet8": ((32, 32, 3), 10, "ResNet-8 on 32×32 photos"),
    "mobilenet_v1": ((96, 96, 3), 2, "MobileNetV1 (0.25) on 96×96 photos"),
}


def run(work: Path, seeds: tuple[int, ...] = SEEDS) -> dict[str, Any]:
    """The table, as JSON. Runs found in `work` are not made again."""
    digits = data.load("digits")
    store = work / "runs.jsonl"
    done = {}
    if store.exists():
        for row in map(json.loads, store.read_text("utf-8").splitlines()):
            done[_key(row)] = row
    rows = []
    for key in grid(seeds):
        if key not in done:
            done[key] = one(digits, *key)
            with store.open("a", encoding="utf-8") as file:
                file.write(json.dumps(done[key]) + "\n")
        rows.append(done[key])
    return {
        "format": FORMAT, "about": _about(digits, seeds), "networks": networks(), "rows": rows,
    }  # fmt: skip


def grid(seeds: tuple[int, ...]) -> Iterator[tuple[str, int, int, int, int]]:
    """(mix, cut-off, cohort, epochs, seed); all in which nobody is cut off are one run."""
    for seed in seeds:
        for cohort in COHORTS:
            for epochs in EPOCHS:
                yield ALIKE, 0, cohort, epochs, seed
                for name, mix in MIXES.items():
                    for cutoff in CUTOFFS:
                        if not mix.whole(cutoff):
                            yield name, cutoff, cohort, epochs, seed


def one(
    digits: Dataset, name: str, cutoff: int, cohort: int, epochs: int, seed: int
) -> dict[str, Any]:
    """One row: accuracy at the end."""
    from tinykit.federated import Deployment, Local, Simulation, Work

    started = time.monotonic()
    net = network(seed)
    deployment = None
    if name != ALIKE:
        work = Work.from_macs(networks(("mlp",))["mlp"]["macs"])
        mix = MIXES[name]
        deployment = Deployment(
            mix.fleet(DEVICES, work, seed=seed),
            cutoff_s=mix.cutoff_s(work, epochs, cutoff, batch=SAMPLES // STEPS),
            always_on=True,
        )
    made = Simulation(
        net,
        partition(digits, Dirichlet(SKEW), devices=DEVICES, samples=SAMPLES, seed=seed),
        local=Local(epochs=epochs, batch=SAMPLES // STEPS, lr=LR),
        cohort=cohort,
        seed=seed,
        engine="vectorised",
        test=digits.test,
        deployment=deployment,
    )
    history = made.run(ROUNDS, progress=False)
    last = [accuracy for _, accuracy in history.evaluated()[-LAST:]]
    row = {
        "mix": name, "cutoff": cutoff, "cohort": cohort, "epochs": epochs, "seed": seed,
        "accuracy": round(sum(last) / len(last), 4),
    }  # fmt: skip
    log.info("%s, %.1f s", row, time.monotonic() - started)
    return row


def networks(names: tuple[str, ...] = tuple(NETWORKS)) -> dict[str, dict[str, Any]]:
    """What the networks of the knob come to, counted from their graphs."""
    from tinykit.data.types import DataSpec
    from tinykit.formats.torch_export import from_torch
    from tinykit.nn import zoo

    counted = {}
    for name in names:
        shape, classes, title = NETWORKS[name]
        spec = DataSpec(name, shape, tuple(map(str, range(classes))))
        net = network(0) if name == "mlp" else getattr(zoo, name)(spec)
        height, width, channels = shape
        example = next(net.parameters()).new_zeros(1, channels, height, width)
        graph = from_torch(net, example, name).graph
        counted[name] = {
            "title": title,
            "macs": graph.macs,
            "parameters": sum(p.numel() for p in net.parameters()),
            "activation_bytes": sum(
                graph.tensors[i].nbytes for op in graph.ops for i in op.outputs
            ),
        }
    return counted


def _key(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[k] for k in ("mix", "cutoff", "cohort", "epochs", "seed"))


def _about(digits: Dataset, seeds: tuple[int, ...]) -> dict[str, Any]:
    return {
        "made_by": "python -m tinykit.explore.sweep round_cost",
        "data": "digits",
        "test_examples": len(digits.test),
        "network": "64-64-10",
        "devices": DEVICES,
        "samples": SAMPLES,
        "skew": SKEW,
        "rounds": ROUNDS,
        "last": LAST,
        "lr": LR,
        "seeds": list(seeds),
        "versions": versions(),
    }

"""The table of the engines: seconds on one machine, each engine in a process of its own.

*First* is from the call of `Simulation.run` in a fresh process that has imported torch and made the
simulation, to the end of the first round: what an engine imports and starts is in it. *Round* is
every later round. Of several rounds, and several processes, the least counts: other load on the
machine only ever adds. Torch has one thread (for convolutions the sequential engine has devices on
all cores all the same, and Flower always). The weights at the end are hashed.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

from tinykit import data
from tinykit.data.partitions import IID, partition
from tinykit.data.types import Split
from tinykit.explore.sweep import versions
from tinykit.federated.device import Device, Reply
from tinykit.federated.engines.engine import Engine
from tinykit.federated.local import Local
from tinykit.federated.simulation import Simulation
from tinykit.federated.strategies.fedavg import FedAvg
from tinykit.federated.strategy import Strategy
from tinykit.graph.errors import MissingToolError, TinykitError
from tinykit.nn import zoo

log = logging.getLogger(__name__)

FORMAT = 1
SEEDS = (0,)
#: "nothing" is the MLP with a client function that returns what it was sent
WORK = ("nothing", "mlp", "lenet")
ENGINES = ("sequential", "vectorised", "flower")
LOCAL = Local(steps=20, batch=10, lr=0.1)
#: all of them take part in each round
DEVICES, SAMPLES = 100, 12
#: rounds after the first; processes
ROUNDS, TRIES = 5, 2


def run(work: Path, seeds: tuple[int, ...]) -> dict[str, Any]:
    """The table as JSON; what `work` holds already is not made again.

    Raises
    ------
    MissingToolError
        The extra `flower` is not installed.
    """
    if not all(find_spec(package) for package in ("flwr", "ray")):
        raise MissingToolError("Flower and Ray are missing: pip install 'tinyml-kit[flower]'")
    rows = []
    for task in WORK:
        for engine in ENGINES:
            path = work / f"{task}_{engine}.json"
            if not path.exists():
                path.write_text(json.dumps(row(task, engine, seeds[0])))
            rows.append(json.loads(path.read_text()))
    return {"format": FORMAT, "about": _about(seeds), "rows": rows}


def row(task: str, engine: str, seed: int, tries: int = TRIES) -> dict[str, Any]:
    """The least of several processes."""
    found = [_ask(task, engine, seed) for _ in range(tries)]
    log.info("%s, %s: %s", task, engine, found)
    return {
        "work": task,
        "engine": engine,
        "parameters": found[0]["parameters"],
        "first": min(f["first"] for f in found),
        "round": min(f["round"] for f in found),
        "tries": tries,
        "sha256": sorted({f["sha256"] for f in found}),
    }


@dataclass(frozen=True, kw_only=True)
class Nothing(Strategy):
    """Devices return what they were sent: what is left is what an engine itself takes."""

    def client(self, device: Device) -> Reply:
        return Reply(device.start.clone())


def simulation(task: str, engine: str | Engine, seed: int = 0) -> Simulation:
    """What is timed: 100 devices of 12 digits; for LeNet these are enlarged to 24 × 24 pixels."""
    digits = data.load("digits")
    spec, pool = digits.spec, digits.train
    if task == "lenet":
        spec = replace(spec, name="digits, 24 x 24", shape=(24, 24, 1))
        pool = Split(pool.x.repeat(3, axis=1).repeat(3, axis=2), pool.y)
    return Simulation(
        zoo.lenet(spec, seed=seed) if task == "lenet" else zoo.mlp(spec, hidden=(64,), seed=seed),
        partition(pool, IID(), devices=DEVICES, samples=SAMPLES, seed=seed, spec=spec),
        Nothing() if task == "nothing" else FedAvg(),
        local=LOCAL,
        seed=seed,
        engine=engine,
        device="cpu",
    )


def measure(run: Simulation, rounds: int = ROUNDS) -> dict[str, Any]:
    """Seconds of the first round and of the quickest later one, by the clock."""
    ends = [time.perf_counter()]
    run.run(1 + rounds, on_round=lambda *_: ends.append(time.perf_counter()), progress=False)
    later = [b - a for a, b in pairwise(ends[1:])]
    return {
        "first": ends[1] - ends[0],
        "round": min(later),
        "parameters": run.setting.net.size,
        "sha256": sha256(run),
    }


def sha256(run: Simulation) -> str:
    """Of all weights of the shared model."""
    return hashlib.sha256(run.weights().numpy().tobytes()).hexdigest()


def _ask(task: str, engine: str, seed: int) -> dict[str, Any]:
    """`measure` in a process of its own."""
    code = (
        "import json, sys\n"
        "from tinykit.explore.sweep import engines\n"
        "task, engine, seed = sys.argv[1:]\n"
        "run = engines.simulation(task, engine, int(seed))\n"
        "sys.stdout.write(json.dumps(engines.measure(run)))\n"
    )
    # a thread of torch for each process: on a busy machine two wait for one another
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code, task, engine, str(seed)],
        capture_output=True,
        text=True,
        env=environment,
    )
    if done.returncode:
        raise TinykitError(f"{task}, {engine}: {done.stderr.strip().splitlines()[-1]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def machine() -> dict[str, Any]:
    """What this runs on."""
    from tinykit.federated.engines.sequential import cores

    names = [
        line.split(":", 1)[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "processor": names[0] if names else "unknown",
        "cores": cores(),
        "load": round(os.getloadavg()[0], 1),
    }


def _about(seeds: tuple[int, ...]) -> dict[str, Any]:
    return {
        "made_by": "python -m tinykit.explore.sweep engines",
        "data": f"digits, {DEVICES} devices x {SAMPLES}",
        "devices": DEVICES,
        "local": repr(LOCAL),
        "machine": machine(),
        "seeds": list(seeds),
        "versions": versions("flwr", "ray"),
    }

"""What has to be measured in a process of its own: ``python -m …_child TASK [ARGUMENT …]``.

`ask` starts it and returns what it printed, a JSON object.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

#: the workload that all are timed on: 10 clients, 5 steps of 32
CLIENTS, STEPS, BATCH = 10, 5, 32
DEVICES = 10_000
#: seconds that a task may take
PATIENCE = 400


def ask(*task: str, threads: int | None = None) -> dict[str, Any]:
    """What `task` found; "whole" is the time from the start of its process to "end"."""
    # Flower's workers would import TensorFlow, which the extra `flower` does not bring
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "tensorflow.py").write_text("raise ModuleNotFoundError('tensorflow')\n")
        path = os.pathsep.join([folder, str(Path(__file__).parents[3])])
        environment = {**os.environ, "PYTHONPATH": path}
        environment.pop("OMP_NUM_THREADS", None)
        if threads:
            environment["OMP_NUM_THREADS"] = str(threads)
        begun = time.time()
        command = [sys.executable, "-m", "tests.benchmarks.federated._child", *task]
        with subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            start_new_session=True,
        ) as child:
            try:
                out, err = child.communicate(timeout=PATIENCE)
            except subprocess.TimeoutExpired:
                # where Ray fails to start, Flower's server waits an hour for clients
                os.killpg(child.pid, signal.SIGKILL)
                raise RuntimeError(f"{' '.join(task)}: not done in {PATIENCE} s") from None
    if child.returncode:
        raise RuntimeError(f"{' '.join(task)}: {err.strip().splitlines()[-1]}")
    found: dict[str, Any] = json.loads(out.splitlines()[-1])
    if "end" in found:
        found["whole"] = found["end"] - begun
    return found


def world(network: str) -> Any:
    from tests.federated.flower_worlds import World
    from tinykit.federated import Local

    return World(network, (64,) * CLIENTS, Local(steps=STEPS, batch=BATCH, lr=0.05))


def ours(engine: str, network: str, rounds: str) -> dict[str, Any]:
    """Seconds from the call to the end of the first round, and of each round after it."""
    import torch

    called = time.perf_counter()
    from tests.federated.flower_worlds import federation
    from tests.federated.flower_worlds import network as model
    from tinykit.federated import Simulation

    torch.manual_seed(0)
    ends: list[float] = []
    task = world(network)
    run = Simulation(
        model(task),
        federation(task),
        local=task.local,
        engine=None if engine == "chosen" else engine,
    )
    run.run(int(rounds), on_round=lambda *_: ends.append(time.perf_counter()), progress=False)
    return {
        "first": ends[0] - called,
        "end": time.time() - (time.perf_counter() - ends[0]),
        "each": [b - a for a, b in pairwise(ends)],
        "engine": run.engine.name,
        "sha": _sha(run.weights()),
    }


def flower(network: str, sizes: str, rounds: str) -> dict[str, Any]:
    """The same by a plain Flower program, `run_simulation` on Ray, a core for each client."""
    import torch

    called = time.perf_counter()
    import logging

    from tests.federated import flower_program as program
    from tests.federated.flower_worlds import World

    with program.without("tensorflow"):
        from flwr.simulation import run_simulation
    logging.getLogger("flwr").setLevel(logging.CRITICAL)
    torch.manual_seed(0)
    task = world(network)
    if sizes:
        task = World(network, tuple(map(int, sizes.split(","))), task.local)
    ends: list[float] = []
    aggregate = program.SortedFedAvg.aggregate_train

    def timed(*given: Any) -> Any:
        result = aggregate(*given)
        ends.append(time.perf_counter())
        return result

    program.SortedFedAvg.aggregate_train = timed  # type: ignore[method-assign]
    result: dict[str, torch.Tensor] = {}
    run_simulation(
        program.server_app(task, int(rounds), result),
        program.client_app(task),
        num_supernodes=len(task.sizes),
        backend_config={"client_resources": {"num_cpus": 1, "num_gpus": 0.0}},
    )
    return {
        "first": ends[0] - called,
        "end": time.time() - (time.perf_counter() - ends[0]),
        "each": [b - a for a, b in pairwise(ends)],
        "sha": _sha(torch.cat([v.reshape(-1) for v in result.values()])),
    }


def many(strategy: str, rounds: str) -> dict[str, Any]:
    """Peak memory of 10,000 devices of 30 examples, a hundredth of them a round; MLP 64-64-10."""
    import numpy as np

    import tinykit as tk
    import tinykit.federated as room
    from tests.federated.flower_worlds import network
    from tinykit.data.federation import Federation

    data = tk.data.load("digits")
    rng = np.random.default_rng(0)
    parts = tuple(rng.integers(0, len(data.train), 30) for _ in range(DEVICES))
    federation = Federation("digits, 10,000 devices", data.spec, data.train, parts)
    run = room.Simulation(
        network(world("mlp")),
        federation,
        getattr(room, strategy)(),
        local=room.Local(steps=10, batch=10, lr=0.05),
        cohort=0.01,
        test=data.test,
    )
    run.run(int(rounds), progress=False)
    return {
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "remember": len(run.memories),
        "accuracy": run.history[-1].accuracy,
    }


def flat(engine: str) -> dict[str, Any]:
    """Resident memory after 100 and after 1,000 rounds, MiB."""
    from tests.federated.flower_worlds import federation, network
    from tinykit.federated import Scaffold, Simulation

    task = world("mlp")
    run = Simulation(
        network(task), federation(task), Scaffold(), local=task.local, cohort=5, engine=engine
    )
    sizes = {}
    for rounds in (100, 1000):
        run.run(rounds, progress=False)
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        sizes[str(rounds)] = pages * resource.getpagesize() / 2**20
    return sizes


def _sha(weights: Any) -> str:
    import hashlib

    return hashlib.sha256(weights.numpy().tobytes()).hexdigest()


TASKS = {f.__name__: f for f in (ours, flower, many, flat)}

if __name__ == "__main__":
    print(json.dumps(TASKS[sys.argv[1]](*sys.argv[2:])))

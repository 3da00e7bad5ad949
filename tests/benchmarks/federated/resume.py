"""Simulations killed with SIGKILL at a random time: do they go on to the same bits?

Ten settings (algorithms, both engines, with faults, an MLP and a CNN), each killed twice in another
process, and then finished here.
"""

from __future__ import annotations

import random
import tempfile
import time
from pathlib import Path

from tests.benchmarks import Figure, at_least, plain
from tests.federated.killed import SETTINGS, kill_one, simulation
from tinykit.federated import checkpoint

ROUNDS = 60


def run() -> list[Figure]:
    rng = random.Random(20)
    same = killed = 0
    reached: list[int] = []
    for name in SETTINGS:
        started = time.perf_counter()
        whole = simulation(name)
        whole.run(ROUNDS, progress=False)
        seconds = time.perf_counter() - started
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "run.ckpt"
            for _ in range(2):
                killed += kill_one(name, path, ROUNDS, rng, longest=seconds / 3)
                between = simulation(name)
                checkpoint.resume(between, path)
                reached.append(between.done)
            again = simulation(name)
            again.run(ROUNDS, checkpoint=path, progress=False)
        same += again.fingerprint() == whole.fingerprint() and str(again.history.to_state()) == str(
            whole.history.to_state()
        )
    return [
        at_least("killed simulations that end with an uninterrupted one's SHA-256", same,
                 f"of {len(SETTINGS)}", len(SETTINGS)),
        plain("processes killed before they were done", killed, f"of {2 * len(SETTINGS)}"),
        plain("rounds in the file after a kill, least", min(reached), f"of {ROUNDS}"),
        plain("rounds in the file after a kill, most", max(reached), f"of {ROUNDS}"),
    ]  # fmt: skip

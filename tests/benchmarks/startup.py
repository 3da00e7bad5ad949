"""What starting costs: importing the package, and the quickest commands."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from tests.benchmarks import Figure, at_most, plain

REPEATS = 5


def _seconds(*command: str) -> float:
    """Median wall time of a fresh process, seconds (the first run, cold, is dropped)."""
    times = []
    for _ in range(REPEATS + 1):
        started = time.perf_counter()
        subprocess.run([sys.executable, *command], check=True, capture_output=True)
        times.append(time.perf_counter() - started)
    return statistics.median(times[1:])


def run() -> list[Figure]:
    bare = _seconds("-c", "pass")
    numpy = _seconds("-c", "import numpy") - bare
    kit = _seconds("-c", "import tinykit") - bare
    return [
        at_most(
            "import tinykit", kit, "s", 0.5, peer={"name": "import numpy", "value": round(numpy, 4)}
        ),
        plain("tinykit boards, whole command", _seconds("-m", "tinykit.cli", "boards"), "s"),
    ]

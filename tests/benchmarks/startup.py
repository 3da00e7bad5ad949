"""What starting costs: importing the package, and the quickest commands."""

from __future__ import annotations

import subprocess
import sys
import time

from tests.benchmarks import Figure, at_most, plain

REPEATS = 7


def _seconds(*command: str) -> float:
    """Least wall time of a fresh process, seconds: other load on the machine only ever adds."""
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        subprocess.run([sys.executable, *command], check=True, capture_output=True)
        times.append(time.perf_counter() - started)
    return min(times)


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

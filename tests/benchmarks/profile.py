"""`tinykit profile` on the MLPerf Tiny models: how long it takes, and what it counts."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.benchmarks import Figure, at_most, plain
from tests.benchmarks._models import absent, find_models

TARGET = "stm32f446"


def _profile(path: Path) -> tuple[float, dict[str, Any]]:
    command = [sys.executable, "-m", "tinykit.cli", "profile", str(path)]
    started = time.perf_counter()
    done = subprocess.run(
        [*command, "--target", TARGET, "--json"], check=True, capture_output=True, text=True
    )
    return time.perf_counter() - started, json.loads(done.stdout)


def run() -> list[Figure]:
    figures = []
    for name, path in find_models().items():
        if path is None:
            figures.append(plain(absent(name), None, "s"))
            continue
        cold, _ = _profile(path)
        warm, profile = _profile(path)
        figures += [
            plain(f"{name}: tinykit profile, first of two", cold, "s"),
            at_most(f"{name}: tinykit profile, warm", warm, "s", 10)
            if name == "kws"
            else plain(f"{name}: tinykit profile, warm", warm, "s"),
        ]
        for key in ("instructions", "flash_bytes", "sram_bytes", "tflm_arena_bytes"):
            column = next(c for c in profile["columns"] if c["name"] == key)
            figures.append(
                plain(f"{name}: {key} ({column['provenance']})", profile[key], column["unit"])
            )
    return figures

"""The main job (`tinykit demo`): what compression costs in accuracy, what it saves, its time.

``TINYKIT_BENCH_DATASET`` chooses the dataset (digits by default).
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from tests.benchmarks import Figure, at_least, at_most, plain
from tinykit.demo import DemoResult, run_demo


def run() -> list[Figure]:
    dataset = os.environ.get("TINYKIT_BENCH_DATASET", "digits")
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        result = run_demo(dataset, Path(folder), say=None)
        seconds = time.perf_counter() - started
        report = (Path(folder) / "index.html").stat().st_size
    return [*promises(result, seconds), *details(result, report)]


def promises(result: DemoResult, seconds: float) -> list[Figure]:
    """The figures with a limit."""
    base, int8, both = result["float32"], result["int8 PTQ"], result["pruned + int8 QAT"]
    flash = {"name": "float32, flash B", "value": base.profile.flash_bytes}
    accuracy = {"name": "float32, accuracy %", "value": round(100 * base.accuracy, 2)}

    def lost(accuracy: float) -> float:
        return round(100 * (base.accuracy - accuracy), 3)

    smaller = (base.profile.flash_bytes or 0) / (both.profile.flash_bytes or 1)
    return [
        at_least("demo: forms in the table", len(result.rows), "forms", 4),
        at_most("demo: int8 PTQ, accuracy lost", lost(int8.accuracy), "points", 1, accuracy),
        at_most(
            "demo: pruned + int8 QAT, accuracy lost", lost(both.accuracy), "points", 2, accuracy
        ),
        at_least(
            "demo: pruned + int8 QAT, flash smaller",
            round(smaller, 2),
            "times",
            6,
            flash,
        ),
        at_most(
            "demo: outputs that differ from TFLite Micro",
            sum(row.mismatches for row in result.rows),
            "elements",
            0,
        ),
        at_most(f"demo: the whole job on {result.dataset}", round(seconds, 1), "s", 90),
    ]


def details(result: DemoResult, report_bytes: int) -> list[Figure]:
    """Each form's own figures, without limits."""
    figures = [plain("demo: report, one HTML file", report_bytes, "B")]
    for row in result.rows:
        figures.append(
            plain(f"{row.name}: accuracy in TFLite Micro", round(100 * row.accuracy, 2), "%")
        )
        for name in ("flash_bytes", "sram_bytes", "instructions", "estimated_ms"):
            column = row.profile.column(name)
            value = row.profile[name]
            value = round(value, 3) if isinstance(value, float) else value
            figures.append(plain(f"{row.name}: {name} ({column.provenance})", value, column.unit))
    return figures

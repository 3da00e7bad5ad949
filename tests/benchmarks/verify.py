"""Both MLPerf Tiny models, 100 samples each: no output may differ from TFLite Micro's."""

from __future__ import annotations

import os

from tests.benchmarks import Figure, at_most, plain
from tests.benchmarks._models import absent, find_models
from tinykit.targets.verify import verify

SAMPLES = int(os.environ.get("TINYKIT_BENCH_SAMPLES", "100"))


def run() -> list[Figure]:
    figures = []
    for name, path in find_models().items():
        if path is None:
            figures.append(plain(absent(name), None, "elements"))
            continue
        report = verify(path, samples=SAMPLES)
        for check in report.checks:
            what = f"{name}: {check.title}, differing outputs in {check.samples} samples"
            if check.required:
                figures.append(at_most(what, check.mismatches, "elements", 0))
            else:
                figures.append(plain(what, check.mismatches, "elements"))
        emulator = report["emulator"]
        figures.append(plain(f"{name}: emulator, time per sample", emulator.seconds / SAMPLES, "s"))
    return figures

"""Federated learning: ``python -m tests.benchmarks federated``, or one module: ``federated.speed``.

``run`` concatenates the figures of the modules in this folder.
"""

from __future__ import annotations

import importlib
from pathlib import Path

from tests.benchmarks._figure import Figure


def run() -> list[Figure]:
    files = sorted(Path(__file__).parent.glob("*.py"))
    names = [file.stem for file in files if not file.stem.startswith("_")]
    return [f for name in names for f in importlib.import_module(f"{__name__}.{name}").run()]

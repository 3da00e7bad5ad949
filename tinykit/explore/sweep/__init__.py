"""Scripts that make the tables which ship with explorers: ``python -m tinykit.explore.sweep``.

One module a table, named like it, with `SEEDS`, ``run(work, seeds)``, the table as JSON,
``recount(work, seeds)``, the same with networks that are trained already,
and `SAMPLE`, the name of one network in `work` that ships beside the table, a graph (.tflite) or
weights (.npz): tests, or a lesson, count it again.
"""

from __future__ import annotations

import importlib.metadata
import platform


def versions(*packages: str) -> dict[str, str]:
    """What made a table: Python, the kit, torch, numpy and `packages`."""
    named = ("tinyml-kit", "torch", "numpy", *packages)
    return {
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in named},
    }

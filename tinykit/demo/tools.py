"""What is installed: versions of what tinykit runs on, and the programs that it can use."""

from __future__ import annotations

import platform
import shutil
from importlib import metadata

from tinykit.targets.render import table

PACKAGES = {
    "numpy": "the reference interpreter",
    "torch": "training, compression",
    "tflite-micro": "TFLite Micro: the oracle, accuracy, arena",
    "ai-edge-litert": "LiteRT, for comparison",
    "ziglang": "compiles the generated C",
    "unicorn": "emulates Cortex-M",
    "tensorflow-cpu": "reads Keras models (optional)",
    "voila": "serves the explorers",
}
PROGRAMS = {
    "arm-none-eabi-gcc": "a second compiler (optional)",
    "qemu-system-arm": "a second emulator (optional)",
    "chromium": "browser tests (optional)",
}


def describe_tools() -> str:
    """A table of packages and programs: found or not, and what for."""
    from tinykit import __version__

    rows: list[list[str] | None] = [["what", "found", "for"], None]
    rows.append(["tinykit", __version__, f"Python {platform.python_version()}"])
    for name, use in PACKAGES.items():
        try:
            rows.append([name, metadata.version(name), use])
        except metadata.PackageNotFoundError:
            rows.append([name, "-", use])
    for name, use in PROGRAMS.items():
        rows.append([name, shutil.which(name) or "-", use])
    return "\n".join(table(rows, left=3))

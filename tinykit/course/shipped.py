"""Models and tables that ship for lessons, for readers who lack what makes them, or the time."""

from __future__ import annotations

import gzip
import json
from importlib.resources import files
from typing import Any

from tinykit.graph.errors import TinykitError


def shipped(name: str) -> bytes:
    """The bytes of ``NAME.tflite``, which ``tutorials/make_models.py`` made.

    ``tinykit/course/models/models.json`` records versions, seed and accuracy of each.

    Raises
    ------
    TinykitError
        No such model ships.
    """
    folder = files("tinykit.course") / "models"
    file = folder / f"{name}.tflite"
    if not file.is_file():
        there = sorted(
            entry.name.removesuffix(".tflite")
            for entry in folder.iterdir()
            if entry.name.endswith(".tflite")
        )
        raise TinykitError(f"no model {name!r} ships; there are: {', '.join(there)}")
    return file.read_bytes()


def table(name: str) -> dict[str, Any]:
    """The table that the script ``tinykit.explore.sweep.NAME`` made, as it is stored.

    Its ``about`` says from which data, seeds and versions.

    Raises
    ------
    TinykitError
        No such table ships.
    """
    folder = files("tinykit.explore") / "tables"
    file = folder / f"{name}.json.gz"
    if not file.is_file():
        there = sorted(
            entry.name.removesuffix(".json.gz")
            for entry in folder.iterdir()
            if entry.name.endswith(".json.gz")
        )
        raise TinykitError(f"no table {name!r} ships; there are: {', '.join(there)}")
    made: dict[str, Any] = json.loads(gzip.decompress(file.read_bytes()))
    return made

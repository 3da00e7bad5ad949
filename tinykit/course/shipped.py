"""Models that ship for lessons, for readers who lack what makes them."""

from __future__ import annotations

from importlib.resources import files

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

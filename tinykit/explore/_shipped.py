"""The tables that ship: read one by its name, as `tinykit.explore.sweep` stored it."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from tinykit.graph.errors import TinykitError

_SUFFIX = ".json.gz"


class TableError(TinykitError, ValueError):
    """A sweep table that is missing or that this version does not read."""


def stored(name: str) -> dict[str, Any]:
    """The table that the script ``tinykit.explore.sweep.NAME`` made.

    Its ``about`` says from which data, seeds and versions.

    Raises
    ------
    TableError
        No such table is installed.
    """
    folder = files("tinykit.explore") / "tables"
    file = folder / f"{name}{_SUFFIX}"
    if not file.is_file():
        there = sorted(entry.name.removesuffix(_SUFFIX) for entry in folder.iterdir()
                       if entry.name.endswith(_SUFFIX))  # fmt: skip
        raise TableError(
            f"the table {name!r} is not installed (there are: {', '.join(there)}): make it with "
            "`make sweeps`"
        )
    made: dict[str, Any] = json.loads(gzip.decompress(file.read_bytes()))
    return made


def check_format(raw: Mapping[str, Any], wanted: int) -> None:
    """Raise `TableError` for a table of another format than this version reads."""
    if raw.get("format") != wanted:
        raise TableError(
            f"this table has format {raw.get('format')!r}, this version of tinykit reads {wanted}: "
            "make it again with `make sweeps`"
        )

"""Saving and loading by suffix. Formats live a floor up and announce themselves here."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from tinykit.graph.errors import GraphError

if TYPE_CHECKING:
    from tinykit.graph.ir import Graph

T = TypeVar("T")

_writers: dict[str, Callable[[Graph, str], None]] = {}
_readers: dict[str, Callable[[str], Graph]] = {}


def register(
    suffix: str, *, write: Callable[[Graph, str], None], read: Callable[[str], Graph]
) -> None:
    """Make `suffix` (with its dot) a format that `save` and `load` know."""
    _writers[suffix], _readers[suffix] = write, read


def save(graph: Graph, path: str | os.PathLike[str]) -> None:
    _for(_writers, path)(graph, os.fspath(path))


def load(path: str | os.PathLike[str]) -> Graph:
    """Read a graph from a file.

    Raises
    ------
    GraphError
        No reader for the suffix, or a folder.
    ModelFormatError
        The file is damaged.
    FileNotFoundError
    """
    if os.path.isdir(path):
        raise GraphError(f"{os.fspath(path)} is a folder; name the model file in it")
    return _for(_readers, path)(os.fspath(path))


def _for(table: dict[str, T], path: str | os.PathLike[str]) -> T:
    suffix = os.path.splitext(os.fspath(path))[1].lower()
    if suffix not in table:
        raise GraphError(
            f"no format is known for {os.path.basename(os.fspath(path))!r}; "
            f"end the name in one of: {', '.join(sorted(table))}"
        )
    return table[suffix]

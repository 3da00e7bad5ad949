"""What users hand in as "a model": a Graph, or the path of a model file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tinykit.graph.errors import GraphError
from tinykit.graph.ir import Graph

ModelLike = Graph | str | os.PathLike[str]


def as_graph(model: ModelLike) -> Graph:
    """The Graph itself, or the one that the file holds.

    Raises
    ------
    GraphError
        Neither a Graph nor a path, or a file name with an unknown suffix.
    ModelFormatError, FileNotFoundError
        The file is damaged or missing.
    """
    if isinstance(model, Graph):
        return model
    if not isinstance(model, str | os.PathLike):
        raise GraphError(
            f"a Graph or the path of a model file is needed, got {type(model).__name__}; "
            "make a Graph of a torch module with tk.to_graph(module, calibrate=data)"
        )
    from tinykit.graph.fileio import load

    return load(model)


def model_name(model: Any) -> str:
    """A name for tables: the file's stem, or the graph's own name."""
    return model.name if isinstance(model, Graph) else Path(os.fspath(model)).stem

"""What things cost: targets, profiles, boards, the real runtimes, and verification against them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinykit.targets.boards import Board, UnknownTargetError, boards, load, names
from tinykit.targets.profile import Budget, Column, Fit, Layer, Profile, Target

if TYPE_CHECKING:
    import os

    from tinykit.graph.ir import Graph

__all__ = [
    "Board",
    "Budget",
    "Column",
    "Fit",
    "Layer",
    "Profile",
    "Target",
    "UnknownTargetError",
    "boards",
    "load",
    "names",
    "profile",
]


def profile(graph: Graph | str | os.PathLike[str], target: str | Target = "stm32f446") -> Profile:
    """What `graph` costs on `target`: a table, layer by cost.

    Parameters
    ----------
    graph : a Graph, or the path of a model file (``.tflite``)
    target : a board's name (see `names`), or any Target

    Raises
    ------
    UnknownTargetError
        No target of that name.
    ModelFormatError, FileNotFoundError
        The file is damaged or missing.
    """
    from tinykit.targets.source import as_graph, model_name

    if isinstance(target, str):
        target = load(target)
    elif not hasattr(target, "profile"):
        raise UnknownTargetError(
            f"a target is a board's name or has a method profile(graph), not {target!r}; "
            f"boards: {', '.join(names())}"
        )
    return target.profile(as_graph(graph), model_name(graph))

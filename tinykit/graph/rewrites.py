"""Rewrites that make a graph from elsewhere run, and run right, on TFLite Micro."""

from __future__ import annotations

from tinykit.graph.dilation import with_dilations
from tinykit.graph.ir import Graph
from tinykit.graph.tiles import without_tiles


def for_micro(graph: Graph) -> Graph:
    """The same function of its inputs, without ops that TFLite Micro lacks or gets wrong."""
    return with_dilations(without_tiles(graph))

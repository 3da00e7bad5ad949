"""Graphs: the intermediate representation, its integer arithmetic and reference interpreter."""

from tinykit.graph.builder import GraphBuilder
from tinykit.graph.errors import (
    GraphError,
    MissingToolError,
    ModelFormatError,
    TinykitError,
    UnsupportedOpError,
)
from tinykit.graph.fileio import load, save
from tinykit.graph.ir import DTYPES, Graph, Op, Quantization, Tensor

__all__ = [
    "DTYPES",
    "Graph",
    "GraphBuilder",
    "GraphError",
    "MissingToolError",
    "ModelFormatError",
    "Op",
    "Quantization",
    "Tensor",
    "TinykitError",
    "UnsupportedOpError",
    "load",
    "save",
]

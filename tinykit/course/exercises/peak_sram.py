"""The peak of activation memory, from which tensors live while each op runs.

Argument: a `Graph`. The result is an int: the largest number of bytes of activations (graph inputs
and outputs included, constants not) that are alive during one op.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinykit.course.exercise import Exercise, Mistake
from tinykit.engine.plan import find_lifetimes
from tinykit.graph import Graph, GraphBuilder


def solve(graph: Graph) -> int:
    """By the lifetimes that the memory planner uses."""
    spans = find_lifetimes(graph)
    return max(
        sum(graph.tensors[i].nbytes for i, (first, last) in spans.items() if first <= op <= last)
        for op in range(len(graph.ops))
    )


def _per_op(graph: Graph, constants: bool = False) -> list[int]:
    """Bytes of the inputs and outputs of each op, and nothing else."""
    found = []
    for op in graph.ops:
        near = {i for i in (*op.inputs, *op.outputs) if i is not None}
        found.append(
            sum(graph.tensors[i].nbytes for i in near if constants or not graph.tensors[i].is_const)
        )
    return found


def _with_constants(graph: Graph) -> int:
    constants = sum(t.nbytes for t in graph.tensors if t.is_const)
    return solve(graph) + constants


def _sum_of_all(graph: Graph) -> int:
    return sum(t.nbytes for _, t in graph.activations())


def _elements(graph: Graph) -> int:
    spans = find_lifetimes(graph)
    return max(
        sum(graph.tensors[i].size for i, (first, last) in spans.items() if first <= op <= last)
        for op in range(len(graph.ops))
    )


def _touching(graph: Graph) -> int:
    """Frees a tensor while its last reader still runs."""
    spans = find_lifetimes(graph)
    return max(
        sum(graph.tensors[i].nbytes for i, (first, last) in spans.items() if first <= op < last)
        for op in range(len(graph.ops))
    )


def _conv(b: GraphBuilder, x: int, channels: int, dtype: str) -> int:
    shape = b.tensors[x].shape
    w = b.const(np.zeros((channels, 1, 1, shape[-1]), np.float32))
    return b.op("conv_2d", [x, w, None], (*shape[:-1], channels), dtype)


def _chain(side: int, widths: tuple[int, ...]) -> Graph:
    b = GraphBuilder("chain")
    y = b.input("x", (1, side, side, 3), "float32")
    for width in widths:
        y = _conv(b, y, width, "float32")
    return b.finish([y])


def _residual(side: int, width: int) -> Graph:
    """The block's input is read again at its end, and stays alive in between."""
    b = GraphBuilder("residual")
    x = b.input("x", (1, side, side, width), "float32")
    y = _conv(b, x, 2 * width, "float32")
    y = _conv(b, y, 2 * width, "float32")
    y = _conv(b, y, width, "float32")
    y = b.op("add", [x, y], (1, side, side, width), "float32")
    return b.finish([y])


def _cases() -> list[tuple[Any, ...]]:
    return [(_chain(16, (8, 16, 4)),), (_chain(8, (4, 4)),), (_residual(8, 16),)]


EXERCISE = Exercise(
    name="peak_sram",
    task="For each op, add the bytes of every activation that is alive while it runs; return the "
    "largest of these sums.",
    solve=solve,
    cases=_cases(),
    mistakes=(
        Mistake(
            _with_constants,
            "Weights were counted. They are constants: they stay in flash, and the processor reads "
            "them there. Only activations need SRAM (tensor.is_const tells).",
        ),
        Mistake(
            lambda graph: max(_per_op(graph, constants=True)),
            "Weights were counted with each op's inputs. They are constants: they stay in flash "
            "(tensor.is_const tells). And an activation that a later op reads is alive as well.",
        ),
        Mistake(
            lambda graph: max(_per_op(graph)),
            "Each op's own inputs and outputs are right for a chain, but in the residual block the "
            "block's input is read again by the add at its end: it has to be kept while the "
            "convolutions between run, though they do not touch it.",
        ),
        Mistake(
            _sum_of_all,
            "All activations were added, as if each kept its memory for ever. A tensor that no "
            "later op reads is dead, and its memory is used again.",
        ),
        Mistake(
            _elements,
            "Elements were counted, not bytes: a float32 takes four (tensor.nbytes knows).",
        ),
        Mistake(
            _touching,
            "A tensor is still needed while its last reader runs: it can be freed after that op, "
            "not before.",
        ),
    ),
)

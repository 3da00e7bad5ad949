"""The part of a graph that a backend can run, when it lacks some of the ops."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from tinykit.graph.errors import UnsupportedOpError
from tinykit.graph.ir import Graph


@dataclass(frozen=True)
class Part:
    """A graph without the ops that a backend lacks.

    Attributes
    ----------
    graph : what remains; what the missing ops would make is fed in. None when nothing remains
    positions : for each op of `graph`, its position in the whole graph
    missing : why each missing op (by position in the whole graph) cannot run
    """

    graph: Graph | None
    positions: tuple[int, ...]
    missing: dict[int, str]


def without(graph: Graph, positions: Collection[int]) -> Graph | None:
    """`graph` without the ops at `positions`; what they make is fed in. None if empty."""
    kept = [op for i, op in enumerate(graph.ops) if i not in positions]
    gone = [op for i, op in enumerate(graph.ops) if i in positions]
    if not kept:
        return None
    read = {i for op in kept for i in op.inputs if i is not None}
    made = {i for op in kept for i in op.outputs}
    free = [i for op in gone for i in op.outputs]
    wanted = [*graph.outputs, *(i for op in gone for i in op.inputs if i is not None)]
    inputs = [i for i in (*graph.inputs, *free) if i in read]
    outputs = list(dict.fromkeys(i for i in wanted if i in made))
    return graph.replace(ops=tuple(kept), inputs=tuple(inputs), outputs=tuple(outputs))


def runnable_part(graph: Graph, attempt: Callable[[Graph], object]) -> Part:
    """Leave out, one after the other, the ops for which `attempt` raises UnsupportedOpError.

    Parameters
    ----------
    attempt : tries the backend on a graph, for example the C generator
    """
    missing = {i: f"{op.kind} is not in the opset" for i, op in graph.unsupported}
    while True:
        positions = tuple(i for i in range(len(graph.ops)) if i not in missing)
        part = without(graph, missing) if missing else graph
        if part is None or not part.ops:
            return Part(None, (), missing)
        try:
            attempt(part)
        except UnsupportedOpError as error:
            if error.position is None:
                guilty = {i for i in positions if graph.ops[i].kind == error.kind}
            else:
                guilty = {positions[error.position]}
            if not guilty:
                raise
            for i in guilty:  # the error tells the position in `part`
                whole = UnsupportedOpError(error.kind, i, error.backend, error.why)
                missing = {**missing, i: str(whole)}
        else:
            return Part(part, positions, missing)

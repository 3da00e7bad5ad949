"""Putting a graph's inputs into an arena and getting its outputs out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tinykit.engine.plan import MemoryPlan
from tinykit.graph.errors import GraphError
from tinykit.graph.ir import Graph


def check_inputs(graph: Graph, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The inputs as contiguous arrays.

    Raises
    ------
    GraphError
        Wrong number, shape or dtype.
    """
    if len(inputs) != len(graph.inputs):
        raise GraphError(f"{len(inputs)} inputs given, the graph takes {len(graph.inputs)}")
    checked = []
    for index, value in zip(graph.inputs, inputs, strict=True):
        tensor, value = graph.tensors[index], np.asarray(value)
        if value.shape != tensor.shape or value.dtype != tensor.numpy_dtype:
            raise GraphError(
                f"input {tensor.name!r} takes {tensor.numpy_dtype} {tensor.shape}, "
                f"got {value.dtype} {value.shape}"
            )
        checked.append(np.ascontiguousarray(value))
    return checked


def write_inputs(
    graph: Graph,
    plan: MemoryPlan,
    inputs: Sequence[np.ndarray],
    write: Callable[[int, bytes], None],
) -> None:
    """Call ``write(offset, bytes)`` for each input."""
    for index, value in zip(graph.inputs, check_inputs(graph, inputs), strict=True):
        write(plan.offsets[index], value.tobytes())


def read_outputs(
    graph: Graph, plan: MemoryPlan, read: Callable[[int, int], bytes]
) -> list[np.ndarray]:
    """The outputs, from ``read(offset, length)``; constants come from the graph itself."""
    outputs = []
    for index in graph.outputs:
        tensor = graph.tensors[index]
        if tensor.data is not None:
            outputs.append(tensor.data)
            continue
        raw = read(plan.offsets[index], tensor.nbytes)
        outputs.append(np.frombuffer(raw, tensor.numpy_dtype).reshape(tensor.shape).copy())
    return outputs

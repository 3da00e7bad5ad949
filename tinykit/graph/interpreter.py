"""The reference interpreter: each op by the numpy function registered for it, in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tinykit.graph.errors import GraphError, TinykitError, UnsupportedOpError
from tinykit.graph.ir import Graph
from tinykit.graph.registry import reference


def run(
    graph: Graph,
    inputs: Sequence[np.ndarray],
    observe: Callable[[int, np.ndarray], None] | None = None,
) -> list[np.ndarray]:
    """Run `graph` on stored (quantized) values and return its outputs, likewise stored.

    Parameters
    ----------
    inputs : arrays, one for each graph input, of exactly its shape and numpy dtype
    observe : called with (tensor index, value) for the inputs and everything computed;
        calibration and tests look at activations through it

    Raises
    ------
    GraphError
        Wrong number, shape or dtype of inputs, or an op's tensors do not go together.
    UnsupportedOpError
        An op that the interpreter lacks, by name and position.
    """
    if len(inputs) != len(graph.inputs):
        raise GraphError(f"{len(inputs)} inputs given, the graph takes {len(graph.inputs)}")
    values: dict[int, np.ndarray] = {
        i: t.data for i, t in enumerate(graph.tensors) if t.data is not None
    }
    for index, value in zip(graph.inputs, inputs, strict=True):
        tensor = graph.tensors[index]
        value = np.asarray(value)
        if value.shape != tensor.shape or value.dtype != tensor.numpy_dtype:
            raise GraphError(
                f"input {tensor.name!r} takes {tensor.numpy_dtype} {tensor.shape}, "
                f"got {value.dtype} {value.shape}"
            )
        values[index] = value
        if observe:
            observe(index, value)
    for position, op in enumerate(graph.ops):
        kernel = reference.get(op.kind, position)
        args = [None if i is None else values[i] for i in op.inputs]
        try:
            with np.errstate(all="ignore"):  # floats overflow as silently as they do in C
                results = kernel(op, graph.ins(op), graph.outs(op), args)
        except UnsupportedOpError as error:
            raise UnsupportedOpError(op.kind, position, error.backend, error.why) from None
        except TinykitError:
            raise
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            # Types that no converter puts together (a bias in float32, say): a damaged file.
            raise GraphError(
                f"op number {position} ({op.kind}) cannot compute with these tensors: {error}"
            ) from error
        for index, value in zip(op.outputs, results, strict=True):
            values[index] = value
            if observe:
                observe(index, value)
    return [values[i] for i in graph.outputs]

"""Passes: graph in, simpler graph out, same outputs for every input.

`fold` evaluates whatever does not depend on the input. A converter that keeps the batch size open
computes shapes at run time (shape → strided_slice → pack → reshape); in a Graph the batch is 1, so
all of that becomes constants.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import replace

import numpy as np

import tinykit.graph.ops  # noqa: F401  (fills the opset)
from tinykit.graph import shape_values
from tinykit.graph.errors import GraphError
from tinykit.graph.ir import Graph, Op, Tensor
from tinykit.graph.registry import OPSET, Shape, reference

#: bytes of constants that folding may add, beyond eight times those it started with
FOLDED_BYTES = 1 << 22
#: multiply-accumulates that folding one op may cost
FOLDED_MACS = 1 << 24


def fold(graph: Graph) -> Graph:
    """Evaluate ops whose inputs are all constants, and the shapes of tensors; drop what is dead.

    An op that makes a graph output stays, so that outputs are always computed. An op stays too
    when the reference interpreter lacks it, or when its value would be out of proportion (see
    `FOLDED_BYTES`, `FOLDED_MACS`).
    """
    tensors, ops = fold_parts(graph.tensors, graph.ops, graph.outputs)
    return remove_dead(graph.replace(tensors=tensors, ops=ops))


def remove_dead(graph: Graph) -> Graph:
    """Drop ops that no output depends on, and tensors that nothing refers to."""
    tensors, ops, inputs, outputs = compact(graph.tensors, graph.ops, graph.inputs, graph.outputs)
    return graph.replace(tensors=tensors, ops=ops, inputs=inputs, outputs=outputs)


def fold_parts(
    tensors: Sequence[Tensor],
    ops: Sequence[Op],
    outputs: Sequence[int],
    dynamic: Set[int] = frozenset(),
) -> tuple[list[Tensor], list[Op]]:
    """`fold` before there is a Graph: parts straight from a file, indices in range, else unchecked.

    Parameters
    ----------
    dynamic : tensors whose declared shape is only a placeholder for one that is known at run time;
        they get the shape that the op's rule gives

    Returns
    -------
    all tensors, those that were folded now with data, and the ops that remain
    """
    made, kept, kept_outputs = list(tensors), [], frozenset(outputs)
    # Constants may share their bytes; what is shared justifies nothing twice.
    distinct = {t.data.ctypes.data: t.nbytes for t in made if t.data is not None}
    allowance = FOLDED_BYTES + 8 * sum(distinct.values())
    for op in ops:
        ins = [None if i is None else made[i] for i in op.inputs]
        if not dynamic.isdisjoint(op.outputs):
            for index, shape in zip(op.outputs, _shapes(op, ins), strict=False):
                if index in dynamic and shape is not None:
                    made[index] = replace(made[index], shape=shape)
        outs = [made[i] for i in op.outputs]
        size = sum(t.nbytes for t in outs)
        values = None
        if size <= allowance and kept_outputs.isdisjoint(op.outputs):
            values = _evaluate(op, ins, outs)
        if values is None or not _fits(op, values, outs, dynamic):
            kept.append(op)
            continue
        allowance -= size
        for index, value in zip(op.outputs, values, strict=True):
            made[index] = replace(made[index], shape=value.shape, data=value)
    return made, kept


def _shapes(op: Op, ins: Sequence[Tensor | None]) -> list[Shape | None]:
    """What the op's rule says, or nothing when the rule objects (validation will tell)."""
    if op.kind not in OPSET:
        return []
    try:
        shapes = OPSET[op.kind].infer(ins, op.attrs)
        return [None if s is None else tuple(int(d) for d in s) for s in shapes]
    except (GraphError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        return []


def _evaluate(
    op: Op, ins: Sequence[Tensor | None], outs: Sequence[Tensor]
) -> list[np.ndarray] | None:
    """The op's outputs when they are constants that are cheap to compute, else None."""
    if any(t.is_const for t in outs) or not ins:
        return None
    if op.kind == "shape" and ins[0] is not None:
        return [np.asarray(ins[0].shape, outs[0].numpy_dtype)]
    if not all(t is None or t.is_const for t in ins):
        return None
    try:
        # The rule is asked first: it bounds what the kernel will make, and kernels trust it.
        sound = op.kind in reference and _shapes(op, ins) == [t.shape for t in outs]
        if not sound or OPSET[op.kind].macs(ins, outs, op.attrs) > FOLDED_MACS:
            return shape_values.evaluate(op, ins, outs)
        with np.errstate(all="ignore"):
            arrays = [None if t is None else t.data for t in ins]
            return [np.asarray(v) for v in reference.get(op.kind)(op, ins, outs, arrays)]
    except Exception:  # a constant the kernel rejects: the op stays, and says so when it is run
        return None


def _fits(op: Op, values: Sequence[np.ndarray], outs: Sequence[Tensor], dynamic: Set[int]) -> bool:
    return len(values) == len(outs) and all(
        v.dtype == t.numpy_dtype and (v.shape == t.shape or i in dynamic)
        for i, v, t in zip(op.outputs, values, outs, strict=True)
    )


def compact(
    tensors: Sequence[Tensor], ops: Sequence[Op], inputs: Sequence[int], outputs: Sequence[int]
) -> tuple[list[Tensor], list[Op], list[int], list[int]]:
    """Live ops and the tensors they refer to, renumbered in the old order."""
    live, kept = set(outputs), []
    for op in reversed(ops):
        if not live.isdisjoint(op.outputs):
            live.update(i for i in op.inputs if i is not None)
            kept.append(op)
    kept.reverse()
    live.update(inputs)
    for op in kept:
        live.update(op.outputs)
    place = {old: new for new, old in enumerate(sorted(live))}
    return (
        [tensors[i] for i in place],
        [
            replace(
                op,
                inputs=tuple(None if i is None else place[i] for i in op.inputs),
                outputs=tuple(place[i] for i in op.outputs),
            )
            for op in kept
        ],
        [place[i] for i in inputs],
        [place[i] for i in outputs],
    )

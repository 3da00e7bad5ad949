"""What every Graph must satisfy; called by its constructor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinykit.graph.errors import GraphError

if TYPE_CHECKING:
    from tinykit.graph.ir import Graph


def validate(graph: Graph) -> None:
    """Raise GraphError unless `graph` is in SSA form, in order, and agrees with its ops' rules."""
    from tinykit.graph import ops  # noqa: F401  (fills the opset)
    from tinykit.graph.registry import known_attrs, spec_of

    count = len(graph.tensors)
    for what, indices in (("input", graph.inputs), ("output", graph.outputs)):
        for i in indices:
            if not 0 <= i < count:
                raise GraphError(f"graph {what} refers to tensor {i}; there are {count}")
    if len(set(graph.inputs)) != len(graph.inputs):
        raise GraphError("a tensor is listed twice among the graph's inputs")

    ready = set(graph.inputs) | {i for i, t in enumerate(graph.tensors) if t.is_const}
    if fed := [graph.tensors[i].name for i in graph.inputs if graph.tensors[i].is_const]:
        raise GraphError(f"graph input {fed[0]!r} is a constant")
    for position, op in enumerate(graph.ops):
        where = f"op number {position} ({op.kind})"
        read = [i for i in op.inputs if i is not None]
        for i in (*read, *op.outputs):
            if not 0 <= i < count:
                raise GraphError(f"{where} refers to tensor {i}; there are {count}")
        for i in read:
            if i not in ready:
                raise GraphError(
                    f"{where} reads tensor {graph.tensors[i].name!r} before anything makes it"
                )
        for i in op.outputs:
            if i in ready:
                raise GraphError(f"{where} makes tensor {graph.tensors[i].name!r} a second time")
            ready.add(i)
        spec = spec_of(op.kind)
        if spec is None:
            continue
        fewest, most = spec.arity
        if not fewest <= len(op.inputs) <= most:
            want = str(fewest) if fewest == most else f"{fewest} to {most}"
            raise GraphError(f"{where} has {len(op.inputs)} inputs, it takes {want}")
        try:
            known_attrs(op.kind, op.attrs)
            shapes = spec.infer(graph.ins(op), op.attrs)
        except GraphError as error:
            raise GraphError(f"{where}: {error}") from None
        except (IndexError, TypeError, AttributeError, ValueError, ZeroDivisionError) as error:
            raise GraphError(f"{where}: inputs do not fit the op ({error})") from None
        made = [t.shape for t in graph.outs(op)]
        known = [m if s is None else tuple(s) for s, m in zip(shapes, made, strict=False)]
        if len(shapes) != len(made) or known != made:
            raise GraphError(f"{where}: outputs should have shapes {shapes}, declared are {made}")
    for i in graph.outputs:
        if i not in ready:
            raise GraphError(f"graph output {graph.tensors[i].name!r} is never made")

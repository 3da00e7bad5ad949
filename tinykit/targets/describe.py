"""What a graph holds, as text."""

from __future__ import annotations

import os
from collections import Counter

from tinykit.graph.ir import Graph, Tensor
from tinykit.targets.render import table


def describe(graph: Graph, path: str | os.PathLike[str] | None = None) -> str:
    """Inputs, outputs, ops and sizes of `graph` (and of the file it came from) as a text."""
    unknown = {i for i, _ in graph.unsupported}
    least = "at least " if unknown else ""
    lines = [f"{graph.name}: {len(graph.ops)} ops, {least}{graph.macs:,} MACs (counted)"]
    if path is not None:
        lines.append(f"file: {os.fspath(path)}, {os.path.getsize(path):,} B")
    lines.append(f"constants: {graph.weight_bytes:,} B (counted)")
    for what, indices in (("input", graph.inputs), ("output", graph.outputs)):
        lines += [f"{what}: {tensor_text(graph.tensors[i])}" for i in indices]
    rows: list[list[str] | None] = [["#", "op", "makes", "MACs", "constants B"], None]
    for position, op in enumerate(graph.ops):
        constants = sum(t.nbytes for t in graph.ins(op) if t is not None and t.is_const)
        makes = "; ".join(f"{t.dtype} {list(t.shape)}" for t in graph.outs(op))
        macs = "–" if position in unknown else f"{graph.op_macs(position):,}"
        rows.append([str(position), op.kind, makes, macs, f"{constants:,}"])
    lines += ["", *table(rows, left=3), ""]
    kinds = Counter(op.kind for op in graph.ops)
    lines.append("kinds: " + ", ".join(f"{kind} x{n}" for kind, n in kinds.most_common()))
    lines += [f"not in the opset: {op.kind} (op number {i})" for i, op in graph.unsupported]
    return "\n".join(lines)


def tensor_text(tensor: Tensor) -> str:
    """Name, type, shape and quantization of a tensor."""
    text = f"{tensor.name!r} {tensor.dtype} {list(tensor.shape)}"
    if tensor.quant is not None and not tensor.quant.per_channel:
        scale, zero = float(tensor.quant.scale[0]), int(tensor.quant.zero_point[0])
        text += f", scale {scale:.6g}, zero point {zero}"
    return text

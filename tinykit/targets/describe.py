"""What a graph holds, and what a board is, as text."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence

from tinykit.graph.ir import Graph, Tensor
from tinykit.targets.boards import NUMBERS, Board
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


def list_boards(boards: Sequence[Board]) -> str:
    """A table, one row a board."""
    head = ["name", "board", "core", "MHz", "flash KiB", "SRAM KiB", "FPU"]
    body = [
        [
            b.name,
            b.title,
            b.core.title.removeprefix("Arm "),
            f"{b.mhz:g}",
            f"{b.flash_bytes / 1024:,.0f}",
            f"{b.sram_bytes / 1024:,.0f}",
            b.fpu,
        ]
        for b in boards
    ]
    return "\n".join(table([head, None, *body], left=3))


def describe_board(board: Board) -> str:
    """Every number of a board with its source, and the model of its time."""
    rows: list[list[str] | None] = []
    for name in NUMBERS:
        value = board.core.name if name == "core" else getattr(board, name)
        doubt = " (not looked up again)" if name in board.unchecked else ""
        rows.append([name, str(value), board.sources[name] + doubt])
    lines = [f"{board.name}: {board.about}", "", *table(rows, left=3), ""]
    core = board.core
    lines.append(f"time: {core.cpi:g} cycles an instruction, modelled; {core.model}")
    if board.note:
        lines.append(f"note: {board.note}")
    return "\n".join(lines)

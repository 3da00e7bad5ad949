"""The rewrite: a region of a graph in strips of rows, as ordinary ops on fewer rows.

Rows are cut by strided_slice and joined by concatenation, so that the reference interpreter, the
planner and the code generator need not know about strips, and the interpreter proves the rewrite
exact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tinykit.engine.layer import Layer
from tinykit.engine.patches.extent import Extent, first_needed, readers
from tinykit.engine.patches.region import Region
from tinykit.engine.patches.rows import PADS, WINDOWED, Rows, row_inputs
from tinykit.graph.errors import GraphError
from tinykit.graph.ir import Graph, Op, Tensor
from tinykit.graph.ops.slice import MASKS

_JOIN = {"axis": 1, "fused_activation_function": "none"}
_SLICE = {**dict.fromkeys(MASKS, 0), "offset": False}
#: some rows of a tensor: which tensor holds them, and which rows they are
Piece = tuple[int, Rows]


def in_strips(region: Region, extents: Sequence[Extent], keep: bool) -> tuple[Graph, list[int]]:
    """The graph with `region` computed in the strips that `extents` describes.

    Parameters
    ----------
    keep : whether strips use the rows that earlier strips made; else each makes all that it needs

    Returns
    -------
    the graph, and for each of its ops the position of the op in the old graph that it belongs to
    """
    return _Rewrite(region, extents, keep).finish()


class _Rewrite:
    def __init__(self, region: Region, extents: Sequence[Extent], keep: bool) -> None:
        self.region, self.extents, self.keep = region, extents, keep
        self.graph = region.graph
        self.tensors = list(self.graph.tensors)
        self.ops: list[Op] = []
        self.origin: list[int] = []
        self.here = 0  # the op of the old graph that is being written
        self.note = ""
        self.held: dict[int, list[Piece]] = {}  # rows at hand, by tensor: adjoining pieces in order
        self.parts: dict[int, list[Piece]] = {i: [] for i in region.results}
        self.ends: dict[int, int] = {}
        self.next: dict[int, list[Piece]] = {}
        self.sums: int | None = None
        self.constants: dict[tuple[int, ...], int] = {}

    def finish(self) -> tuple[Graph, list[int]]:
        graph, region = self.graph, self.region
        for position in range(region.start):
            self.copy(position)
        for number, extent in enumerate(self.extents):
            self.note = f" [strip {number + 1}/{len(self.extents)}]"
            self.strip(number, extent)
        self.note = ""
        for i in region.results if region.mean is None else ():
            self.here = self.maker(i)
            self.add("concatenation", [t for t, _ in self.parts[i]], i, _JOIN, " rows joined")
        if region.mean is not None:
            self.mean(region.mean)
        for position in range(region.stop + (region.mean is not None), len(graph.ops)):
            self.copy(position)
        made = Graph(tuple(self.tensors), tuple(self.ops), graph.inputs, graph.outputs, graph.name)
        return made, self.origin

    # -- strips ---------------------------------------------------------------------------------

    def strip(self, number: int, extent: Extent) -> None:
        if not self.keep:
            self.held = {}
        ends = {**self.ends, **{i: high for i, (_, high) in extent.items()}}
        for position, out, rows in readers(self.region, extent):
            self.here = position
            made = self.compute(position, rows)
            self.held[out] = [*self.held.get(out, []), (made, rows)]
            if out in self.parts:
                self.result(number, out, made, rows)
            if self.keep:
                self.hold(out, ends)
        self.ends = ends
        self.held, self.next = {**self.held, **self.next}, {}

    def result(self, number: int, tensor: int, made: int, rows: Rows) -> None:
        """Put the strip's own rows of a result aside, or add them to the sums."""
        own = rows
        if not self.keep:
            count, total = len(self.extents), self.region.rows(tensor)
            own = total * number // count, total * (number + 1) // count
        if own[0] == own[1]:
            return
        part = self.cut((made, rows), own)
        if self.region.mean is None:
            self.parts[tensor].append((part, own))
            return
        data = self.tensors[part]
        shape = (1, 1, 1, data.shape[3])
        total_name = f"{data.name} sums"
        sums = self.tensor(Tensor(total_name, shape, "int32", data.quant))
        before = [] if self.sums is None else [self.sums]
        here, self.here = self.here, self.region.mean
        self.add("pixel_sum", [part, *before], sums, {})
        self.here, self.sums = here, sums

    def compute(self, position: int, rows: Rows) -> int:
        """Op `position` for some rows of its output."""
        op, window = self.graph.ops[position], self.region.windows[position]
        needed = window.needs(*rows)
        sources = {i: self.rows(i, needed) for i in row_inputs(self.graph, op)}
        inputs = [sources.get(i, i) if i is not None else None for i in op.inputs]
        attrs = dict(op.attrs)
        above, below = window.padding(*rows)
        if op.kind in WINDOWED:
            _, _, left, right = Layer(self.graph, position).pads
            pads = (above, below, left, right)
            attrs["padding"] = pads if any(pads) else "valid"
        elif op.kind in PADS:
            amounts = self.tensors[op.inputs[1]]  # type: ignore[index]
            assert amounts.data is not None
            values = amounts.data.copy()
            values.reshape(-1, 2)[1] = above, below
            inputs[1] = self.tensor(replace(amounts, name=amounts.name + self.note, data=values))
        out = self.some_rows(op.outputs[0], rows)
        self.add(op.kind, inputs, out, attrs)
        return out

    def hold(self, tensor: int, ends: dict[int, int]) -> None:
        """Set aside those of the rows at hand that later strips read.

        Before the readers of this strip, so that one that reads the rows for the last time may
        work in place.
        """
        low, high = first_needed(self.region, tensor, ends), ends[tensor]
        keeps = low is not None and low < high
        rows = (low or 0, high)
        self.next[tensor] = [(self.rows(tensor, rows), rows)] if keeps else []

    # -- rows -----------------------------------------------------------------------------------

    def rows(self, tensor: int, wanted: Rows) -> int:
        """A tensor that holds the wanted rows of `tensor` and no others."""
        if tensor in self.region.inputs:
            return self.cut((tensor, (0, self.region.rows(tensor))), wanted)
        pieces = self.held[tensor]
        for piece in pieces:
            if piece[1][0] <= wanted[0] and wanted[1] <= piece[1][1]:
                return self.cut(piece, wanted)
        every = (pieces[0][1][0], pieces[-1][1][1])
        joined = self.some_rows(tensor, every, " joined")
        self.add("concatenation", [t for t, _ in pieces], joined, _JOIN, " rows joined")
        self.held[tensor] = [*pieces, (joined, every)]
        return self.cut((joined, every), wanted)

    def cut(self, piece: Piece, wanted: Rows) -> int:
        source, (low, high) = piece
        if wanted == (low, high):
            return source
        if not low <= wanted[0] < wanted[1] <= high:
            raise GraphError(f"rows {wanted} of {self.tensors[source].name!r}: {low} to {high}")
        out = self.some_rows(source, wanted, " cut")
        shape = self.tensors[source].shape
        begin = self.constant("begin", (0, wanted[0] - low, 0, 0))
        end = self.constant("end", (1, wanted[1] - low, *shape[2:]))
        step = self.constant("step", (1, 1, 1, 1))
        self.add("strided_slice", [source, begin, end, step], out, _SLICE, " rows cut")
        return out

    def some_rows(self, like: int, rows: Rows, what: str = "") -> int:
        tensor = self.tensors[like]
        shape = (tensor.shape[0], rows[1] - rows[0], *tensor.shape[2:])
        base = tensor.name.removesuffix(self.note) if self.note else tensor.name
        return self.tensor(replace(tensor, name=f"{base}{what}{self.note}", shape=shape))

    # -- the new graph --------------------------------------------------------------------------

    def mean(self, position: int) -> None:
        """The mean's own rounding of the sums, instead of the mean over the whole."""
        assert self.sums is not None
        self.here = position
        op, sums = self.graph.ops[position], self.tensors[self.sums]
        source, out = self.graph.tensors[self.region.results[0]], op.outputs[0]
        attrs = {
            "count": source.shape[1] * source.shape[2],
            "stands_for": op.kind,
            "fused_activation_function": op.attrs.get("fused_activation_function", "none"),
        }
        result = self.graph.tensors[out]
        if result.shape == sums.shape:
            self.add("pixel_mean", [self.sums], out, attrs)
            return
        flat = self.tensor(replace(result, name=result.name + " pixel", shape=sums.shape))
        self.add("pixel_mean", [self.sums], flat, attrs)
        shape = self.constant("shape", result.shape)
        self.add("reshape", [flat, shape], out, {"new_shape": None}, " reshaped")

    def maker(self, tensor: int) -> int:
        return next(p for p in self.region.positions if tensor in self.graph.ops[p].outputs)

    def copy(self, position: int) -> None:
        self.ops.append(self.graph.ops[position])
        self.origin.append(position)

    def add(
        self,
        kind: str,
        inputs: Sequence[int | None],
        out: int,
        attrs: Mapping[str, Any],
        what: str = "",
    ) -> None:
        name = f"{self.graph.op_name(self.here)}{what}{self.note}"
        self.ops.append(Op(kind, tuple(inputs), (out,), attrs, name))
        self.origin.append(self.here)

    def tensor(self, tensor: Tensor) -> int:
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def constant(self, name: str, values: Sequence[int]) -> int:
        key = tuple(values)
        if key not in self.constants:
            data = np.array(values, np.int32)
            made = Tensor(f"{name} {key}", data.shape, "int32", data=data)
            self.constants[key] = self.tensor(made)
        return self.constants[key]

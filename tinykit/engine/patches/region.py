"""The parts of a network that can be computed in strips of rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tinykit.engine.patches.rows import Window, row_inputs, window_of
from tinykit.graph.ir import Graph
from tinykit.graph.ops.reduce import axes_of


@dataclass(frozen=True)
class Region:
    """Ops `start` to `stop` (exclusive), each of which works row by row.

    Attributes
    ----------
    windows : by position of the op
    inputs : tensors made before the region, which stand in memory whole
    results : tensors made in it and read after it
    mean : position of the op behind it, where that is a mean over the whole of the only result:
        then the result need never be in memory whole
    """

    graph: Graph
    start: int
    stop: int
    windows: dict[int, Window]
    inputs: tuple[int, ...]
    results: tuple[int, ...]
    mean: int | None = None

    @property
    def positions(self) -> range:
        return range(self.start, self.stop)

    def rows(self, tensor: int) -> int:
        return self.graph.tensors[tensor].shape[1]


def regions(graph: Graph) -> Iterator[Region]:
    """Every region that starts at the first op of a run of ops that work row by row."""
    windows = {p: w for p in range(len(graph.ops)) if (w := window_of(graph, p)) is not None}
    found = sorted(windows)
    starts = [p for p in found if p - 1 not in windows]
    for start in starts:
        stop = start + 1
        while True:
            yield from _cut(graph, start, stop, windows)
            if stop not in windows:
                break
            stop += 1


def _cut(graph: Graph, start: int, stop: int, windows: dict[int, Window]) -> Iterator[Region]:
    own = {p: windows[p] for p in range(start, stop)}
    made = {i for p in own for i in graph.ops[p].outputs}
    later = {i for op in graph.ops[stop:] for i in op.inputs} | set(graph.outputs)
    inputs = dict.fromkeys(i for p in own for i in row_inputs(graph, graph.ops[p]) if i not in made)
    results = tuple(sorted(made & {i for i in later if i is not None}))
    region = Region(graph, start, stop, own, tuple(inputs), results)
    if results:
        yield region
    if _is_mean(graph, stop, results):
        yield Region(graph, start, stop, own, tuple(inputs), results, stop)


def _is_mean(graph: Graph, position: int, results: tuple[int, ...]) -> bool:
    """Whether op `position` takes the mean of the only result over all its pixels (int8)."""
    if len(results) != 1 or position >= len(graph.ops):
        return False
    op = graph.ops[position]
    if op.inputs[0] != results[0] or results[0] in graph.outputs:
        return False
    if any(results[0] in other.inputs for other in graph.ops[position + 1 :]):
        return False
    source, out = graph.tensors[results[0]], graph.tensors[op.outputs[0]]
    if source.dtype != "int8" or out.dtype != "int8" or None in (source.quant, out.quant):
        return False
    if op.kind == "mean":
        return axes_of(source, graph.ins(op)[1]) == (1, 2)
    window = op.attrs.get("filter_height"), op.attrs.get("filter_width")
    whole = op.kind == "average_pool_2d" and window == source.shape[1:3]
    return whole and op.attrs["padding"] in ("valid", "same", (0,) * 4) and out.size == out.shape[3]


def useful(region: Region) -> bool:
    """Whether some tensor need not be whole: one made inside, or a mean's input."""
    inner = any(
        i not in region.results for p in region.positions for i in region.graph.ops[p].outputs
    )
    return inner or region.mean is not None

"""Which rows of which tensor each strip makes."""

from __future__ import annotations

from collections.abc import Iterator

from tinykit.engine.patches.region import Region
from tinykit.engine.patches.rows import Rows, row_inputs

#: rows by tensor: those that a strip makes, or that it can rely on
Extent = dict[int, Rows]


def recomputed(region: Region, strips: int) -> list[Extent]:
    """Each strip makes all the rows that its own rows of the results need."""
    made = []
    for k in range(strips):
        extent: Extent = {}
        for i in region.results:
            rows = region.rows(i)
            low, high = rows * k // strips, rows * (k + 1) // strips
            if low < high:
                extent[i] = (low, high)
        _pull(region, extent)
        made.append(extent)
    return made


def kept(region: Region, along: int, rows: int) -> list[Extent]:
    """Each strip makes the rows that come new: those that earlier strips made are kept.

    A strip has the input rows for `rows` further rows of tensor `along`; it makes the rows of the
    results that follow from those, and of the other tensors what these and the next one need.
    """
    total = region.rows(along)
    made: list[Extent] = []
    before: dict[int, int] = {}
    for limit in range(rows, total + rows, rows):
        reach: Extent = {along: (0, min(limit, total))}
        _pull(region, reach)
        ends = {
            i: region.rows(i) if limit >= total or i not in reach else reach[i][1]
            for i in region.inputs
        }
        for position in region.positions:
            op = region.graph.ops[position]
            enough = min(ends[i] for i in row_inputs(region.graph, op))
            ends[op.outputs[0]] = region.windows[position].ready(enough)
        # no more than the results' next row needs, and that as soon as it can be had
        wanted: Extent = {i: (0, min(ends[i] + 1, region.rows(i))) for i in region.results}
        _pull(region, wanted)
        extent = {}
        for i, (_, most) in wanted.items():
            high = min(most, ends[i])
            if high > before.get(i, 0):
                extent[i] = (before.get(i, 0), high)
                before[i] = high
        if any(i not in region.inputs for i in extent):
            made.append(extent)
    return made


def first_needed(region: Region, tensor: int, ends: dict[int, int]) -> int | None:
    """The first row of `tensor` that later strips read, when the tensors are made up to `ends`."""
    lows = []
    for position in region.positions:
        op = region.graph.ops[position]
        if tensor not in op.inputs:
            continue
        window, done = region.windows[position], ends.get(op.outputs[0], 0)
        if done < window.out:
            lows.append(window.needs(done, done + 1)[0])
    return min(lows, default=None)


def readers(region: Region, extent: Extent) -> Iterator[tuple[int, int, Rows]]:
    """Position of each op that works in this strip, its output and the rows made of that."""
    for position in region.positions:
        out = region.graph.ops[position].outputs[0]
        if out in extent:
            yield position, out, extent[out]


def _pull(region: Region, extent: Extent) -> None:
    """Add to `extent` what its rows need, back to the region's inputs."""
    for position in reversed(region.positions):
        op, window = region.graph.ops[position], region.windows[position]
        out = op.outputs[0]
        if out not in extent:
            continue
        extent[out] = window.grown(*extent[out])
        low, high = window.needs(*extent[out])
        for i in row_inputs(region.graph, op):
            was = extent.get(i, (low, high))
            extent[i] = (min(was[0], low), max(was[1], high))

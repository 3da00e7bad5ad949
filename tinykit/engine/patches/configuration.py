"""A way to compute a network in patches: which ops, in how many strips, with what halo."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tinykit.engine.patches.extent import Extent, kept, recomputed
from tinykit.engine.patches.region import Region, regions, useful
from tinykit.engine.patches.rewrite import in_strips
from tinykit.graph.ir import Graph

#: rows that two strips need are made twice (MCUNetV2), or kept in line buffers
HALOS = ("recompute", "keep")
#: how many strips are tried; more make more code, and each reads the weights once more
STRIPS = {"recompute": (2, 3, 4, 5, 6, 8), "keep": (2, 3, 4, 6, 8, 12, 16, 24, 32)}
#: strips times layers at most: each calls a function, and to plan thousands would take minutes
CALLS = 1000


@dataclass(frozen=True, eq=False)
class Patches:
    """A region of a graph and the strips in which it is computed.

    Attributes
    ----------
    halo : one of `HALOS`
    extents : for each strip, the rows of each tensor that it makes
    """

    region: Region
    halo: str
    extents: tuple[Extent, ...]

    @property
    def strips(self) -> int:
        return len(self.extents)

    @property
    def positions(self) -> range:
        """The ops of the graph that work in strips."""
        mean = self.region.mean
        return range(self.region.start, self.region.stop if mean is None else mean + 1)

    def __str__(self) -> str:
        graph, at = self.region.graph, self.positions
        how = "kept in line buffers" if self.halo == "keep" else "computed twice"
        return (
            f"ops {at[0]} to {at[-1]} ({graph.ops[at[0]].kind} to {graph.ops[at[-1]].kind}) in "
            f"{self.strips} strips, rows that strips share {how}"
        )


@dataclass(frozen=True, eq=False)
class Patched:
    """A graph with a region in strips.

    Attributes
    ----------
    graph : gives the same outputs, bit for bit
    origin : for each op of `graph`, the position of the op in the whole graph that it belongs to
    """

    patches: Patches
    graph: Graph
    origin: tuple[int, ...]

    @property
    def whole(self) -> Graph:
        """The graph before."""
        return self.patches.region.graph

    @property
    def recompute_macs(self) -> int:
        """Multiply-accumulates of one inference beyond those of the whole graph (counted)."""
        return self.graph.macs - self.whole.macs

    @property
    def work(self) -> int:
        """What a run costs beside its instructions an output (modelled, to rank configurations):
        multiply-accumulates, and one for each weight that a strip reads again and for each byte
        that is copied to bring rows together."""
        graph, total = self.graph, self.graph.macs
        for op in graph.ops:
            if op.kind == "concatenation":
                total += sum(graph.tensors[i].nbytes for i in op.outputs)
            elif op.kind != "strided_slice":
                total += sum(t.size for t in graph.ins(op) if t is not None and t.is_const)
        return total


def rewrite(patches: Patches) -> Patched:
    """The graph that `patches` describes."""
    graph, origin = in_strips(patches.region, patches.extents, patches.halo == "keep")
    return Patched(patches, graph, tuple(origin))


def configurations(
    graph: Graph,
    strips: Sequence[int] | None = None,
    halos: Sequence[str] = HALOS,
    live: Sequence[int] | None = None,
) -> Iterator[Patches]:
    """Every configuration that may be worth its while.

    Parameters
    ----------
    strips : how many; those of `STRIPS` by default
    live : bytes that each op needs without patches, by which regions are left out
    """
    for region in _worthwhile(graph, live or [0] * len(graph.ops)):
        for halo in halos:
            for count in strips or STRIPS[halo]:
                for extents in _extents(region, halo, count):
                    if 1 < len(extents) <= CALLS // len(region.positions):
                        yield Patches(region, halo, tuple(extents))


def _extents(region: Region, halo: str, strips: int) -> Iterator[list[Extent]]:
    if halo == "recompute":
        if strips <= max(region.rows(i) for i in region.results):
            yield recomputed(region, strips)
        return
    seen = set()
    # strips of even rows where the rows come from, or where they end
    for along in (region.inputs[0], region.results[0]):
        total = region.rows(along)
        rows = -(-total // strips)
        if strips <= total and (along, rows) not in seen:
            seen.add((along, rows))
            yield kept(region, along, rows)


def _worthwhile(graph: Graph, live: Sequence[int]) -> list[Region]:
    """Regions but those that a shorter one beats: with results no larger, and no more needed by
    the ops that stay whole."""
    found: list[tuple[int, int, int, Region]] = []
    for region in regions(graph):
        if not useful(region) or not region.inputs:
            continue
        stop = region.stop if region.mean is None else region.mean + 1
        outside = max([*live[: region.start], *live[stop:]], default=0)
        if region.mean is None:
            held = sum(graph.tensors[i].nbytes for i in region.results)
        else:  # one int32 for each channel
            held = 4 * graph.tensors[region.results[0]].shape[3]
        beaten = any(
            region.start == start and held >= least and outside >= needed
            for start, least, needed, _ in found
        )
        if not beaten:
            found.append((region.start, held, outside, region))
    return [region for *_, region in found]

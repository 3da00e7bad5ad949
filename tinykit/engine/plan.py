"""The memory planner: where in the arena each activation lives, and when.

In this order: which tensors share memory because an op costs nothing (`tinykit.engine.views`), when
each is needed (`lifetimes`), which must keep clear of one another (`conflicts`), how small an arena
can be (`footprint`), and where everything goes (`placement`).

Graph inputs and outputs live in the arena as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tinykit.engine.conflicts import Leads, find_conflicts, leads_of
from tinykit.engine.footprint import footprints
from tinykit.engine.lifetimes import ALIGNMENT, Body, bodies_of, find_lifetimes, round_up, spans
from tinykit.engine.placement import place
from tinykit.engine.views import Homes, find_homes
from tinykit.graph.ir import Graph

if TYPE_CHECKING:
    from tinykit.engine.arrange import Step

__all__ = ["ALIGNMENT", "MemoryPlan", "find_lifetimes", "least", "plan"]


@dataclass(frozen=True)
class MemoryPlan:
    """The layout of one graph's arena.

    Attributes
    ----------
    arena_bytes : size of the arena
    offsets : byte offset in the arena, by tensor index; every activation has one, save those inside
        a chain that one function computes
    lifetimes : first and last op (positions, inclusive) between which the bytes of each tensor must
        be kept for its own sake (a view's from when they are made, whatever the view's op);
        graph inputs live from op 0, graph outputs to the last op
    live_bytes : for each op, the fewest bytes that hold what is needed while it runs; bytes that an
        output can share with an input count once
    peak_op : position of the op that needs most; None in a graph without ops
    scratch : byte offset of the scratch memory of a step, by the position of its last op
    free : positions of the ops that cost nothing, as their outputs are bytes that exist already
    proven : whether no smaller arena exists, by the bound or by a search of all layouts
    """

    arena_bytes: int
    offsets: dict[int, int]
    lifetimes: dict[int, tuple[int, int]]
    live_bytes: list[int]
    peak_op: int | None
    scratch: dict[int, int] = field(default_factory=dict)
    free: frozenset[int] = frozenset()
    proven: bool = False

    @property
    def lower_bound(self) -> int:
        """No layout can be smaller than this many bytes."""
        if self.proven:
            return self.arena_bytes
        return round_up(max(self.live_bytes, default=0), ALIGNMENT)

    @property
    def gap(self) -> float:
        """By how much the arena exceeds the lower bound: 0 where it is the smallest possible."""
        return self.arena_bytes / self.lower_bound - 1 if self.lower_bound else 0.0


def plan(graph: Graph, steps: Sequence[Step] | None = None, in_place: bool = True) -> MemoryPlan:
    """Lay out the activations of `graph`; deterministic.

    Parameters
    ----------
    steps : what computes it, with the memory that takes; by default one plain step an op
    in_place : whether outputs may lie over inputs that are read for the last time, where the
        kernels allow it, and slices and concatenations in what they are taken from and put into
    """
    if steps is None:
        from tinykit.engine.arrange import Step

        steps = [Step((position,)) for position in range(len(graph.ops))]
    homes, life, bodies, leads = _things(graph, steps, in_place)
    needed = footprints(bodies, leads, len(steps))
    at, proven = place(bodies, find_conflicts(bodies, leads), max(needed, default=0))
    total = max((a + body.size for a, body in zip(at, bodies, strict=True)), default=0)
    offsets = {
        i: a + o for a, body in zip(at, bodies, strict=True) for i, o in body.tensors.items()
    }
    live = [size for s, size in zip(steps, needed, strict=True) for _ in s.positions]
    return MemoryPlan(
        arena_bytes=round_up(total, ALIGNMENT),
        offsets={i: offset for i, offset in offsets.items() if i >= 0},
        lifetimes={i: _in_ops(steps, *life[i]) for i in life},
        live_bytes=live,
        peak_op=max(range(len(live)), key=live.__getitem__) if live else None,
        scratch={steps[-1 - i].positions[-1]: at for i, at in offsets.items() if i < 0},
        free=frozenset(homes.free),
        proven=proven,
    )


def least(graph: Graph, steps: Sequence[Step], in_place: bool = True) -> int:
    """A size that no arena can fall below (`MemoryPlan.lower_bound` unless a search proves more);
    much faster than a plan."""
    _, _, bodies, leads = _things(graph, steps, in_place)
    return round_up(max(footprints(bodies, leads, len(steps)), default=0), ALIGNMENT)


def _things(
    graph: Graph, steps: Sequence[Step], in_place: bool
) -> tuple[Homes, dict[int, tuple[int, int]], list[Body], Leads]:
    """What has to be placed, and what may lie over what."""
    inner = {i for s in steps for p in s.positions[:-1] for i in graph.ops[p].outputs}
    plain = {s.positions[0] for s in steps if len(s.positions) == 1 and s.schedule is None}
    activations = [i for i in find_lifetimes(graph) if i not in inner]
    homes = find_homes(graph, activations, plain, views=in_place)
    life = spans(graph, steps, homes)
    bodies = bodies_of(graph, steps, homes, life)
    return homes, life, bodies, leads_of(graph, steps) if in_place else {}


def _in_ops(steps: Sequence[Step], first: int, last: int) -> tuple[int, int]:
    if not steps:
        return 0, 0
    return steps[first].positions[0], steps[min(last, len(steps) - 1)].positions[-1]

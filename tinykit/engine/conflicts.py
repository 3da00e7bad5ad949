"""Which bodies must keep clear of one another, and how far.

Two bodies that are needed at the same time must not share bytes, save where a step's output may lie
over an input that it reads for the last time (`Needs.lead`). Seen from one body, each other one
forbids it a range of addresses; with the lead that range is shorter.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tinykit.engine.lifetimes import Body, Part, reads_of, round_up
from tinykit.engine.views import WORD
from tinykit.graph.ir import Graph

if TYPE_CHECKING:
    from tinykit.engine.arrange import Step

#: a body as seen from another: its number, and that ``address - its address`` must not lie strictly
#: between the two bounds
Row = tuple[int, int, int]


class Lead(NamedTuple):
    """By how many `bytes` an output has to lie before an input that it shares memory with: infinite
    where it must not. `pinned`: by just as many, or apart (`Needs.grain` asks for whole pixels; of
    the distances that would do, the smallest is the one that is used)."""

    bytes: float
    pinned: bool = False


#: (tensor read, tensor written) -> lead
Leads = dict[tuple[int, int], Lead]


def leads_of(graph: Graph, steps: Iterable[Step]) -> Leads:
    """What each step says about its output and its inputs."""
    leads: Leads = {}
    for step in steps:
        outs = graph.ops[step.positions[-1]].outputs
        allowed = step.needs.lead if len(outs) == 1 else {}
        unit = math.lcm(step.needs.grain, WORD)
        pinned = unit > WORD
        for number, i in enumerate(reads_of(graph, step)):
            for out in outs:
                lead: float = allowed.get(number, math.inf)
                if pinned and lead < math.inf:
                    lead = round_up(int(lead), unit)
                was = leads.get((i, out), Lead(-math.inf))
                leads[i, out] = Lead(max(was.bytes, lead), was.pinned or pinned)
    return leads


def find_conflicts(bodies: Sequence[Body], leads: Leads) -> list[list[Row]]:
    """For each body what the others forbid it."""
    rows: list[list[Row]] = [[] for _ in bodies]
    order = sorted(range(len(bodies)), key=lambda i: bodies[i].first)
    firsts = np.array([bodies[i].first for i in order])
    sizes = [body.size for body in bodies]
    simple = [len(body.parts) == 1 for body in bodies]
    for k, i in enumerate(order):
        body, last = bodies[i], bodies[i].last
        for j in order[k + 1 : int(np.searchsorted(firsts, last, "right"))]:
            other = bodies[j]
            if simple[i] and simple[j] and other.first < last:
                ranges = [(-sizes[j], sizes[i])]
            else:
                ranges = _forbidden(body, other, leads)
            for low, high in ranges:
                rows[j].append((i, low, high))
                rows[i].append((j, -high, -low))
    return rows


def overlap(over: Part, under: Part, leads: Leads) -> Lead | None:
    """The lead by which `over`, just being written, may lie over `under`, read for the last time:
    bytes from the start of `over` to that of `under`. None where they must be apart."""
    if under.last != over.first:
        return None
    found = [leads[i, o] for i in under.tensors for o in over.tensors if (i, o) in leads]
    most = max((lead.bytes for lead in found), default=math.inf)
    pinned = any(lead.pinned for lead in found)
    if most == math.inf or (pinned and len(set(found)) > 1):
        return None
    return Lead(round_up(int(most)), pinned)


def _forbidden(body: Body, other: Body, leads: Leads) -> list[tuple[int, int]]:
    """Open ranges in which ``address of other - address of body`` must not lie."""
    found = []
    for p in body.parts:
        for q in other.parts:
            if p.last < q.first or q.last < p.first:
                continue
            shift = p.offset - q.offset
            low, high = shift - q.size, shift + p.size
            if (lead := overlap(q, p, leads)) is not None:
                edge = shift - int(lead.bytes)
                found += [(max(low, edge), high)] + [(low, min(high, edge))] * lead.pinned
            elif (lead := overlap(p, q, leads)) is not None:
                edge = shift + int(lead.bytes)
                found += [(low, min(high, edge))] + [(max(low, edge), high)] * lead.pinned
            else:
                found.append((low, high))
    found = [(low, high) for low, high in found if low < high]
    found.sort()
    merged: list[tuple[int, int]] = []
    for low, high in found:
        if merged and low < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return merged

"""Which bodies must keep clear of one another, and how far.

Two bodies that are needed at the same time must not share bytes, save where a step's output may lie
over an input that it reads for the last time (`Needs.lead`). Seen from one body, each other one
forbids it a range of addresses; with the lead that range is shorter.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tinykit.engine.lifetimes import Body, Part, reads_of, round_up
from tinykit.graph.ir import Graph

if TYPE_CHECKING:
    from tinykit.engine.arrange import Step

#: a body as seen from another: its number, and that ``address - its address`` must not lie strictly
#: between the two bounds
Row = tuple[int, int, int]
#: (tensor read, tensor written) -> lead; infinite where they must not share memory
Leads = dict[tuple[int, int], float]


def leads_of(graph: Graph, steps: Iterable[Step]) -> Leads:
    """What each step says about its output and its inputs."""
    leads: Leads = {}
    for step in steps:
        outs = graph.ops[step.positions[-1]].outputs
        allowed = step.needs.lead if len(outs) == 1 else {}
        for number, i in enumerate(reads_of(graph, step)):
            for out in outs:
                lead = allowed.get(number, math.inf)
                leads[i, out] = max(leads.get((i, out), -math.inf), lead)
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


def overlap(over: Part, under: Part, leads: Leads) -> float | None:
    """The lead by which `over`, just being written, may lie over `under`, read for the last time:
    bytes from the start of `over` to that of `under`. None where they must be apart."""
    if under.last != over.first:
        return None
    found = [leads[i, o] for i in under.tensors for o in over.tensors if (i, o) in leads]
    if not found or max(found) == math.inf:
        return None
    return round_up(int(max(found)))


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
                low = max(low, shift - int(lead))
            elif (lead := overlap(p, q, leads)) is not None:
                high = min(high, shift + int(lead))
            if low < high:
                found.append((low, high))
    found.sort()
    merged: list[tuple[int, int]] = []
    for low, high in found:
        if merged and low < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return merged

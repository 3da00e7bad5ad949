"""How much memory each step cannot do without: the planner's lower bound.

What is needed during a step takes at least its bytes, less what the step's output can share with
inputs that are read for the last time. Each step is looked at alone, so an arena of the largest of
these sizes need not exist.
"""

from __future__ import annotations

from collections.abc import Sequence

from tinykit.engine.conflicts import Leads, overlap
from tinykit.engine.lifetimes import Body, Part


def footprints(bodies: Sequence[Body], leads: Leads, steps: int) -> list[int]:
    """For each step the fewest bytes that hold everything that is needed while it runs."""
    change = [0] * (steps + 2)
    dying: list[list[tuple[int, Part]]] = [[] for _ in range(steps + 1)]
    born: list[list[tuple[int, Part]]] = [[] for _ in range(steps + 1)]
    for n, body in enumerate(bodies):
        for size, first, last in _needed(body):
            change[first] += size
            change[last + 1] -= size
        for part in body.parts:
            dying[part.last].append((n, part))
            born[part.first].append((n, part))
    found, held = [], 0
    for t in range(steps):
        held += change[t]
        found.append(held - _shared(dying[t], born[t], leads))
    return found


def _needed(body: Body) -> list[tuple[int, int, int]]:
    """(bytes, first step, last step): each byte of the body that is needed, counted once."""
    if len(body.parts) == 1:
        (part,) = body.parts
        return [(part.size, part.first, part.last)]
    cuts = sorted({edge for p in body.parts for edge in (p.offset, p.offset + p.size)})
    number = {cut: k for k, cut in enumerate(cuts)}
    lives: list[list[tuple[int, int]]] = [[] for _ in cuts]
    for part in body.parts:
        for k in range(number[part.offset], number[part.offset + part.size]):
            lives[k].append((part.first, part.last))
    found = []
    for k, spans in enumerate(lives[:-1]):
        reach = -1
        for first, last in sorted(spans):
            if last > reach:
                found.append((cuts[k + 1] - cuts[k], max(first, reach + 1), last))
                reach = last
    return found


def _shared(
    dying: Sequence[tuple[int, Part]], born: Sequence[tuple[int, Part]], leads: Leads
) -> int:
    """The most bytes that the step's output can share with inputs that die."""
    for home, made in born:
        under = []
        for n, part in dying:
            found = overlap(made, part, leads)
            if n != home and found is not None:
                under.append((max(found.bytes, 0), part.size))
        if under:  # one output at most has a lead
            end = 0.0
            for lead, size in sorted(under):  # inputs behind one another, each as soon as it may
                end = max(end, lead) + size
            together = max(made.size, end)
            return max(0, made.size + sum(size for _, size in under) - int(together))
    return 0

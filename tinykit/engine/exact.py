"""The smallest arena, by branch and bound.

Of two bodies that must keep clear of one another, one lies low or the other does. A node of the
search has decided that for some pairs; the lowest addresses that obey are a bound for everything
below the node. If they obey all pairs, they are a solution; else a pair that they break is decided
both ways.
"""

from __future__ import annotations

from collections.abc import Sequence

from tinykit.engine.conflicts import Row
from tinykit.engine.lifetimes import ALIGNMENT, round_up

#: how much work the searches of a plan may be: pairs looked at
WORK = 400_000
#: (body, distance): the address of body is at least one's own and the distance
Arcs = list[list[tuple[int, int]]]


def search(
    size: Sequence[int],
    align: Sequence[int],
    rows: Sequence[Sequence[Row]],
    among: Sequence[int],
    bound: int,
    known: int,
    most: int = WORK,
) -> tuple[list[int] | None, bool, int]:
    """Addresses that need less than `known` bytes, if some were found; whether the search came to
    its end, which proves the best known size the smallest; and the work it was.

    Parameters
    ----------
    rows : for each body what the others forbid it
    among : the bodies to place
    bound : a size at which to stop
    most : the search ends when it was more work than this
    """
    pairs = sorted(
        ((i, j, low, high) for i in among for j, low, high in rows[i] if j < i),
        key=lambda p: -size[p[0]] - size[p[1]],
    )
    best: list[int] | None = None
    limit = round_up(known, ALIGNMENT) - ALIGNMENT  # what a better solution may take
    start = [0 if i in set(among) else -1 for i in range(len(size))]
    stack: list[tuple[list[int], tuple[tuple[int, int, int], ...]]] = [(start, ())]
    work = 0
    while stack:
        at, decided = stack.pop()
        if any(at[i] + size[i] > limit for i in among):
            continue  # the limit has come down since
        broken = None
        for i, j, low, high in pairs:
            work += 1
            if low < at[i] - at[j] < high:
                broken = (i, j, low, high)
                break
        if broken is None:
            best = at
            limit = round_up(max(at[i] + size[i] for i in among), ALIGNMENT) - ALIGNMENT
            if limit < bound:
                return best, True, work
            continue
        if work > most:
            return best, False, work
        i, j, low, high = broken
        children = []
        for choice in ((j, i, high), (i, j, -low)):
            arcs = (*decided, choice)
            lowest, cost = _settle(at, arcs, choice, size, align, limit)
            work += cost
            if lowest is not None:
                children.append((sum(lowest), lowest, arcs))
        children.sort(key=lambda c: -c[0])  # the tighter one is taken first
        stack += [(lowest, arcs) for _, lowest, arcs in children]
    return best, True, work


def _settle(
    at: list[int],
    arcs: tuple[tuple[int, int, int], ...],
    fresh: tuple[int, int, int],
    size: Sequence[int],
    align: Sequence[int],
    limit: int,
) -> tuple[list[int] | None, int]:
    """The lowest addresses that obey ``address(b) >= address(a) + distance`` for all arcs
    (a, b, distance), given those without `fresh`; None if something ends up beyond the limit."""
    at = list(at)
    queue = [fresh[0]]
    work = 0
    while queue:
        a = queue.pop()
        for start, end, distance in arcs:
            work += 1
            if start == a and at[end] < at[a] + distance:
                at[end] = -(-(at[a] + distance) // align[end]) * align[end]
                if at[end] + size[end] > limit:
                    return None, work
                queue.append(end)
    return at, work

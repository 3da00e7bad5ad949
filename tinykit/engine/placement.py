"""Offline dynamic storage allocation: an address for each body, in as small an arena as possible.

The problem is NP-hard. Bodies that fit wherever the others go are put aside; the rest falls into
groups that have nothing to do with one another. Each is placed greedily in several orders ("lowest
address that fits", Lee and Pisarchyk, 2020, "Efficient Memory Management for Deep Neural Net
Inference"), then by branch and bound (`tinykit.engine.exact`), then by random changes of the best
order, within a fixed amount of work, so that the result does not depend on the machine.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from tinykit.engine.conflicts import Row
from tinykit.engine.exact import WORK as SEARCH
from tinykit.engine.exact import search
from tinykit.engine.lifetimes import ALIGNMENT, Body, round_up

#: how many forbidden ranges the random changes may look at in all
WORK = 600_000
#: and how many changes are tried at most
TRIES = 3000


def place(
    bodies: Sequence[Body], rows: Sequence[Sequence[Row]], bound: int
) -> tuple[list[int], bool]:
    """An address for each body, and whether no smaller arena exists.

    Parameters
    ----------
    rows : for each body what the others forbid it (`tinykit.engine.conflicts`)
    bound : a size that no arena can fall below; the search stops there
    """
    size = [body.size for body in bodies]
    align = [body.align for body in bodies]
    bound = round_up(bound, ALIGNMENT)
    easy = _easy(size, align, rows, bound)
    aside = set(easy)
    near = [[row for row in rows[i] if row[0] not in aside] for i in range(len(rows))]
    at: list[int] = [-1] * len(bodies)
    total, proven, work = 0, True, _Work()
    for group in _groups(near, [i for i in range(len(bodies)) if i not in aside], size):
        # a group need not be smaller than one that was placed before
        found, needed, least = _place_group(
            bodies, size, align, near, group, max(bound, round_up(total, ALIGNMENT)), work
        )
        for i in group:
            at[i] = found[i]
        if needed > total:
            total, proven = needed, least
    for i in reversed(easy):
        at[i] = _lowest(at, rows[i], align[i])
        total = max(total, at[i] + size[i])
    return at, proven or round_up(total, ALIGNMENT) <= bound


@dataclass
class _Work:
    """What is left for all groups together."""

    search: int = SEARCH
    changes: int = WORK


def _groups(
    near: Sequence[Sequence[Row]], hard: Sequence[int], size: Sequence[int]
) -> list[list[int]]:
    """Bodies that constrain one another, directly or by others; the largest groups first."""
    seen: set[int] = set()
    groups = []
    for start in hard:
        if start in seen:
            continue
        seen.add(start)
        group = [start]
        for i in group:  # grows on the way
            fresh = [j for j, _, _ in near[i] if j not in seen]
            seen.update(fresh)
            group += dict.fromkeys(fresh)
        groups.append(sorted(group))
    return sorted(groups, key=lambda g: (-sum(size[i] for i in g), g))


def _place_group(
    bodies: Sequence[Body],
    size: Sequence[int],
    align: Sequence[int],
    near: Sequence[Sequence[Row]],
    hard: Sequence[int],
    bound: int,
    work: _Work,
) -> tuple[list[int], int, bool]:
    best: list[int] = [-1] * len(bodies)
    best_total, best_order = -1, list(hard)
    for key in (
        lambda i: (-size[i], bodies[i].first),
        lambda i: (-size[i] * (bodies[i].last - bodies[i].first + 1), i),
        lambda i: (bodies[i].first, -size[i]),
        lambda i: (-bodies[i].last, -size[i]),
        lambda i: (bodies[i].first - bodies[i].last, -size[i]),
    ):
        order = sorted(hard, key=key)
        at, total = _fit(size, align, near, order)
        if best_total < 0 or total < best_total:
            best, best_total, best_order = at, total, order
        if best_total <= bound:
            return best, best_total, True
    better, proven, spent = search(size, align, near, hard, bound, best_total, work.search)
    work.search -= spent
    if better is not None:
        best = better
        best_total = max(best[i] + size[i] for i in hard)
        best_order = sorted(hard, key=best.__getitem__)
    if proven:
        return best, best_total, True
    rng = random.Random(0)
    step = sum(len(near[i]) for i in hard) + len(hard)
    for _ in range(min(TRIES, work.changes // step)):
        if best_total <= bound:
            break
        work.changes -= step
        order = list(best_order)
        # every other change moves one of those that reach highest
        high = [k for k, i in enumerate(order) if best[i] + size[i] > best_total - ALIGNMENT]
        moved = rng.choice(high) if high and rng.random() < 0.5 else rng.randrange(len(order))
        body = order.pop(moved)
        order.insert(rng.randrange(len(order) + 1), body)
        at, total = _fit(size, align, near, order)
        if total <= best_total:
            best, best_total, best_order = at, total, order
    return best, best_total, best_total <= bound


def _easy(
    size: Sequence[int], align: Sequence[int], rows: Sequence[Sequence[Row]], bound: int
) -> list[int]:
    """Bodies for which there is room below `bound` wherever the others are, in an order in which
    each needs to look only at those that are not yet put aside."""
    taken = [sum(high - low + align[i] for _, low, high in rows[i]) for i in range(len(rows))]
    room = [bound - s for s in size]
    aside = [taken[i] <= room[i] for i in range(len(rows))]
    queue = [i for i in range(len(rows)) if aside[i]]
    for i in queue:  # grows on the way
        for j, low, high in rows[i]:
            if not aside[j]:
                taken[j] -= high - low + align[j]
                if taken[j] <= room[j]:
                    aside[j] = True
                    queue.append(j)
    return queue


def _fit(
    size: Sequence[int],
    align: Sequence[int],
    rows: Sequence[Sequence[Row]],
    order: Sequence[int],
) -> tuple[list[int], int]:
    """Place in `order`, each at the lowest address that it may have; (addresses, total size)."""
    at = [-1] * len(size)
    total = 0
    for i in order:
        at[i] = spot = _lowest(at, rows[i], align[i])
        total = max(total, spot + size[i])
    return at, total


def _lowest(at: Sequence[int], rows: Sequence[Row], align: int) -> int:
    spot = 0
    for low, high in sorted((at[j] + low, at[j] + high) for j, low, high in rows if at[j] >= 0):
        if low < spot < high:
            spot = -(-high // align) * align
    return spot

"""The inner step of the exact choice of bits: one more layer in a table of least costs.

Arguments: `best`, float64 (budget + 1,): best[s] is the least cost of the layers so far with at
most s bytes to spend; `costs`, float64 (options,), what each choice of bits costs in the next
layer; `more`, int64 (options,), the bytes that each takes, the first 0. The result is the same
table with this layer in it, which has to take exactly one of its options. The right answer is the
kit's own knapsack, `tinykit.quant.mixed.allocate`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinykit.course.exercise import Exercise, Mistake

Array = np.ndarray


def solve(best: Array, costs: Array, more: Array) -> Array:
    """By the kit's knapsack: what is spent so far is a layer, too, with an option for each sum."""
    from tinykit.quant.mixed import allocate

    price = {"so far": dict(enumerate(best.tolist())), "next": dict(enumerate(costs.tolist()))}
    size = {"so far": {s: s for s in range(len(best))}, "next": dict(enumerate(more.tolist()))}
    found = [allocate(price, size, budget) for budget in range(len(best))]
    return np.array([sum(price[name][at] for name, at in choice.items()) for choice in found])


def _step(best: Array, costs: Array, more: Array, start: Array, late: int = 0) -> Array:
    new = start.copy()
    for cost, bytes_ in zip(costs, more, strict=True):
        first = bytes_ + late if bytes_ else 0
        for s in range(first, len(best)):
            new[s] = min(new[s], best[s - bytes_] + cost)
    return new


def _left_out(best: Array, costs: Array, more: Array) -> Array:
    return _step(best, costs, more, best)


def _in_place(best: Array, costs: Array, more: Array) -> Array:
    """Goes on from what this layer's own options have just written."""
    new = best + costs[0]
    for cost, bytes_ in zip(costs[1:], more[1:], strict=True):
        for s in range(bytes_, len(best)):
            new[s] = min(new[s], new[s - bytes_] + cost)
    return new


def _spent_twice(best: Array, costs: Array, more: Array) -> Array:
    fitting = [costs[more <= s].min() for s in range(len(best))]
    return best + np.array(fitting)


def _greedy(best: Array, costs: Array, more: Array) -> Array:
    new = np.zeros(len(best))
    for s in range(len(best)):
        fits = np.flatnonzero(more <= s)
        k = fits[costs[fits].argmin()]
        new[s] = best[s - more[k]] + costs[k]
    return new


def _late(best: Array, costs: Array, more: Array) -> Array:
    return _step(best, costs, more, np.full(len(best), np.inf), late=1)


def _other_way(best: Array, costs: Array, more: Array) -> Array:
    new = np.full(len(best), np.inf)
    for cost, bytes_ in zip(costs, more, strict=True):
        for s in range(len(best) - bytes_):
            new[s] = min(new[s], best[s + bytes_] + cost)
    return new


def _alone(best: Array, costs: Array, more: Array) -> Array:
    return np.array([costs[more <= s].min() for s in range(len(best))])


def _last(best: Array, costs: Array, more: Array) -> Array:
    new = np.zeros(len(best))
    for cost, bytes_ in zip(costs, more, strict=True):
        new[bytes_:] = best[: max(len(best) - bytes_, 0)] + cost
    return new


def _cases() -> list[tuple[Any, ...]]:
    rng = np.random.default_rng(7)
    made: list[tuple[Any, ...]] = [
        (np.array([8.0, 8, 3, 3, 1]), np.array([5.0, 1, 0]), np.array([0, 2, 3]))
    ]
    for budget, options in ((20, 4), (30, 6)):
        best = np.sort(rng.random(budget + 1))[::-1].copy()
        more = np.cumsum(np.r_[0, rng.integers(2, 8, options)])
        # not all sorted: a measured cost may rise with the bits, by chance
        made.append((best, rng.random(options + 1), more))
    return made


_ROOM = (
    "An option that takes more bytes than the whole budget leaves nothing to copy: skip it, and "
    "look at the lengths of the two slices."
)

EXERCISE = Exercise(
    name="add_layer",
    task="Return the table with one more layer: new[s] is the least, over the options that fit "
    "into s bytes, of the option's cost plus best at what remains (1e-9 is close enough).",
    solve=solve,
    cases=_cases(),
    tolerance=1e-9,
    stops=(("could not be broadcast", _ROOM), ("out of bounds", _ROOM)),
    mistakes=(
        Mistake(
            _left_out,
            "The new table started as a copy of the old one: then a layer may take no option at "
            "all, which costs nothing. Every layer takes exactly one; start from infinity.",
        ),
        Mistake(
            _in_place,
            "Options were read from the table that this layer is writing, so it takes several of "
            "them at once. Read from `best`, write into another array.",
        ),
        Mistake(
            _spent_twice,
            "The bytes of the option were spent twice: what is left for the layers before is "
            "s − more, so the cost of these is best[s − more], not best[s].",
        ),
        Mistake(
            _greedy,
            "Each sum took the cheapest option that fits and left the rest to the layers before. "
            "A dearer option may leave them bytes that are worth more there: try all that fit.",
        ),
        Mistake(
            _late,
            "An option that takes just the bytes that there are fits, too: more ≤ s, not more < s.",
        ),
        Mistake(
            _other_way,
            "The shift goes the wrong way: an option that takes bytes leaves fewer to the layers "
            "before, best[s − more].",
        ),
        Mistake(
            _alone,
            "This is the cost of the new layer alone; that of the layers so far comes on top.",
        ),
        Mistake(
            _last,
            "Each option overwrote the one before it, whether it was better or not: keep the "
            "smaller of the two (np.minimum).",
        ),
    ),
)

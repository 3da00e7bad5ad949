"""What the server of DP-FedAvg makes of the updates of a round.

Arguments: `updates`, float64 (n, P), one of each device that answered; `clip`, the largest norm of
an update; `noise`, the standard deviation of the noise on the sum over `clip`; `normal`, standard
normal numbers (P,); `expected`, how many devices take part on average. The result is the private
mean, (P,): McMahan et al. (ICLR 2018), algorithm 1, with a fixed denominator.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinykit.course.exercise import Exercise, Mistake

Array = np.ndarray


def _clipped(rows: Array, most: float) -> Array:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows * np.minimum(1.0, most / norms)


def solve(updates: Array, clip: float, noise: float, normal: Array, expected: float) -> Array:
    """Written out; a test compares it with what the kit's server does."""
    total = _clipped(updates, clip).sum(0)
    return np.asarray((total + noise * clip * normal) / expected)


def _variant(
    *,
    shorten: Callable[[Array, float], Array] = _clipped,
    deviation: Callable[[float, float, int], float] = lambda z, c, n: z * c,
    count: Callable[[int, float], float] = lambda n, expected: expected,
    after: bool = False,
    late: bool = False,
) -> Any:
    """The mean, as somebody who makes the named mistake computes it."""

    def mean(updates: Array, clip: float, noise: float, normal: Array, expected: float) -> Array:
        n = len(updates)
        total = updates.sum(0) if late else shorten(updates, clip).sum(0)
        if late:
            total = total * min(1.0, clip / float(np.linalg.norm(total)))
        added = deviation(noise, clip, n) * normal
        by = count(n, expected)
        return total / by + added if after else (total + added) / by

    return mean


def _answered(updates: Array, clip: float, noise: float, normal: Array, expected: float) -> Array:
    """The updates by those that answered, the noise by those that were expected."""
    return np.asarray(_clipped(updates, clip).mean(0) + noise * clip * normal / expected)


def _cases() -> list[tuple[Any, ...]]:
    rng = np.random.default_rng(12)
    small = np.array([[3.0, 4.0], [0.3, 0.4]])
    made: list[tuple[Any, ...]] = [(small, 1.0, 0.5, np.array([1.0, -1.0]), 4.0)]
    for n, size, clip, noise, expected in ((9, 30, 2.0, 1.3, 12.0), (25, 8, 0.5, 0.7, 20.0)):
        # some are longer than the clip, some shorter
        lengths = clip * np.exp(rng.normal(size=(n, 1)))
        rows = rng.normal(size=(n, size))
        rows *= lengths / np.linalg.norm(rows, axis=1, keepdims=True)
        made.append((rows, clip, noise, rng.normal(size=size), expected))
    return made


EXERCISE = Exercise(
    name="private_mean",
    task="Shorten each update to norm clip where it is longer, add noise * clip * normal to their "
    "sum, and divide by the expected number of devices (1e-6 is close enough).",
    solve=solve,
    cases=_cases(),
    tolerance=1e-6,
    stops=(
        (
            "broadcast",
            "A norm for each row has shape (n,): keepdims=True makes it a column that rows can be "
            "divided by.",
        ),
        (
            "truth value of an array",
            "Each row has a norm of its own: np.minimum compares all of them at once.",
        ),
    ),
    mistakes=(
        Mistake(
            _variant(shorten=lambda rows, most: np.clip(rows, -most, most)),
            "Single entries were cut to ±clip. An update of P entries can then still be clip·√P "
            "long, and that length is what the noise has to hide. Shorten the whole row, which "
            "keeps its direction.",
        ),
        Mistake(
            _variant(shorten=lambda rows, most: rows),
            "Nothing was shortened: one device with an update of any length shows through any "
            "noise.",
        ),
        Mistake(
            _variant(
                shorten=lambda rows, most: (
                    rows * (most / np.linalg.norm(rows, axis=1, keepdims=True))
                )
            ),
            "Every update was given norm clip, short ones too. Only those that are longer are "
            "shortened: look at the second row of the first case.",
        ),
        Mistake(
            _variant(
                shorten=lambda rows, most: rows * min(1.0, most / float(np.linalg.norm(rows)))
            ),
            "One norm was taken of the whole table. Each row is an update with a norm of its own: "
            "axis=1.",
        ),
        Mistake(
            _variant(late=True),
            "The sum was clipped, not each update. One device can then fill the whole sum, and "
            "push all others out of it.",
        ),
        Mistake(
            _variant(deviation=lambda z, c, n: z * c * n),
            "The noise is n times too large: it was added to every update. It belongs on the sum, "
            "once; that is why many devices pay less for it than few.",
        ),
        Mistake(
            _variant(deviation=lambda z, c, n: z * c * n**0.5),
            "The noise is √n times too large, as if every device had added noise of its own. The "
            "server adds it once, to the sum.",
        ),
        Mistake(
            _variant(after=True),
            "The noise was added to the mean, after the division. It belongs on the sum, so that "
            "it is divided, too.",
        ),
        Mistake(
            _variant(deviation=lambda z, c, n: z),
            "`noise` is a multiple of clip: where updates may be longer, more noise is needed to "
            "hide one.",
        ),
        Mistake(
            _variant(deviation=lambda z, c, n: 0.0),
            "There is no noise in it: two means that differ by one device tell what it sent.",
        ),
        Mistake(
            _variant(count=lambda n, expected: n),
            "The sum was divided by the number of devices that answered. That number depends on "
            "who came, and would tell it; divide by the expected number, which everybody knows.",
        ),
        Mistake(
            _answered,
            "The noise was divided by the expected number, but the updates by the number that "
            "answered (.mean does that). Add up first, then noise, then divide all by expected.",
        ),
        Mistake(
            _variant(count=lambda n, expected: 1.0),
            "This is the sum; the mean is asked for.",
        ),
    ),
)

"""Top-k with error feedback: what a device sends of an update, and what it keeps for later.

Arguments: `update`, float64 (P,); `residual`, what the device could not say so far (P,); `k`, how
many entries it may send. The result is (2, P): the message, zero where nothing is sent, and the new
residual. Seide et al. (Interspeech 2014), Stich et al. (NeurIPS 2018), algorithm 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinykit.course.exercise import Exercise, Mistake

Array = np.ndarray
#: (update, residual) → a vector
Mix = Callable[[Array, Array], Array]


def _both(update: Array, residual: Array) -> Array:
    return update + residual


def _update(update: Array, residual: Array) -> Array:
    return update


def _variant(
    *,
    chosen_by: Mix = _both,
    order: Callable[[Array], Array] = lambda x: -np.abs(x),
    sent: Mix = _both,
    owed: Mix = _both,
    keep: Callable[[Array, Array], Array] = lambda x, message: x - message,
    fewer: int = 0,
) -> Any:
    """Message and residual, as somebody who makes the named mistake computes them."""

    def say(update: Array, residual: Array, k: int) -> Array:
        largest = np.argsort(order(chosen_by(update, residual)), kind="stable")[: k - fewer]
        message = np.zeros_like(update)
        message[largest] = sent(update, residual)[largest]
        return np.stack([message, keep(owed(update, residual), message)])

    return say


def solve(update: Array, residual: Array, k: int) -> Array:
    """Written out; a test compares it with the kit's `TopK` over several rounds."""
    return np.asarray(_variant()(update, residual, k))


def _lost(update: Array, residual: Array, k: int) -> Array:
    """The entries that are sent were set to 0 in the sum before they were copied."""
    kept = solve(update, residual, k)[1]
    return np.stack([np.zeros_like(kept), kept])


def _cases() -> list[tuple[Any, ...]]:
    rng = np.random.default_rng(5)
    made: list[tuple[Any, ...]] = [
        (np.array([1.0, -3.0, 0.5, 2.0]), np.array([0.0, 1.0, -4.0, 1.0]), 2)
    ]
    made += [(rng.normal(size=n), 2 * rng.normal(size=n), k) for n, k in ((60, 7), (200, 10))]
    return made


EXERCISE = Exercise(
    name="say_and_keep",
    task="Return np.stack([message, residual]): the k largest magnitudes of update + residual, and "
    "what the message lacks (1e-6 is close enough).",
    solve=solve,
    cases=_cases(),
    tolerance=1e-6,
    stops=(
        (
            "all input arrays must have the same shape",
            "A message is as long as the update, with zeros where nothing is sent.",
        ),
        ("an integer is required", "k is the number of entries: [:k] takes so many of the order."),
        (
            "only integer",
            "np.argsort gives positions, which can be used as an index: message[largest] = …",
        ),
    ),
    mistakes=(
        Mistake(
            _variant(chosen_by=_update, sent=_update, owed=_update),
            "The old residual is neither sent nor kept: what was owed is forgotten. Add it to the "
            "update first, and go on with the sum.",
        ),
        Mistake(
            _variant(owed=_update),
            "The message is right. The new residual is update − message: it lacks what was owed "
            "before and again not sent. It is the sum, update + residual, that the message is "
            "taken from.",
        ),
        Mistake(
            _variant(chosen_by=_update, sent=_update),
            "The message was made of the update alone; what is owed then only grows, and is never "
            "said. Choose and send entries of update + residual.",
        ),
        Mistake(
            _variant(chosen_by=_update),
            "The entries were chosen by the update alone. One that was left out time and again is "
            "large in update + residual: choose by that.",
        ),
        Mistake(
            _variant(sent=_update),
            "The right entries, but of the update alone: what was owed for them is still owed. "
            "Send entries of update + residual.",
        ),
        Mistake(
            _lost,
            "The residual is right, but the message is all zeros. Was the sum changed in place? "
            "`y = x` is no copy: after `y[largest] = 0` x has lost these entries, too.",
        ),
        Mistake(
            _variant(keep=lambda x, message: x),
            "The new residual holds what was sent, too, so that it will be said twice. Take the "
            "message off.",
        ),
        Mistake(
            _variant(keep=lambda x, message: np.zeros_like(x)),
            "Nothing is kept: that is top-k without error feedback.",
        ),
        Mistake(
            _variant(keep=lambda x, message: message - x),
            "The residual has the wrong sign: message + residual has to be what was meant, "
            "update + residual of before.",
        ),
        Mistake(
            _variant(order=lambda x: -x),
            "The largest values were sent; −3 says more than 2: choose by magnitude.",
        ),
        Mistake(
            _variant(order=np.abs),
            "The smallest entries were sent: np.argsort begins with the smallest.",
        ),
        Mistake(
            _variant(sent=lambda update, residual: np.abs(update + residual)),
            "The magnitudes were sent, without signs.",
        ),
        Mistake(
            _variant(order=lambda x: x, chosen_by=lambda u, r: -np.abs(u + r), fewer=1),
            "One entry too few is sent.",
        ),
    ),
)

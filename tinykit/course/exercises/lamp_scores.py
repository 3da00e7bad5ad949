"""LAMP scores of a layer's weights (Lee et al. 2021, arXiv:2010.07611, equation 2).

Argument: float64 weights of any shape. The result has the same shape.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinykit.course.exercise import Exercise, Mistake

Array = np.ndarray[Any, np.dtype[np.float64]]


def solve(w: Array) -> Array:
    """By the definition: for each weight, the sum over those that are at least as large."""
    square = w.ravel() ** 2
    left = (square * (square >= square[:, None])).sum(1)
    scores: Array = (square / left).reshape(w.shape)
    return scores


def _ranked(w: Array, power: int = 2) -> tuple[Array, Array, np.ndarray]:
    square = np.abs(w.ravel()) ** power
    order = np.argsort(square)
    return square, square[order], order


def _back(scores: Array, order: np.ndarray, w: Array) -> Array:
    made = np.empty_like(scores)
    made[order] = scores
    return made.reshape(w.shape)


def _not_squared(w: Array) -> Array:
    _, ranked, order = _ranked(w, 1)
    return _back(ranked / np.cumsum(ranked[::-1])[::-1], order, w)


def _smaller_ones(w: Array) -> Array:
    _, ranked, order = _ranked(w)
    return _back(ranked / np.cumsum(ranked), order, w)


def _whole_layer(w: Array) -> Array:
    shares: Array = w**2 / (w**2).sum()
    return shares


def _sorted(w: Array) -> Array:
    _, ranked, _ = _ranked(w)
    return (ranked / np.cumsum(ranked[::-1])[::-1]).reshape(w.shape)


def _taken_by_order(w: Array) -> Array:
    """Indexes with the order where it has to be written to."""
    _, ranked, order = _ranked(w)
    return (ranked / np.cumsum(ranked[::-1])[::-1])[order].reshape(w.shape)


def _largest_first(w: Array) -> Array:
    """Right, and never put back into the weights' order."""
    ranked = np.sort(w.ravel() ** 2)[::-1]
    scores: Array = (ranked / np.cumsum(ranked)).reshape(w.shape)
    return scores


def _turned_once(w: Array) -> Array:
    """Sums up from the largest, and divides the smallest by the first of them."""
    _, ranked, order = _ranked(w)
    return _back(ranked / np.cumsum(ranked[::-1]), order, w)


def _unsorted(w: Array) -> Array:
    square = w.ravel() ** 2
    scores: Array = (square / np.cumsum(square)).reshape(w.shape)
    return scores


def _unsorted_left(w: Array) -> Array:
    square = w.ravel() ** 2
    scores: Array = (square / np.cumsum(square[::-1])[::-1]).reshape(w.shape)
    return scores


def _signed(w: Array) -> Array:
    """Sorted by value, so that large negative weights come first."""
    flat = w.ravel()
    order = np.argsort(flat)
    ranked = flat[order] ** 2
    return _back(ranked / np.cumsum(ranked[::-1])[::-1], order, w)


def _cases() -> list[tuple[Array]]:
    rng = np.random.default_rng(0)
    return [(np.array([1.0, -3.0, 2.0]),), (rng.normal(size=(3, 4)),), (rng.normal(size=40),)]


EXERCISE = Exercise(
    name="lamp_scores",
    task="Divide each squared weight by the sum of all squared weights of the layer that are at "
    "least as large (to 1e-9); return an array of the weights' shape.",
    solve=solve,
    cases=_cases(),
    tolerance=1e-9,
    mistakes=(
        Mistake(
            _not_squared,
            "Absolute values were taken where the formula has squares, above and below the line. "
            "For (1, −3, 2) the scores are 1/14, 1 and 4/13.",
        ),
        Mistake(
            _smaller_ones,
            "Each square was divided by the sum of those that are at most as large. What is left "
            "when smaller weights have gone are the larger ones: the sum runs from the weight's "
            "own square upwards, so that the largest weight scores 1.",
        ),
        Mistake(
            _whole_layer,
            "Each square was divided by the sum over the whole layer. When it is a weight's turn, "
            "the smaller ones have gone already: they are not in the sum.",
        ),
        Mistake(
            _sorted,
            "The scores are right, but in the order of the sorted weights. Each belongs where its "
            "weight is: write them to the places that argsort names.",
        ),
        Mistake(
            _taken_by_order,
            "The scores were read in the order that argsort gives. It says where the k-th smallest "
            "weight lies, so scores have to be written there: scores[order] = …",
        ),
        Mistake(
            _largest_first,
            "The scores are right, but in the order of the sorted weights, the largest first. Each "
            "belongs where its weight is: np.sort forgets where that was, np.argsort does not.",
        ),
        Mistake(
            _turned_once,
            "The sums start at the largest weight, but they divide squares that start at the "
            "smallest. Both have to run in the same direction: turn the sums round again.",
        ),
        Mistake(
            _unsorted,
            "The sum runs over the weights that come first in the array, not over those that are "
            "at least as large: sort before adding up.",
        ),
        Mistake(
            _unsorted_left,
            "The sum runs over the weights that come later in the array, not over those that are "
            "at least as large: sort before adding up.",
        ),
        Mistake(
            _signed,
            "The weights were sorted with their signs, so that a large negative one counts as the "
            "smallest. Sort the squares.",
        ),
    ),
    stops=(
        (
            "out of bounds",
            "Was the array of several dimensions? argsort sorts each row of it for itself. The "
            "layer is one list here: w.ravel() first, .reshape(w.shape) last.",
        ),
    ),
)

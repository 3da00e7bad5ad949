"""Prototypes: how near examples are to the means of a device's own classes.

Arguments: `features`, float64 (n, d), of the examples to be named; `own`, float64 (m, d), of the
device's own examples, and `labels`, int64 (m,), their classes; `classes`, how many there are. The
result is float64 (n, classes): minus the squared distance to the mean of each class, and -1e6 for a
class of which the device has no example.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinykit.course.exercise import Exercise, Mistake

Array = np.ndarray
ABSENT = -1e6


def solve(features: Array, own: Array, labels: Array, classes: int) -> Array:
    """Pair by pair; a test compares it with the kit's own `Prototypes`."""
    result = np.full((len(features), classes), ABSENT)
    for k in set(labels.tolist()):
        members = [row for row, label in zip(own, labels, strict=True) if label == k]
        centre = sum(members) / len(members)
        for n, f in enumerate(features):
            result[n, k] = -sum((a - b) ** 2 for a, b in zip(f, centre, strict=True))
    return result


def _variant(
    *,
    over: str = "class",
    distance: Callable[[Array], Array] = lambda gap: -(gap**2).sum(-1),
    absent: str = "marked",
    at: float = ABSENT,
) -> Any:
    """The logits as somebody who makes the named mistake computes them."""

    def logits(features: Array, own: Array, labels: Array, classes: int) -> Array:
        member = (labels[:, None] == np.arange(classes)).astype(float)
        many = member.sum(0)
        over_ = {
            "class": np.maximum(many, 1),
            "all": np.full(classes, len(own)),
            "sum": np.ones(classes),
        }
        centres = (
            np.tile(own.mean(0), (classes, 1))
            if over == "everything"
            else member.T @ own / over_[over][:, None]
        )
        found = distance(features[:, None] - centres)
        return found if absent == "zero" else np.where(many > 0, found, at)

    return logits


def _dot(features: Array, own: Array, labels: Array, classes: int) -> Array:
    present = [own[labels == k].mean(0) if (labels == k).any() else None for k in range(classes)]
    return np.stack(
        [np.full(len(features), ABSENT) if c is None else features @ c for c in present], axis=1
    )


def _one_number(features: Array, own: Array, labels: Array, classes: int) -> Array:
    """The mean over examples and features alike."""
    means = np.array([own[labels == k].mean() if (labels == k).any() else 0 for k in labels])
    return solve(features, np.repeat(means[:, None], own.shape[1], axis=1), labels, classes)


def _only_present(features: Array, own: Array, labels: Array, classes: int) -> Array:
    return solve(features, own, labels, classes)[:, np.unique(labels)]


def _cases() -> list[tuple[Any, ...]]:
    rng = np.random.default_rng(10)
    first = (
        np.array([[1.0, 2.0], [4.0, 4.0]]),
        np.array([[0.0, 0.0], [2.0, 0.0], [5.0, 5.0]]),
        np.array([0, 0, 1]),
        3,
    )
    made: list[tuple[Any, ...]] = [first]
    for held in ([1, 4, 7], [0, 2, 3, 9]):
        labels = np.concatenate([held, rng.choice(held, 9)])
        made.append((rng.normal(size=(6, 8)), rng.normal(size=(len(labels), 8)), labels, 10))
    return made


_NAN = (
    "The mean of no examples is 0/0, not a number: a class that the device does not hold has no "
    "prototype. Such a class gets -1e6 in every row."
)

EXERCISE = Exercise(
    name="prototype_logits",
    task="Return, for each example and class, minus the squared distance between the example's "
    "features and the mean of the device's own examples of that class; -1e6 for a class without "
    "any (1e-9 is close enough).",
    solve=solve,
    cases=_cases(),
    tolerance=1e-9,
    stops=(
        (
            "could not be broadcast",
            "All distances at once need an axis for the examples and one for the classes: "
            "features[:, None] has shape (n, 1, d), the centres (classes, d).",
        ),
        (
            "operands could not",
            "features[:, None] has shape (n, 1, d); centres of shape (classes, d) fit to it.",
        ),
        (
            "out of bounds",
            "The result has a column for every class, those included that the device lacks.",
        ),
    ),
    mistakes=(
        Mistake(
            _variant(distance=lambda gap: (gap**2).sum(-1)),
            "The sign is missing: these are distances, largest for the class that is farthest. A "
            "logit has to be largest for the most likely class.",
        ),
        Mistake(
            _variant(distance=lambda gap: -np.sqrt((gap**2).sum(-1))),
            "These are distances, not squared ones. The nearest class stays the nearest, but the "
            "probabilities (and in training the gradients) are others.",
        ),
        Mistake(
            _variant(distance=lambda gap: -(gap**2).mean(-1)),
            "The squares were averaged over the features: a squared distance is their sum.",
        ),
        Mistake(
            _variant(distance=lambda gap: -np.abs(gap).sum(-1)),
            "These are sums of absolute differences; squared ones are asked for.",
        ),
        Mistake(
            _variant(distance=lambda gap: -(gap.sum(-1) ** 2)),
            "The differences were summed before they were squared, so that they cancel: square "
            "first.",
        ),
        Mistake(
            _one_number,
            "Each centre is a single number, the mean over examples and features alike. "
            "mean(axis=0) keeps the features: a centre has as many entries as an example.",
        ),
        Mistake(
            _variant(over="everything"),
            "Every class got the same centre: the mean of all of the device's examples. Take the "
            "mean of the examples of each class: own[labels == k].",
        ),
        Mistake(
            _variant(over="all"),
            "The sum over a class was divided by the number of all examples: its centre is pulled "
            "towards 0. Divide by the number of examples of that class.",
        ),
        Mistake(
            _variant(over="sum"),
            "These centres are sums over each class; the mean divides by its number of examples.",
        ),
        Mistake(
            _variant(absent="zero"),
            "A class that the device does not hold got a prototype at 0, and an example near 0 is "
            "taken for it. Such a class gets -1e6 in every row.",
        ),
        Mistake(_variant(at=np.nan), _NAN),
        Mistake(
            _variant(at=-np.inf),
            "Minus infinity predicts the same, but is no number to differentiate: 0 times infinity "
            "is not a number. Give -1e6 to a class that the device does not hold.",
        ),
        Mistake(
            _variant(at=0.0),
            "A class that the device does not hold got 0, the highest that a logit can be here: it "
            "wins everywhere. Give it -1e6.",
        ),
        Mistake(
            _dot,
            "These are dot products with the centres: a long centre wins wherever it lies. Take "
            "the differences.",
        ),
        Mistake(
            _only_present,
            "Only the classes that the device holds have a column, so that column numbers are no "
            "class numbers any more. All classes need one; -1e6 for those that it lacks.",
        ),
    ),
)

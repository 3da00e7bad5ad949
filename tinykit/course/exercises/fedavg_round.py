"""One round of federated averaging (McMahan et al., AISTATS 2017, algorithm 1).

Arguments: `w`, float64 (P,), the shared model; `gradients`, for each device a function from a model
to its gradient, or None for a device that was asked and did not answer; `examples`, int64
(devices,), how many each holds; `steps`, local steps of gradient descent; `lr`, their size. The
result is the new shared model, (P,): the mean of the models that came back, by their examples.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinykit.course.bowls import Bowls
from tinykit.course.exercise import Exercise, Mistake

Array = np.ndarray
Gradients = tuple[Callable[[Array], Array] | None, ...]


def solve(w: Array, gradients: Gradients, examples: Array, steps: int, lr: float) -> Array:
    """By the average that the kit's own strategies use."""
    from tinykit.federated.strategy import weighted_mean

    there = [i for i, gradient in enumerate(gradients) if gradient is not None]
    rows: Any = np.stack([_trained(w, gradients[i], steps, lr) for i in there])
    return np.asarray(weighted_mean(rows, [int(examples[i]) for i in there]))


def _trained(w: Array, gradient: Any, steps: int, lr: float) -> Array:
    for _ in range(steps):
        w = w - lr * gradient(w)
    return w


def _variant(
    *, weighted: bool = True, over: str = "answered", chained: bool = False, result: str = "model"
) -> Any:
    """A round, as somebody who makes the named mistake computes it."""

    def round_(w: Array, gradients: Gradients, examples: Array, steps: int, lr: float) -> Array:
        weights = [int(n) if weighted else 1 for n in examples]
        there = [i for i, gradient in enumerate(gradients) if gradient is not None]
        total, counted, start = np.zeros_like(w), 0, w
        for i in there:
            model = _trained(start, gradients[i], steps, lr)
            total, counted = total + weights[i] * model, counted + weights[i]
            start = model if chained else w
        by: float = {
            "answered": counted,
            "asked": sum(weights),
            "devices": len(gradients),
            "replies": len(there),
            "one": 1,
        }[over]
        mean = total / by
        if result == "update":
            return np.asarray(mean - w)
        return np.asarray(2 * w - mean if result == "minus" else mean)

    return round_


def _synchronous(w: Array, gradients: Gradients, examples: Array, steps: int, lr: float) -> Array:
    """Averages after each step."""
    there = [i for i, gradient in enumerate(gradients) if gradient is not None]
    share = examples[there] / examples[there].sum()
    for _ in range(steps):
        w = w - lr * sum(s * gradients[i](w) for s, i in zip(share, there, strict=True))  # type: ignore[misc]
    return w


def _single(w: Array, gradients: Gradients, examples: Array, steps: int, lr: float) -> Array:
    return solve(w, gradients, examples, 1, lr)


def _frozen(w: Array, gradients: Gradients, examples: Array, steps: int, lr: float) -> Array:
    """The gradient is taken where the round began, in each step."""
    return solve(w, gradients, examples, 1, lr * steps)


def _absent(w: Array, gradients: Gradients, examples: Array, steps: int, lr: float) -> Array:
    """A device that did not answer counts with the model that it was sent."""
    still = tuple((lambda model: 0 * model) if g is None else g for g in gradients)
    return solve(w, still, examples, steps, lr)


def _uphill(w: Array, gradients: Gradients, examples: Array, steps: int, lr: float) -> Array:
    return solve(w, gradients, examples, steps, -lr)


def _one_array(w: Array, gradients: Gradients, examples: Array, steps: int, lr: float) -> Array:
    """All models are one and the same array, w itself: each device goes on where one ended."""
    for gradient in gradients:
        if gradient is not None:
            w = _trained(w, gradient, steps, lr)
    return w


def _cases() -> list[tuple[Any, ...]]:
    rng = np.random.default_rng(8)
    made: list[tuple[Any, ...]] = []
    for devices, missing, steps in ((2, (), 3), (4, (1,), 5), (5, (0, 3), 4)):
        roots = rng.normal(size=(devices, 3, 3))
        bowls = Bowls(roots @ roots.transpose(0, 2, 1) / 3, rng.normal(size=(devices, 3)))
        gradients = tuple(
            None if i in missing else (lambda w, bowls=bowls, i=i: bowls.gradient(i, w))
            for i in range(devices)
        )
        examples = rng.integers(10, 90, devices)
        made.append((rng.normal(size=3), gradients, examples, steps, 0.1))
    return made


EXERCISE = Exercise(
    name="fedavg_round",
    task="Return the new shared model: every device that answers does `steps` steps of gradient "
    "descent from w on its own, and the models are averaged, each with the weight of its examples "
    "(1e-9 is close enough).",
    solve=solve,
    cases=_cases(),
    tolerance=1e-9,
    stops=(
        (
            "'NoneType' object is not callable",
            "A device whose gradient is None did not answer: it has no part in this round.",
        ),
        (
            "unsupported operand type(s) for +=: 'NoneType'",
            "The sum needs a beginning: np.zeros_like(w).",
        ),
    ),
    mistakes=(
        Mistake(
            _variant(weighted=False, over="answered"),
            "All models count alike. A device with 80 examples speaks for twice as many as one "
            "with 40: its model needs twice the weight.",
        ),
        Mistake(
            _variant(over="asked"),
            "The sum was divided by the examples of all devices, those that did not answer "
            "included: the model shrinks with every device that is missing. Weights of the models "
            "that came back have to add up to 1.",
        ),
        Mistake(
            _variant(weighted=False, over="devices"),
            "The sum of the models was divided by the number of devices asked, not of those that "
            "answered, and all count alike.",
        ),
        Mistake(
            _variant(over="devices"),
            "Weighted by examples, but divided by the number of devices: the weights have to add "
            "up to 1.",
        ),
        Mistake(
            _variant(over="replies"),
            "Weighted by examples, but divided by the number of replies: the weights have to add "
            "up to 1.",
        ),
        Mistake(
            _variant(over="one"),
            "This is the sum of the weighted models: it has still to be divided by the examples of "
            "those that answered.",
        ),
        Mistake(
            _variant(chained=True),
            "The second device went on where the first had ended. Every device starts from the "
            "shared model w. If it looks so in your code too: `y = w` is no copy, and `y -= ...` "
            "then changes w itself.",
        ),
        Mistake(
            _variant(result="update"),
            "This is the mean of the updates (model minus w): it has still to be added to w.",
        ),
        Mistake(
            _variant(result="minus"),
            "The mean update was subtracted: devices have already gone downhill, so it is added.",
        ),
        Mistake(
            _synchronous,
            "The devices were averaged after each step: that is ordinary distributed SGD, and "
            "would send the model `steps` times. Each device does all its steps alone first.",
        ),
        Mistake(
            _absent,
            "A device that did not answer was counted with the model that it was sent. It has no "
            "part in this round: leave it out of the sum and of the weights.",
        ),
        Mistake(
            _uphill,
            "The steps go uphill: gradient descent subtracts lr times the gradient.",
        ),
        Mistake(
            _one_array,
            "All models are one array, w itself: `y = w` is no copy, and `y -= ...` then changes "
            "w, from which the next device starts. Begin with w.copy().",
        ),
        Mistake(
            _single,
            "Each device did a single step; `steps` are asked for.",
        ),
        Mistake(
            _frozen,
            "Each step used the gradient at w, where the round began. A device takes the gradient "
            "where it is by then.",
        ),
    ),
)

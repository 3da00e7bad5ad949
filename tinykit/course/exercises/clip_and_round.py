"""The error of symmetric quantization, what clipping costs and what rounding costs.

Arguments: `x`, float64 (n,); `end`, where the range ends (-end..end); `bits`. The result has two
numbers: the squared error of the values beyond the range, and that of all others, both divided by
n. Levels are whole multiples of step = end / (2^(bits - 1) - 1); the outermost are -end and end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinykit.course.exercise import Exercise, Mistake

Array = np.ndarray


def solve(x: Array, end: float, bits: int) -> Array:
    """By the functions that the kit's own quantizers use."""
    from tinykit.quant.ranges import symmetric_error

    return np.array(symmetric_error(x, end, bits))


def _variant(
    *,
    top: Callable[[int], float] = lambda bits: 2 ** (bits - 1) - 1,
    clamp: bool = True,
    one_sided: bool = False,
    power: int = 2,
    over: str = "all",
    whole: bool = False,
    swap: bool = False,
    floor: bool = False,
) -> Any:
    """The two errors, as somebody who makes the named mistake computes them."""

    def split(x: Array, end: float, bits: int) -> Array:
        step = end / top(bits)
        q = np.floor(x / step) if floor else np.round(x / step)
        y = np.clip(q * step, -end, end) if clamp else q * step
        error = np.abs(x - y) ** power
        beyond = x > end if one_sided else np.abs(x) > end
        counts = {"all": (x.size, x.size), "own": (beyond.sum(), (~beyond).sum()), "sum": (1, 1)}
        clipping = error[beyond].sum() / counts[over][0]
        rounding = (error if whole else error[~beyond]).sum() / counts[over][1]
        return np.array([rounding, clipping] if swap else [clipping, rounding])

    return split


def _cases() -> list[tuple[Any, ...]]:
    rng = np.random.default_rng(6)
    made: list[tuple[Any, ...]] = [(np.array([0.1, -0.4, 0.9, -1.5]), 1.0, 2)]
    made += [(rng.laplace(size=400), end, bits) for end, bits in ((2.0, 3), (3.5, 4))]
    return made


EXERCISE = Exercise(
    name="clip_and_round",
    task="Return [clipping, rounding]: the squared errors of the values beyond the range and of "
    "all others, each summed and divided by the number of all values (1e-6 is close enough).",
    solve=solve,
    cases=_cases(),
    tolerance=1e-6,
    stops=(
        ("'float' object has no attribute", "Work on the whole array: np.clip, np.round, np.abs."),
        ("truth value of an array", "Compare the whole array: np.abs(x) > end is a mask."),
    ),
    mistakes=(
        Mistake(
            _variant(clamp=False),
            "Nothing was clipped: a value beyond the range was rounded to a level that does not "
            "exist. Look at the largest value: which is the last level?",
        ),
        Mistake(
            _variant(top=lambda bits: 2 ** (bits - 1)),
            "The step is too small: between 0 and the end lie 2^(bits − 1) − 1 steps. With 2 bits "
            "the levels are −end, 0, end: one step.",
        ),
        Mistake(
            _variant(top=lambda bits: (2**bits - 1) / 2),
            "The range was cut into 2^bits − 1 steps from −end to end: then no level is 0. Levels "
            "are whole multiples of the step, as many below 0 as above.",
        ),
        Mistake(
            _variant(top=lambda bits: 2**bits - 1),
            "The step is half of what it has to be: one bit is needed for the sign, so between 0 "
            "and the end lie 2^(bits − 1) − 1 steps.",
        ),
        Mistake(
            _variant(whole=True),
            "The rounding error is that of all values, clipped ones included: these are counted "
            "twice. The two parts have to add up to the whole error.",
        ),
        Mistake(
            _variant(over="own"),
            "Each part was divided by the number of its own values: such means do not add up to "
            "the error of the tensor. Divide both sums by the number of all values.",
        ),
        Mistake(
            _variant(over="sum"),
            "These are sums; means are asked for, over the number of all values.",
        ),
        Mistake(
            _variant(power=1),
            "These are absolute errors; squared ones are asked for.",
        ),
        Mistake(
            _variant(one_sided=True),
            "Values below −end were taken for rounded: the range ends on both sides.",
        ),
        Mistake(
            _variant(swap=True),
            "The two are exchanged: clipping first, rounding second.",
        ),
        Mistake(
            _variant(floor=True),
            "The values were rounded down, not to the nearest level: look at 0.9 with a step of 1.",
        ),
    ),
)

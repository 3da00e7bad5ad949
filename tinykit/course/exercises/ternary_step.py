"""The C step of {−c, 0, c}: the nearest point to some weights that a ternary codebook can say.

Argument: float64 (n,), n > 0, not all zero. The result has the same shape: each entry −c, 0 or c,
with the c and the signs that make Σ (wᵢ − resultᵢ)² least (within 1e-6).
"""

from __future__ import annotations

import numpy as np

from tinykit.course.exercise import Exercise, Mistake


def _with(w: np.ndarray, kept: int, c: float | None = None) -> np.ndarray:
    """The `kept` largest as ±c, by default their mean magnitude."""
    largest = np.argsort(-np.abs(w), kind="stable")[:kept]
    result = np.zeros_like(w)
    result[largest] = np.sign(w[largest]) * (np.abs(w[largest]).mean() if c is None else c)
    return result


def solve(w: np.ndarray) -> np.ndarray:
    """By trying how many weights to keep; a test compares it with the kit's own step."""
    tried = [_with(w, kept) for kept in range(1, len(w) + 1)]
    return min(tried, key=lambda result: float(((w - result) ** 2).sum()))


def _sums(w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums of the k largest magnitudes, and k."""
    return np.cumsum(np.sort(np.abs(w))[::-1]), np.arange(1, len(w) + 1)


def _best(w: np.ndarray) -> int:
    sums, k = _sums(w)
    return int(np.argmax(sums**2 / k)) + 1


def _binary(w: np.ndarray) -> np.ndarray:
    return np.where(w < 0, -1.0, 1.0) * np.abs(w).mean()


def _mean_of_all(w: np.ndarray) -> np.ndarray:
    return _with(w, _best(w), float(np.abs(w).mean()))


def _largest_mean(w: np.ndarray) -> np.ndarray:
    sums, k = _sums(w)
    return _with(w, int(np.argmax(sums / k)) + 1)


def _threshold(w: np.ndarray) -> np.ndarray:
    return _with(w, int((np.abs(w) > 0.7 * np.abs(w).mean()).sum()))


def _half(w: np.ndarray) -> np.ndarray:
    return _with(w, int((np.abs(w) > np.abs(w).max() / 2).sum()))


def _one_short(w: np.ndarray) -> np.ndarray:
    return _with(w, _best(w) - 1) if _best(w) > 1 else np.zeros_like(w)


def _no_sign(w: np.ndarray) -> np.ndarray:
    return np.abs(solve(w))


def _sum(w: np.ndarray) -> np.ndarray:
    return _with(w, _best(w), float(_sums(w)[0][_best(w) - 1]))


def _own_values(w: np.ndarray) -> np.ndarray:
    return np.where(solve(w) != 0, w, 0.0)


def _in_front(w: np.ndarray) -> np.ndarray:
    """The signs and places of the sorted weights."""
    return solve(w[np.argsort(-np.abs(w), kind="stable")])


def _by_value(w: np.ndarray) -> np.ndarray:
    """Sorts the weights, not their magnitudes: the positive ones come first."""
    order = np.argsort(-w, kind="stable")
    sums = np.cumsum(w[order])
    k = int(np.argmax(sums**2 / np.arange(1, len(w) + 1))) + 1
    result = np.zeros_like(w)
    result[order[:k]] = sums[k - 1] / k
    return result


def _in_front_unsigned(w: np.ndarray) -> np.ndarray:
    return np.abs(_in_front(w))


def _cases() -> list[tuple[np.ndarray]]:
    rng = np.random.default_rng(0)
    return [
        (np.array([0.1, -2.0, 1.6, 0.2, -1.8, 0.05]),),
        (rng.standard_normal(200),),
        (rng.standard_normal(300) ** 3,),
        (rng.uniform(-1, 1, 101),),
    ]


EXERCISE = Exercise(
    name="ternary_step",
    task="Return the nearest array to w whose entries are -c, 0 or c, for the best c (to 1e-6).",
    solve=solve,
    cases=_cases(),
    mistakes=(
        Mistake(
            _binary,
            "Every weight became −c or c: that is the best binary answer. With 0 among the levels "
            "the small weights can be left at 0, and c need not be a compromise with them. (If you "
            "did compare S²/k: the weights have to be sorted with the largest first. With the "
            "smallest first it grows to the end.)",
        ),
        Mistake(
            _mean_of_all,
            "The right weights are kept, but c is the mean of all magnitudes. For k kept weights "
            "the error is least at the mean of those that are kept; the others are 0 anyway.",
        ),
        Mistake(
            _largest_mean,
            "Only the largest weight is kept, whatever the weights are. Was k chosen for the "
            "largest mean, S/k, or for Σw²/k? Both are largest for k = 1: the error falls by S²/k, "
            "the square of the sum. Or does k count from 0, and the first S²/k is infinite?",
        ),
        Mistake(
            _threshold,
            "A threshold of 0.7 times the mean magnitude is a rule of thumb (Li et al., Ternary "
            "Weight Networks, arXiv:1605.04711), exact for no data in particular. Every k can be "
            "tried: there are only as many as weights.",
        ),
        Mistake(
            _half,
            "A weight is nearer to c than to 0 where it is above c/2, not half of the largest; and "
            "c follows from what is kept. Try every k instead: there are only as many as weights.",
        ),
        Mistake(
            _one_short,
            "One weight too few is kept. argmax counts from 0, and entry 0 is the sum of k = 1 "
            "weight.",
        ),
        Mistake(
            _no_sign,
            "The magnitudes are right, the signs are missing: negative weights become −c.",
        ),
        Mistake(
            _sum,
            "The right weights are kept, but each became S, the sum of all that are kept. c is "
            "their mean, S/k.",
        ),
        Mistake(
            _own_values,
            "The right weights are kept, but each with its own value: that is pruning. A codebook "
            "has one c for all of them.",
        ),
        Mistake(
            _in_front,
            "The entries are right, but in the order of the sorted weights. np.argsort says where "
            "each of them belongs.",
        ),
        Mistake(
            _in_front_unsigned,
            "±c stand at the front of the result, where the sorted weights were, and without "
            "signs. np.argsort says where each of them belongs.",
        ),
        Mistake(
            _by_value,
            "The weights were sorted by value, so that large negative ones come last. Sort by "
            "magnitude.",
        ),
    ),
    stops=(
        (
            "broadcast",
            "The sums need k = 1, 2, …, n beside them: as many numbers as weights.",
        ),
    ),
    tolerance=1e-6,
)

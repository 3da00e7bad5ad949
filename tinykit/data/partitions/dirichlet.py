"""Every device has its own mix of classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinykit.data.checks import real
from tinykit.data.partitions.base import Ask, Partition


def checked_alpha(alpha: float) -> None:
    real("alpha of a Dirichlet distribution (0.1 is skewed, 100 nearly IID)", alpha, above=0)


@dataclass(frozen=True)
class Dirichlet(Partition):
    """Each device draws its mix of classes from a Dirichlet distribution; sizes are as asked for.

    A device asks for its examples class by class, by its mix. Where more are asked for than a class
    has, chance decides who gets them, and who goes without asks again, by its mix of the classes
    that are left; one whose classes are all gone takes what is left. So the more of the pool is
    used, the less skewed the last devices are. (Acar et al., ICLR 2021, "Federated learning based
    on dynamic regularization", give each device such a mix.)

    Parameters
    ----------
    alpha : of each class: 0.1 gives a device one or two main classes, 100 nearly the same mix
        everywhere. Hsu et al. (2019, "Measuring the effects of non-identical data distribution")
        give the sum over all classes instead: theirs is `alpha` times the number of classes.
    """

    alpha: float

    def __post_init__(self) -> None:
        checked_alpha(self.alpha)

    def divide(self, ask: Ask) -> np.ndarray:
        rng = ask.rng("Dirichlet")
        mix = rng.dirichlet(np.full(ask.classes, self.alpha), ask.devices)
        return ask.deal(share_out(mix, ask.sizes, ask.stock, rng), rng)


def share_out(
    mix: np.ndarray, sizes: np.ndarray, stock: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """How many examples of each class every device gets, int64 (devices, classes).

    Parameters
    ----------
    mix : (devices, classes), rows sum to 1
    sizes : (devices,), how many each device gets; their sum is at most that of `stock`
    stock : (classes,), how many there are
    """
    need, left = sizes.copy(), stock.copy()
    counts = np.zeros(mix.shape, dtype=np.int64)
    # each turn serves everybody or uses up a class: there are at most as many as classes
    while need.any():
        wish = mix * (left > 0)
        wish[wish.sum(axis=1) < 1e-300] = left
        asked = rng.multinomial(need, wish / wish.sum(axis=1, keepdims=True))
        for label in np.flatnonzero(asked.sum(axis=0) > left):
            asked[:, label] = rng.multivariate_hypergeometric(asked[:, label], left[label])
        counts += asked
        left -= asked.sum(axis=0)
        need -= asked.sum(axis=1)
    return counts

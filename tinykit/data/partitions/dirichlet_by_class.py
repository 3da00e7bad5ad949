"""Every class is divided over the devices in its own proportions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinykit.data.errors import DataError
from tinykit.data.partitions.base import Ask, Partition
from tinykit.data.partitions.dirichlet import checked_alpha
from tinykit.data.types import stratified

#: how often proportions are drawn anew before it is said that they do not give the minimum
TRIES = 200


@dataclass(frozen=True)
class DirichletByClass(Partition):
    """Each class is divided over all devices by a draw from a Dirichlet distribution.

    Sizes come out unequal, too. `samples` is then what a device holds on average: so many examples
    are drawn, classes in proportion, and those are divided. The partition of Yurochkin et al. (ICML
    2019, "Bayesian nonparametric federated learning of neural networks") and NIID-Bench (Li et
    al., ICDE 2022), which draw again until no device has fewer than a minimum.

    Parameters
    ----------
    alpha : of each device: 0.1 gives a class to few devices, 100 divides it nearly equally
    minimum : draw again until each device has so many examples; with 0 the first draw counts,
        and devices that it leaves empty have to be allowed
    capped : as in the works above, a device that has its equal share of all examples gets none of
        the classes that follow; without it sizes spread wider
    """

    alpha: float
    minimum: int = 1
    capped: bool = True

    def __post_init__(self) -> None:
        checked_alpha(self.alpha)
        if self.minimum < 0:
            raise DataError(f"minimum is {self.minimum}; a device cannot hold fewer than 0")

    def divide(self, ask: Ask) -> np.ndarray:
        if self.minimum * ask.devices > ask.total:
            raise DataError(
                f"{ask.total:,} examples are no {self.minimum} for each of {ask.devices:,} "
                f"devices; at most {ask.total // self.minimum:,} devices, or a smaller minimum"
            )
        rng = ask.rng("DirichletByClass")
        chosen = stratified(ask.y, ask.total, rng)
        drawn = np.bincount(ask.y[chosen], minlength=ask.classes)
        for _ in range(TRIES):
            counts = self.draw(drawn, ask.devices, rng)
            sizes = counts.sum(axis=1)
            if sizes.min() >= self.minimum:
                return ask.deal(counts, rng)
        raise DataError(
            f"{self} left devices with fewer than {self.minimum} examples in each of {TRIES} "
            f"draws ({np.count_nonzero(sizes < self.minimum)} of {ask.devices:,} in the last one, "
            f"device {int(sizes.argmin())} has {sizes.min()}); take a larger alpha, fewer devices, "
            "more examples or a smaller minimum"
        )

    def draw(self, stock: np.ndarray, devices: int, rng: np.random.Generator) -> np.ndarray:
        """One draw: examples by device and class, int64 (devices, classes), of a `stock` by class.

        A class's examples are cut where the running sum of proportions says, rounded down.
        """
        counts = np.zeros((devices, len(stock)), dtype=np.int64)
        fair = stock.sum() / devices
        for label in np.flatnonzero(stock):
            size = stock[label]
            share = rng.dirichlet(np.full(devices, self.alpha))
            if self.capped:
                short = counts.sum(axis=1) < fair
                share = share * short
                if share.sum() <= 0:  # all of it fell to devices that have enough
                    share = short.astype(float)
            ends = np.floor(np.cumsum(share / share.sum()) * size).astype(np.int64)
            ends[np.flatnonzero(share)[-1] :] = size  # the sum may fall short of 1 by rounding
            counts[:, label] = np.diff(np.minimum(ends, size), prepend=0)
        return counts

"""Devices that hold much and devices that hold little."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from tinykit.data.checks import real
from tinykit.data.errors import DataError
from tinykit.data.partitions.base import Ask, Partition, View, apportion, checked_over
from tinykit.data.partitions.dirichlet_by_class import DirichletByClass
from tinykit.data.partitions.iid import IID
from tinykit.data.partitions.users import Users
from tinykit.data.types import Split


@dataclass(frozen=True)
class LogNormal(Partition):
    """Sizes drawn from a log-normal distribution; which examples, another partition says.

    Every device has at least one example. `samples` is then what a device holds on average.

    Parameters
    ----------
    sigma : standard deviation of the natural logarithm of the size; with 1, a third of the devices
        hold more than e times, or less than 1/e of, the median
    over : says which examples: any partition that gives devices the sizes it is asked for
    """

    sigma: float
    over: Partition = field(default_factory=IID)

    def __post_init__(self) -> None:
        real("sigma of LogNormal (0: equal sizes)", self.sigma, least=0)
        checked_over(self.over)
        inner: Partition | None = self.over
        while inner is not None:
            if isinstance(inner, DirichletByClass | Users | LogNormal):
                raise DataError(
                    f"{type(inner).__name__} gives devices sizes of its own, LogNormal cannot; "
                    "take it over IID, Dirichlet, Shards or FewClasses"
                )
            inner = getattr(inner, "over", None)

    def divide(self, ask: Ask) -> np.ndarray:
        weights = np.exp(ask.rng("LogNormal").normal(0.0, self.sigma, ask.devices))
        sizes = 1 + apportion(weights, ask.total - ask.devices)
        return self.over.divide(replace(ask, sizes=sizes))

    def see(self, view: View, ask: Ask) -> View:
        return self.over.see(view, ask)

    def count(self, pool: Split) -> int | None:
        return self.over.count(pool)

"""Every device has its own names for the classes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from tinykit.data.errors import DataError
from tinykit.data.partitions.base import NOBODY, Ask, Partition, View, checked_over
from tinykit.data.partitions.few_classes import FewClasses
from tinykit.data.types import Split


@dataclass(frozen=True)
class PermutedLabels(Partition):
    """As another partition, with the labels permuted on each device (Acar et al., ICML 2021: ALID).

    No single model can serve all devices: what one calls 3 another calls 7. A central test split
    keeps the original labels and says nothing about such devices. The federation's `label_maps`
    lead from the original labels to each device's.

    Parameters
    ----------
    over : says which examples each device holds
    """

    over: Partition = field(default_factory=FewClasses)

    def __post_init__(self) -> None:
        checked_over(self.over)

    def divide(self, ask: Ask) -> np.ndarray:
        return self.over.divide(ask)

    def see(self, view: View, ask: Ask) -> View:
        view = self.over.see(view, ask)
        if view.label_maps is not None:
            raise DataError(f"{self}: the labels are permuted twice; once is enough")
        maps = np.tile(np.arange(ask.classes), (ask.devices, 1))
        maps = ask.rng("PermutedLabels").permuted(maps, axis=1)
        held = view.holder != NOBODY
        y = view.pool.y.copy()
        y[held] = maps[view.holder[held], y[held]]
        return replace(view, pool=replace(view.pool, y=y), label_maps=maps)

    def count(self, pool: Split) -> int | None:
        return self.over.count(pool)

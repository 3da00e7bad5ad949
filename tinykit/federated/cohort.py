"""Which devices are asked in a round."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from tinykit.data.federation import Federation
from tinykit.federated.checks import real, whole
from tinykit.federated.errors import FederatedError
from tinykit.federated.randomness import Purpose, generator


@dataclass(frozen=True)
class Cohort:
    """A random part of those devices that hold examples.

    Parameters
    ----------
    devices : how many; or
    share : which share of them, in (0, 1]
    sampling : "fixed" draws that many without replacement; "poisson" has every device take part
        with the same probability, on its own, as the accounting of differential privacy assumes.
        Such a cohort may be empty
    expected : how many take part on average; `of` counts it
    """

    devices: int = 0
    share: float = 0.0
    sampling: Literal["fixed", "poisson"] = "fixed"
    expected: int = field(default=0, repr=False)

    def __post_init__(self) -> None:
        whole("the devices of a cohort", self.devices, least=0)
        real("a cohort's share of the devices", self.share, least=0, most=1)
        if self.sampling not in ("fixed", "poisson"):
            raise FederatedError(f"sampling is 'fixed' or 'poisson', got {self.sampling!r}")
        if bool(self.devices) == bool(self.share):
            raise FederatedError(
                "nobody would take part: a cohort is a number of devices from 1 on, or a share "
                f"above 0 and up to 1, got devices={self.devices}, share={self.share}"
            )

    @staticmethod
    def of(given: int | float | Cohort, federation: Federation) -> Cohort:
        """What `given` means for `federation`.

        Raises
        ------
        FederatedError
            Nobody would take part, or more than there are.
        """
        holding = int((federation.sizes > 0).sum())
        if not isinstance(given, Cohort):
            if isinstance(given, bool) or not isinstance(given, int | float | np.number):
                raise FederatedError(f"a cohort is a number of devices or a share, got {given!r}")
            if isinstance(given, int | np.integer):
                given = Cohort(devices=int(given))
            else:
                given = Cohort(share=float(given))
        if given.devices > holding:
            raise FederatedError(
                f"a cohort of {given.devices} is more than the {holding} devices of "
                f"{federation.name} that hold examples"
            )
        expected = given.devices or max(1, round(given.share * holding))
        return Cohort(given.devices, given.share, given.sampling, expected)

    def probability(self, federation: Federation) -> float:
        """With which a device that holds examples is asked in a round, if all are on line."""
        holding = int((federation.sizes > 0).sum())
        if self.sampling == "poisson":
            return self.share or self.devices / holding
        return self.expected / holding

    def draw(
        self, federation: Federation, seed: int, round: int, online: np.ndarray | None = None
    ) -> list[int]:
        """Numbers of the devices that are asked in `round`, ascending.

        Parameters
        ----------
        online : bool (devices,), which can be asked; fewer than the cohort are asked if there are
            no more
        """
        holding = np.flatnonzero(federation.sizes > 0)
        rng = generator(seed, Purpose.COHORT, round)
        if self.sampling == "poisson":
            holding = holding[rng.random(len(holding)) < self.probability(federation)]
            return holding[online[holding]].tolist() if online is not None else holding.tolist()
        if online is not None:
            holding = holding[online[holding]]
        count = min(self.expected, len(holding))
        return sorted(rng.choice(holding, count, replace=False).tolist())

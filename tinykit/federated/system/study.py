"""The Flower study's figures, and how far this model is from them.

Mathur et al., On-Device Federated Learning with Flower (2021, arXiv 2104.03042): ten Jetson TX2
train CIFAR-10. `PUBLISHED` are its figures for 1, 5 and 10 local epochs. They, `ROUNDS` and the
network are quoted from memory (the paper could not be opened here), so that what is compared with
them is a trend, not a proof.

The model has two unknowns for time (what grows with local epochs and what does not) and two for
energy. They are fitted to 1 and 10 epochs; 5 epochs are held out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from types import MappingProxyType

from tinykit.federated.system.catalogue import Catalogue, Number, catalogue
from tinykit.federated.system.cost import RoundCost
from tinykit.federated.system.errors import FleetError
from tinykit.federated.system.fleet import Fleet
from tinykit.federated.system.work import Work

SOURCE = "Mathur et al. 2021 (arXiv 2104.03042), quoted from memory"
CLIENTS = 10
#: of all runs; from memory
ROUNDS = 40
#: CIFAR-10's 50,000 training images over ten clients
EXAMPLES = 5_000
#: of a step; cancels out of everything but how finely a cut-off cuts
BATCH = 50
#: rounds on the CPU take this many times those on the GPU, at 10 local epochs
CPU_SLOWDOWN = 1.27


@dataclass(frozen=True)
class Run:
    """One run: local epochs a round, final accuracy, minutes in all, kJ in all."""

    epochs: int
    accuracy: float
    minutes: float
    kilojoules: float


PUBLISHED = (Run(1, 0.48, 17.6, 10.2), Run(5, 0.64, 36.8, 50.5), Run(10, 0.67, 80.3, 101.0))
FITTED_ON = (1, 10)


@dataclass(frozen=True)
class Fit:
    """Minutes and kJ of a run as straight lines over local epochs."""

    minutes_fixed: float
    minutes_an_epoch: float
    kilojoules_fixed: float
    kilojoules_an_epoch: float

    @property
    def overhead_s(self) -> float:
        """Seconds of a round that do not grow with local epochs."""
        return 60 * self.minutes_fixed / ROUNDS

    @property
    def examples_per_s(self) -> float:
        """Examples a second of one client's GPU."""
        return EXAMPLES * ROUNDS / (60 * self.minutes_an_epoch)

    @property
    def compute_w(self) -> float:
        """Power of one client while it trains, as the study counts it, W."""
        return 1e3 * self.kilojoules_an_epoch / (60 * self.minutes_an_epoch * CLIENTS)

    @property
    def idle_w(self) -> float:
        """Power of one client the rest of the time, as the study counts it, W."""
        return 1e3 * self.kilojoules_fixed / (60 * self.minutes_fixed * CLIENTS)

    @property
    def cpu_examples_per_s(self) -> float:
        """Examples a second on the CPU, so that 10 local epochs take `CPU_SLOWDOWN` as long."""
        gpu = self.minutes_fixed + 10 * self.minutes_an_epoch
        return EXAMPLES * ROUNDS * 10 / (60 * (CPU_SLOWDOWN * gpu - self.minutes_fixed))


def fit(on: Sequence[int] = FITTED_ON) -> Fit:
    """The model's unknowns from two of the `PUBLISHED` runs, by their local epochs.

    Raises
    ------
    FleetError
        Not two different runs of those published.
    """
    runs = {run.epochs: run for run in PUBLISHED}
    if len(set(on)) != 2 or not set(on) <= set(runs):
        raise FleetError(f"fit on two of the runs with {sorted(runs)} local epochs, got {on!r}")
    low, high = (runs[e] for e in sorted(on))
    apart = high.epochs - low.epochs
    minutes = (high.minutes - low.minutes) / apart
    kilojoules = (high.kilojoules - low.kilojoules) / apart
    return Fit(
        low.minutes - low.epochs * minutes,
        minutes,
        low.kilojoules - low.epochs * kilojoules,
        kilojoules,
    )


@cache
def fitted_catalogue() -> Catalogue:
    """The two Jetson TX2 with overhead and power as fitted in place of the catalogue's."""

    def number(value: float, unit: str) -> Number:
        return Number(value, unit, "derived", f"fitted to {SOURCE}", checked=False)

    book, found = catalogue(), fit()
    devices = {
        name: replace(
            book.devices[name],
            overhead_s=number(found.overhead_s, "s"),
            idle_w=number(found.idle_w, "W"),
            compute_w=number(found.compute_w, "W"),
        )
        for name in ("jetson-tx2-gpu", "jetson-tx2-cpu")
    }
    return Catalogue(book.links, MappingProxyType(devices))


def replay(
    epochs: int,
    *,
    kind: str = "jetson-tx2-gpu",
    cutoff_s: float | None = None,
    catalog: Catalogue | None = None,
) -> RoundCost:
    """One round of the study on ten devices of class `kind`, by the model.

    Parameters
    ----------
    catalog : whose overhead and power are taken; by default `fitted_catalogue()`
    """
    found = fit()
    work = Work.from_rates(
        {
            "jetson-tx2-gpu": found.examples_per_s,
            "jetson-tx2-cpu": found.cpu_examples_per_s,
        },
        f"fitted to {SOURCE}",
    )
    fleet = Fleet([kind] * CLIENTS, work, catalog=catalog or fitted_catalogue())
    steps = epochs * EXAMPLES // BATCH
    # the fitted overhead holds whatever did not grow with local epochs, transfers included
    return fleet.cost(range(CLIENTS), steps, BATCH, 0, 0, cutoff_s=cutoff_s)


@dataclass(frozen=True)
class Comparison:
    """A published run beside the model's."""

    run: Run
    minutes: float
    kilojoules: float
    held_out: bool

    @property
    def time_error(self) -> float:
        """Of the modelled minutes, as a share of the published ones; positive is too long."""
        return self.minutes / self.run.minutes - 1

    @property
    def energy_error(self) -> float:
        """Of the modelled kJ, as a share of the published ones; positive is too much."""
        return self.kilojoules / self.run.kilojoules - 1


def compare(catalog: Catalogue | None = None) -> list[Comparison]:
    """The model beside each of the `PUBLISHED` runs; powers from `catalog`, else fitted."""
    rows = []
    for run in PUBLISHED:
        cost = replay(run.epochs, catalog=catalog)
        minutes = ROUNDS * cost.round_seconds / 60
        kilojoules = ROUNDS * cost.total_joules / 1e3
        rows.append(Comparison(run, minutes, kilojoules, run.epochs not in FITTED_ON))
    return rows


def slowdown(cutoff_s: float | None = None, epochs: int = 10) -> tuple[float, float]:
    """Rounds on the CPU over rounds on the GPU, and the share of steps that the CPU gets done."""
    cpu = replay(epochs, kind="jetson-tx2-cpu", cutoff_s=cutoff_s)
    ratio = cpu.round_seconds / replay(epochs).round_seconds
    return ratio, float(cpu.done.sum() / cpu.asked.sum())

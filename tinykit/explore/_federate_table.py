"""The table of "Federate": runs by knobs, and what a run says about devices and messages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tinykit.explore._shipped import TableError, check_format, stored

FORMAT = 1
#: name in the table → class in `tinykit.federated`, which is also what people read but for one
ALGORITHMS = {
    "fedavg": "FedAvg",
    "fedprox": "FedProx",
    "fedavgm": "FedAvgM",
    "fedadam": "FedAdam",
    "scaffold": "Scaffold",
    "feddyn": "FedDyn",
}
TITLES = {**ALGORITHMS, "scaffold": "SCAFFOLD"}


@dataclass(frozen=True)
class Where:
    """A setting in which algorithms are compared.

    Parameters
    ----------
    skew : alpha of the Dirichlet distribution, 0 for IID
    participation : share of the devices that is asked a round
    dropout : share of those that never answer
    """

    skew: float
    participation: float
    dropout: float


@dataclass(frozen=True, eq=False)
class Run:
    """One simulation, whole or so far.

    Parameters
    ----------
    seed : of devices, first model, cohorts, minibatches and dropouts
    right : int (rounds,), test examples that the shared model gets right after each round
    classes : int (classes,), the same by class, after the last round
    drift : (rounds,), NaN where fewer than two devices answered: one alone drifts from nobody
    answered : int (rounds,), devices whose reply was taken
    refused : int (rounds,), devices whose reply came and was not taken, as too large
    """

    seed: int
    right: np.ndarray
    classes: np.ndarray
    drift: np.ndarray
    answered: np.ndarray
    refused: np.ndarray

    def __post_init__(self) -> None:
        alone = np.where(self.answered > 1, self.drift, np.nan)
        object.__setattr__(self, "drift", alone)

    def __len__(self) -> int:
        return len(self.right)


@dataclass(frozen=True, eq=False)
class Table:
    """All runs; `about` says of what, and with which settings."""

    about: Mapping[str, Any]
    runs: Mapping[tuple[str, Where], tuple[Run, ...]]
    holdings: Mapping[tuple[float, int], np.ndarray]

    def of(self, algorithm: str, where: Where, seed: int | None = None) -> tuple[Run, ...]:
        """Runs of a setting: all seeds, or one."""
        runs = self.runs[algorithm, where]
        return runs if seed is None else tuple(run for run in runs if run.seed == seed)

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(self.about["seeds"])

    @property
    def tests(self) -> int:
        """Test examples."""
        return int(self.about["test_examples"])

    @cached_property
    def by_class(self) -> np.ndarray:
        """Test examples of each class."""
        return np.array(self.about["test_by_class"])

    def asked(self, where: Where) -> int:
        """Devices asked in a round."""
        return round(where.participation * self.about["devices"])

    def models(self, algorithm: str) -> tuple[int, int]:
        """Vectors as large as the model that go down to a device and come up in a round."""
        down, up = self.about["models"][algorithm]
        return down, up

    def device_accuracy(self, run: Run, holdings: np.ndarray) -> np.ndarray:
        """What the shared model gets right of each device's own mix of classes, (devices,).

        Its accuracy on the test examples of each class, weighted by how many examples of that
        class the device holds.
        """
        share = holdings / holdings.sum(axis=1, keepdims=True)
        found: np.ndarray = share @ (run.classes / self.by_class)
        return found


def reached(run: Run, tests: int, goal: float) -> int | None:
    """The first round after which the shared model has accuracy `goal`; None: never."""
    there = np.flatnonzero(run.right >= goal * tests)
    return int(there[0]) + 1 if len(there) else None


def load(name: str = "federate") -> Table:
    """The table that ships."""
    return parse(stored(name))


def parse(raw: Mapping[str, Any]) -> Table:
    """A table from JSON.

    Raises
    ------
    TableError
        Of another format, or it lacks runs of a setting that its knobs offer.
    """
    check_format(raw, FORMAT)
    about = raw["about"]
    runs: dict[tuple[str, Where], list[Run]] = {}
    for row in raw["rows"]:
        where = Where(row["skew"], row["participation"], row["dropout"])
        drift = [np.nan if d is None else d for d in row["drift"]]
        run = Run(
            row["seed"], np.array(row["right"]), np.array(row["classes"]), np.array(drift),
            np.array(row["answered"]), np.array(row["refused"]),
        )  # fmt: skip
        runs.setdefault((row["algorithm"], where), []).append(run)
    knobs = about["knobs"]
    for algorithm in ALGORITHMS:
        for where in (
            Where(s, p, d)
            for s in knobs["skew"] for p in knobs["participation"] for d in knobs["dropout"]
        ):  # fmt: skip
            seeds = {run.seed for run in runs.get((algorithm, where), ())}
            if seeds != set(about["seeds"]):
                raise TableError(f"the table has seeds {seeds} of {algorithm} with {where}")
    holdings = {}
    for key, counts in raw["holdings"].items():
        skew, seed = key.split("/")
        holdings[float(skew), int(seed)] = np.array(counts)
    return Table(about, {key: tuple(of) for key, of in runs.items()}, holdings)

"""The table of "What a round costs": accuracy by the work that devices do, networks counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tinykit.explore._round_fleets import COHORTS, CUTOFFS, EPOCHS, MIXES
from tinykit.explore._shipped import TableError, check_format, stored

FORMAT = 1
#: for all fleets in which nobody is cut off: every device does all its steps
ALIKE = "alike"


@dataclass(frozen=True)
class Network:
    """A network, counted.

    Attributes
    ----------
    macs : multiply-accumulates of one example's forward pass
    parameters : float32 numbers that travel
    activation_bytes : float32 activations of one example, all layers together
    """

    name: str
    title: str
    macs: int
    parameters: int
    activation_bytes: int

    @property
    def model_bytes(self) -> int:
        """What travels in one direction."""
        return 4 * self.parameters

    @property
    def training_bytes(self) -> int:
        """The least that training one example takes: parameters, gradients, activations."""
        return 2 * self.model_bytes + self.activation_bytes


@dataclass(frozen=True, eq=False)
class RoundTable:
    """Accuracies by (mix, cut-off, cohort, epochs), one for each seed; networks by name."""

    about: Mapping[str, Any]
    networks: Mapping[str, Network]
    accuracies: Mapping[tuple[str, int, int, int], tuple[float, ...]]

    def accuracy(self, mix: str, cutoff: int, cohort: int, epochs: int) -> tuple[float, ...]:
        """Of the digits' small network when devices of `mix` do what they get done, by seed."""
        key = (ALIKE, 0) if MIXES[mix].whole(cutoff) else (mix, cutoff)
        return self.accuracies[*key, cohort, epochs]


def load(name: str = "round_cost") -> RoundTable:
    """The table that ships."""
    return parse(stored(name))


def parse(raw: Mapping[str, Any]) -> RoundTable:
    """A table from JSON.

    Raises
    ------
    TableError
        Of another format, or it lacks runs that the knobs need.
    """
    check_format(raw, FORMAT)
    found: dict[tuple[str, int, int, int], list[float]] = {}
    for row in raw["rows"]:
        key = row["mix"], row["cutoff"], row["cohort"], row["epochs"]
        found.setdefault(key, []).append(row["accuracy"])
    table = RoundTable(
        raw["about"],
        {name: Network(name=name, **counted) for name, counted in raw["networks"].items()},
        {key: tuple(of) for key, of in found.items()},
    )
    for mix in MIXES:
        for cutoff in CUTOFFS:
            for cohort in COHORTS:
                for epochs in EPOCHS:
                    try:
                        table.accuracy(mix, cutoff, cohort, epochs)
                    except KeyError as lacking:
                        raise TableError(f"the table lacks {lacking}") from None
    return table

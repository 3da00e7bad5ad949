"""What happened in each round of a simulation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Round:
    """One round.

    Parameters
    ----------
    number : from 1
    asked : devices that the server sent the model to
    answered : whose reply was taken
    failed : device → why it did not answer, or was refused
    loss : mean training loss over the steps of those that answered, nats; NaN without any
    drift : mean distance of their models from the mean of those, over the mean length of their
        updates: 0 where all moved alike, about 1 where every one went its own way
    bytes_down, bytes_up : all devices together (counted from what travels)
    accuracy : of the shared model on the central test examples; None where not evaluated
    device_accuracy : of each device's own model on its own test examples, by device; empty where
        not evaluated
    seconds, joules : modelled, by the fleet; None without one
    epsilon : of differential privacy, spent by the end of this round; None without it
    """

    number: int
    asked: int
    answered: int
    failed: dict[int, str] = field(default_factory=dict)
    loss: float = float("nan")
    drift: float = float("nan")
    bytes_down: int = 0
    bytes_up: int = 0
    accuracy: float | None = None
    device_accuracy: dict[int, float] = field(default_factory=dict)
    seconds: float | None = None
    joules: float | None = None
    epsilon: float | None = None


class History:
    """The rounds so far, in order."""

    def __init__(self, rounds: list[Round] | None = None) -> None:
        self.rounds = list(rounds or [])

    def __len__(self) -> int:
        return len(self.rounds)

    def __iter__(self) -> Iterator[Round]:
        return iter(self.rounds)

    def __getitem__(self, index: int) -> Round:
        return self.rounds[index]

    def evaluated(self) -> list[tuple[int, float]]:
        """(round, accuracy of the shared model), where it was evaluated."""
        return [(r.number, r.accuracy) for r in self.rounds if r.accuracy is not None]

    def personal(self) -> list[tuple[int, float]]:
        """(round, mean accuracy of the devices' own models), where those were evaluated."""
        return [
            (r.number, sum(r.device_accuracy.values()) / len(r.device_accuracy))
            for r in self.rounds
            if r.device_accuracy
        ]

    def rounds_to(self, accuracy: float) -> int | None:
        """The first round after which the shared model reached `accuracy`; None: it never did."""
        return next((number for number, got in self.evaluated() if got >= accuracy), None)

    def until(self, number: int, count: Callable[[Round], float]) -> float:
        """The sum of ``count(round)`` over the first `number` rounds."""
        return sum(count(r) for r in self.rounds[:number])

    def to_state(self) -> list[dict[str, Any]]:
        """Plain types, for a checkpoint or JSON."""
        return [asdict(r) for r in self.rounds]

    @staticmethod
    def from_state(state: list[dict[str, Any]]) -> History:
        return History([Round(**row) for row in state])

    def __repr__(self) -> str:
        if not self.rounds:
            return "History(0 rounds)"
        known = self.evaluated()
        last = f", accuracy {known[-1][1]:.2%} after round {known[-1][0]}" if known else ""
        answered = sum(r.answered for r in self.rounds)
        asked = sum(r.asked for r in self.rounds)
        spent = self.rounds[-1].epsilon
        private = "" if spent is None else f", ε = {spent:.3g}"
        return f"History({len(self)} rounds, {answered} of {asked} replies taken{last}{private})"

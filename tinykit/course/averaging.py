"""A small explorer for lessons: the average of models, and the models, by skew and local steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tinykit.explore._shipped import stored
from tinykit.explore.explorer import Choice, Control, Explorer, Settings, Tick, quiet
from tinykit.plots.ranges import accuracy_lines
from tinykit.plots.rounds import ByRound, by_round

if TYPE_CHECKING:
    import plotly.graph_objects as go


class AveragingTable:
    """The table of `tinykit.explore.sweep.averaging`, by what people ask of it.

    Attributes
    ----------
    about : data, seeds, training, versions
    rows : as stored
    """

    def __init__(self) -> None:
        raw = stored("averaging")
        self.about: dict[str, Any] = raw["about"]
        self.rows: list[dict[str, Any]] = raw["rows"]

    def shared(self, skew: str, steps: int) -> np.ndarray:
        """Accuracy of the average after each round, (seeds, rounds)."""
        return np.array([row["shared"] for row in self._rows(skew, steps)])

    def own(self, skew: str, steps: int) -> np.ndarray:
        """Accuracy of each device's model, before it was averaged, (seeds, rounds, devices)."""
        return np.array([row["own"] for row in self._rows(skew, steps)])

    def rounds_to(self, goal: float, skew: str, steps: int) -> list[int | None]:
        """Of each seed: the first round after which the average has this accuracy; None: never."""
        reached = [np.flatnonzero(row >= goal) for row in self.shared(skew, steps)]
        return [int(at[0]) + 1 if len(at) else None for at in reached]

    def _rows(self, skew: str, steps: int) -> list[dict[str, Any]]:
        return [row for row in self.rows if (row["skew"], row["steps"]) == (skew, steps)]


@dataclass(frozen=True, eq=False)
class Averaged:
    """What the knobs chose, and what the table has of it."""

    skew: str
    steps: int
    shared: np.ndarray
    own: np.ndarray


class AveragingExplorer(Explorer[Averaged]):
    """How much the average of the devices' models knows, and how much each of these; a look-up."""

    name = "federated-averaging"
    title = "Averaging models"
    summary = "What the average of models knows, by how alike their data is and how far they go"

    def __init__(self) -> None:
        self.table = AveragingTable()

    @property
    def controls(self) -> tuple[Control, ...]:
        about = self.table.about
        return (
            Choice(
                "skew", "Each holds", tuple((s, _said(s)) for s in about["skews"]),
                "IID", "menu", "how the training images are divided over the ten devices",
            ),
            Choice(
                "steps", "Local steps", tuple((k, str(k)) for k in about["steps"]), 20, "slider",
                f"minibatches of {about['local']['batch']} images on each device in a round",
            ),
        )  # fmt: skip

    def compute(self, settings: Settings, tick: Tick = quiet) -> Averaged:
        chosen = self.settings(settings)
        skew, steps = chosen["skew"], chosen["steps"]
        return Averaged(
            skew, steps, self.table.shared(skew, steps), self.table.own(skew, steps)
        )  # fmt: skip

    def figures(self, result: Averaged) -> dict[str, go.Figure]:
        about = self.table.about
        rounds = range(1, about["rounds"] + 1)
        series = {
            skew: {k: _last(self.table.shared(skew, k)) for k in about["steps"]}
            for skew in about["skews"]
        }
        return {
            "rounds": by_round(
                [
                    ByRound("average of the models", rounds, result.shared),
                    ByRound("a device's own model, mean", rounds, result.own.mean(axis=2)),
                ],
                title=f"{_said(result.skew).capitalize()}, {result.steps} local steps",
                subtitle=f"measured; mean and range of {len(about['seeds'])} seeds",
                unit="accuracy on the test split in %",
                scale=100,
                y_range=(0, 103),
            ),
            "steps": accuracy_lines(
                series,
                title=f"The average after {about['rounds']} rounds",
                subtitle=f"measured; lines: mean of {len(about['seeds'])} seeds, points: each",
                x_title="local steps a round",
                at=result.steps,
            ),
        }

    def text(self, result: Averaged) -> str:
        shared, own = result.shared[:, -1], result.own[:, -1]
        return (
            f"After {result.shared.shape[1]} rounds with {result.steps} local steps each, the "
            f"average recognises {_percent(shared.mean())} of the test images "
            f"({_percent(shared.min())} to {_percent(shared.max())} by seed). Of the models that "
            f"were averaged one recognises {_percent(own.mean())} on average, and the best of all "
            f"{_percent(own.max())}."
        )


def _said(skew: str) -> str:
    """What a device holds, in words."""
    words = {"IID": "all classes alike", "1 class": "one class", "2 classes": "two classes"}
    return words.get(skew, f"{skew} classes")


def _last(shared: np.ndarray) -> Sequence[float]:
    return [float(a) for a in shared[:, -1]]


def _percent(value: float) -> str:
    return f"{100 * float(value):.0f} %"

"""A small explorer for lessons: one model for all, or one that each device customises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tinykit.explore._shipped import check_format, stored
from tinykit.explore.explorer import Choice, Control, Explorer, Settings, Tick, quiet
from tinykit.graph.errors import TinykitError
from tinykit.plots.quantization import accuracy_bars
from tinykit.plots.ranges import accuracy_lines

if TYPE_CHECKING:
    import plotly.graph_objects as go

FORMAT = 1
#: customisation → the methods of the table that have it, each with its way against drift
METHODS = {
    "none": ("FedAvg", "SCAFFOLD", "FedDyn"),
    "MAML": ("Per-FedAvg", "PFLScaf, MAML", "PFLDyn, MAML"),
    "prototypes": ("FedAvg, prototypes", "PFLScaf, prototypes", "PFLDyn, prototypes"),
}
#: method → its way of customising, without fine-tuning
OWN = "as trained"


class PersonalTable:
    """The table of `tinykit.explore.sweep.personalised`, by what people ask of it.

    Parameters
    ----------
    raw : a table as stored; by default the one that ships

    Attributes
    ----------
    about : data, seeds, methods, versions
    rows : as stored
    """

    def __init__(self, raw: Mapping[str, Any] | None = None) -> None:
        made = stored("personalised") if raw is None else raw
        check_format(made, FORMAT)
        self.about: dict[str, Any] = dict(made["about"])
        self.rows: list[dict[str, Any]] = list(made["rows"])

    @property
    def shares(self) -> tuple[float, ...]:
        """Shares of devices that are asked a round, ascending."""
        return tuple(sorted({row["share"] for row in self.rows if row["method"] != "alone"}))

    @property
    def alone(self) -> list[float]:
        """Mean accuracy of devices that train by themselves, one a seed."""
        return [row["accuracy"][-1] for row in self.rows if row["method"] == "alone"]

    def by_round(self, method: str, share: float) -> dict[float, list[float]]:
        """Round → mean device accuracy of each seed, as the method customises.

        A method that does not customise is fine-tuned with the first of the fine-tunings.
        """
        found: dict[float, list[float]] = {}
        for row in self._rows(method, share):
            for number, accuracy in zip(row["rounds"], row["accuracy"], strict=True):
                found.setdefault(number, []).append(accuracy)
        return found

    def ways(self, method: str, share: float) -> dict[str, list[float]]:
        """Way to customise the final model → mean device accuracy of each seed.

        `OWN` is the method's way, for methods that have one; "20 x 0.1" is fine-tuning by 20
        full-batch steps of size 0.1.
        """
        rows = self._rows(method, share)
        found: dict[str, list[float]] = {}
        if method not in METHODS["none"]:
            found[OWN] = [row["accuracy"][-1] for row in rows]
        for way in rows[0]["tuned"]:
            found[way] = [row["tuned"][way] for row in rows]
        return found

    def best(self, method: str, share: float) -> tuple[str, list[float]]:
        """The way with the highest mean over the seeds, and its accuracies.

        It is chosen on the examples that it is reported on, for all methods alike.
        """
        ways = self.ways(method, share)
        way = max(ways, key=lambda name: mean(ways[name]))
        return way, ways[way]

    def rounds_to(self, method: str, share: float, accuracy: float) -> int | None:
        """The first evaluated round with this mean accuracy over the seeds; None: never."""
        points = self.by_round(method, share)
        return next((int(r) for r, seeds in points.items() if mean(seeds) >= accuracy), None)

    def _rows(self, method: str, share: float) -> list[dict[str, Any]]:
        rows = [r for r in self.rows if r["method"] == method and r["share"] == share]
        if not rows:
            raise TinykitError(f"the table has no {method!r} with {share:g} of the devices a round")
        return rows


@dataclass(frozen=True)
class PersonalShown:
    """What the knobs chose, and what the table has of it."""

    share: float
    customise: str
    lines: Mapping[str, Mapping[float, Sequence[float]]]
    best: Mapping[str, tuple[str, Sequence[float]]]


class PersonalExplorer(Explorer[PersonalShown]):
    """Methods by round, and after the best fine-tuning of each; all from the table.

    Parameters
    ----------
    table : by default the one that ships
    """

    name = "one-or-many"
    title = "One model or many"
    summary = "Devices that name the classes differently learn together, or alone"

    def __init__(self, table: PersonalTable | None = None) -> None:
        self.table = table or PersonalTable()

    @property
    def controls(self) -> tuple[Control, ...]:
        shares = tuple((s, f"{s:.0%} of the devices") for s in self.table.shares)
        return (
            Choice("share", "Asked", shares, shares[-1][0], "slider", "in each round"),
            Choice(
                "customise",
                "Customised",
                (("none", "by nothing"), ("MAML", "by MAML"), ("prototypes", "by prototypes")),
                "none",
                "buttons",
                "what a device does with the model, in training as well",
            ),
        )

    def compute(self, settings: Settings, tick: Tick = quiet) -> PersonalShown:
        chosen = self.settings(settings)
        share, customise = chosen["share"], chosen["customise"]
        return PersonalShown(
            share,
            customise,
            {name: self.table.by_round(name, share) for name in METHODS[customise]},
            {m: self.table.best(m, share) for methods in METHODS.values() for m in methods},
        )

    def figures(self, result: PersonalShown) -> dict[str, go.Figure]:
        seeds = len(self.table.alone)
        how = "fine-tuned by 5 steps" if result.customise == "none" else "as they customise"
        names = ["alone", *result.best]
        accuracies = [mean(self.table.alone), *(mean(a) for _, a in result.best.values())]
        return {
            "rounds": accuracy_lines(
                result.lines,
                title=f"{result.share:.0%} of the devices a round, {how}",
                subtitle=f"measured on the devices' own test examples; lines: mean of {seeds} "
                "seeds, points: each of them",
                x_title="rounds done",
                y_title="mean accuracy of the devices in %",
                references={"alone": mean(self.table.alone)},
                margin={"t": 115},
            ),
            "best": accuracy_bars(
                names,
                accuracies,
                title="The last model, customised in the best way tried",
                subtitle=f"measured; mean of {seeds} seeds; orange: over 2 points behind alone",
                y_title="",
            ),
        }

    def text(self, result: PersonalShown) -> str:
        last = "; ".join(
            f"{name}: {100 * mean(points[max(points)]):.1f} % after {max(points):g} rounds"
            for name, points in result.lines.items()
        )
        name = max(result.best, key=lambda m: mean(result.best[m][1]))
        way, accuracies = result.best[name]
        how = "as trained" if way == OWN else f"fine-tuned by {way} steps"
        return (
            f"Alone: {100 * mean(self.table.alone):.1f} %. {last}.\n"
            f"Best of all at this share: {name}, {how}: {100 * mean(accuracies):.1f} %."
        )


def mean(values: Sequence[float]) -> float:
    """Of a few accuracies."""
    return sum(values) / len(values)

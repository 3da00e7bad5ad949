"""A small explorer for lessons: when an engine that has to be started is worth it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tinykit.explore._shipped import stored
from tinykit.explore.explorer import Choice, Control, Explorer, Settings, Tick, quiet
from tinykit.plots.engines import seconds_by_rounds

if TYPE_CHECKING:
    import plotly.graph_objects as go

#: what devices compute: how it is called, what was measured, and how many times that
WORKS = {
    "mlp": ("MLP", "mlp", 1),
    "lenet": ("LeNet", "lenet", 1),
    "more": ("100 × LeNet", "lenet", 100),
}
CONVOLVES = ("lenet",)
CORES = (2, 8, 32, 128, 512)
ROUNDS = (1, 10, 100, 1000)


class EnginesTable:
    """The table of `tinykit.explore.sweep.engines`, by what people ask of it.

    Attributes
    ----------
    about : data, machine, versions
    devices : how many take part in each round
    """

    def __init__(self) -> None:
        raw = stored("engines")
        self.about: dict[str, Any] = raw["about"]
        self.devices: int = self.about["devices"]
        self.cores: int = self.about["machine"]["cores"]
        self._rows = {(row["work"], row["engine"]): row for row in raw["rows"]}

    def row(self, work: str, engine: str) -> dict[str, Any]:
        """`work`: "mlp", "lenet", or "nothing" (devices compute nothing)."""
        return self._rows[work, engine]

    def first(self, work: str, engine: str) -> float:
        """Seconds of the first round, start-up included (measured)."""
        return float(self.row(work, engine)["first"])

    def round(self, work: str, engine: str) -> float:
        """Seconds of each later round (measured)."""
        return float(self.row(work, engine)["round"])

    def rate(self, work: str, engine: str) -> float:
        """Devices a second, once it runs (measured)."""
        return self.devices / self.round(work, engine)

    def compute(self, work: str) -> float:
        """Seconds that one core computes for one device: what the sequential engine's rounds take
        more than one in which nothing is computed. With convolutions it uses all cores."""
        spent = self.round(work, "sequential") - self.round("nothing", "sequential")
        return spent * (self.cores if work in CONVOLVES else 1) / self.devices

    def modelled(self, compute: float, cores: int) -> float:
        """Seconds of a round of Flower on `cores`: messages as measured, one after another, and
        computing divided by the cores. An estimate: a network between machines is not in it."""
        waves = -(-self.devices // cores)
        return self.round("nothing", "flower") + waves * compute


@dataclass(frozen=True)
class Raced:
    """What the knobs chose: engine → (seconds of the first round, of each later one)."""

    work: str
    cores: int
    rounds: int
    engines: Mapping[str, tuple[float, float]]

    def total(self, engine: str) -> float:
        """Seconds of all rounds."""
        first, each = self.engines[engine]
        return first + (self.rounds - 1) * each


class EnginesExplorer(Explorer[Raced]):
    """Start-up, messages, and cores: seconds by rounds. From the table."""

    name = "engines"
    title = "Engines"
    summary = "When Flower and Ray are worth starting"

    def __init__(self) -> None:
        self.table = EnginesTable()

    @property
    def controls(self) -> tuple[Control, ...]:
        return (
            Choice(
                "work",
                "Computed",
                tuple((key, name) for key, (name, _, _) in WORKS.items()),
                "mlp",
                "buttons",
                "what a device does in a round",
            ),
            Choice(
                "cores",
                "Flower on",
                tuple((n, f"{n} cores") for n in CORES),
                2,
                "slider",
                f"{self.table.cores} were measured; more are modelled",
            ),
            Choice("rounds", "Rounds", tuple((n, f"{n:,}") for n in ROUNDS), 10, "slider"),
        )

    def compute(self, settings: Settings, tick: Tick = quiet) -> Raced:
        chosen = self.settings(settings)
        _, work, times = WORKS[chosen["work"]]
        table = self.table
        engines = {}
        for engine in ("sequential", "vectorised"):
            # start-up is what the first round took more
            started = table.first(work, engine) - table.round(work, engine)
            each = times * table.round(work, engine)
            engines[engine] = (max(0.0, started) + each, each)
        compute, cores = times * table.compute(work), chosen["cores"]
        measured = cores == table.cores and times == 1
        each = table.round(work, "flower") if measured else table.modelled(compute, cores)
        started = table.first(work, "flower") - table.round(work, "flower")
        engines["flower"] = (max(0.0, started) + each, each)
        return Raced(chosen["work"], cores, chosen["rounds"], engines)

    def measured(self, result: Raced) -> bool:
        """Whether all lines are; else some of them are modelled."""
        return result.cores == self.table.cores and WORKS[result.work][2] == 1

    def figures(self, result: Raced) -> dict[str, go.Figure]:
        how = (
            "first and later rounds measured"
            if self.measured(result)
            else "modelled from measured rounds"
        )
        names = {"flower": f"Flower and Ray, {result.cores} cores"}
        return {
            "seconds": seconds_by_rounds(
                {names.get(engine, engine): found for engine, found in result.engines.items()},
                title=f"{self.table.devices} devices a round: {WORKS[result.work][0]}",
                subtitle=f"{how}; one process has {self.table.cores} cores",
                most=ROUNDS[-1],
                shapes=[
                    {
                        "type": "line",
                        "x0": result.rounds,
                        "x1": result.rounds,
                        "yref": "paper",
                        "y0": 0,
                        "y1": 1,
                        "line": {"color": "#8A8A8A", "dash": "dot", "width": 1},
                    }
                ],
            )
        }

    def text(self, result: Raced) -> str:
        totals = {engine: result.total(engine) for engine in result.engines}
        quickest = min(totals, key=totals.__getitem__)
        names = {"flower": f"Flower on {result.cores} cores"}
        said = "; ".join(f"{names.get(e, e)} {_seconds(s)}" for e, s in totals.items())
        how = "measured" if self.measured(result) else "modelled"
        rounds = "1 round" if result.rounds == 1 else f"{result.rounds:,} rounds"
        first, each = result.engines["flower"]
        return (
            f"{rounds} of {self.table.devices} devices, {WORKS[result.work][0]} ({how}): {said}. "
            f"Quickest: {names.get(quickest, quickest)}.\nFlower's start takes "
            f"{_seconds(max(0.0, first - each))}, its messages "
            f"{_seconds(self.table.round('nothing', 'flower'))} a round (measured)."
        )


def _seconds(value: float) -> str:
    if value >= 7200:
        return f"{value / 3600:,.1f} h"
    return f"{value / 60:,.1f} min" if value >= 120 else f"{value:.2g} s"

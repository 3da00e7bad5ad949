"""Federate: what skew, who takes part and who drops out do to an algorithm that learns together.

Every setting was simulated beforehand (`tinykit.explore.sweep.federate`): a knob looks up. With
another seed a setting can be simulated here, and is drawn while it runs.
"""

from __future__ import annotations

import importlib.util
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tinykit.explore import _federate_table
from tinykit.explore._federate_figures import figures
from tinykit.explore._federate_table import TITLES, Run, Table, Where
from tinykit.explore._federate_words import python, words
from tinykit.explore.explorer import Choice, Control, Explorer, Settings, Tick, quiet
from tinykit.graph.errors import MissingToolError

if TYPE_CHECKING:
    import plotly.graph_objects as go

#: of the knob for seeds
MEAN = "mean"
#: of the knob for the comparison
NOBODY = "none"
#: seeds that are simulated here; none of them is in the table, or was tuned with
HERE = (10, 11, 12)
#: the accuracy that counts as learnt
GOAL = 0.9


@dataclass(frozen=True)
class Federated:
    """What a turn of the knobs comes to.

    Attributes
    ----------
    algorithms : the chosen one, then the one it is compared with, if any
    runs : of each of them, in the same order
    where : the setting
    holdings : int (devices, classes), of the seed shown; of the table's first one for the mean
    here : whether it was simulated here
    rounds : that a whole run has
    """

    table: Table
    algorithms: tuple[str, ...]
    runs: tuple[tuple[Run, ...], ...]
    where: Where
    holdings: tuple[Holdings, ...]
    here: bool

    @property
    def rounds(self) -> int:
        return int(self.table.about["rounds"])

    def devices(self, runs: tuple[Run, ...]) -> np.ndarray:
        """Accuracy of the shared model for each device, (runs, devices)."""
        counts = {h.seed: h.counts for h in self.holdings}
        return np.stack([self.table.device_accuracy(run, counts[run.seed]) for run in runs])


@dataclass(frozen=True, eq=False)
class Holdings:
    """Who holds how many examples of each class with a seed, int (devices, classes)."""

    seed: int
    counts: np.ndarray


class Federate(Explorer[Federated]):
    """The explorer; the table is the shipped one unless another is given."""

    name = "federate"
    title = "Federate"
    summary = (
        "How fifty devices learn one model without sharing their data, and what gets in the way"
    )

    def __init__(self, table: Table | None = None) -> None:
        self.table = table or _federate_table.load()
        self._holdings = {
            key: Holdings(key[1], counts) for key, counts in self.table.holdings.items()
        }
        self._done: dict[tuple[str, Where, int], Run] = {}
        self._lock = threading.Lock()

    @property
    def controls(self) -> tuple[Control, ...]:
        knobs = self.table.about["knobs"]
        devices = self.table.about["devices"]
        algorithms = tuple(TITLES.items())
        return (
            Choice(
                "participation", "Asked",
                tuple((p, f"{p:.0%}: {p * devices:.0f} of {devices}")
                      for p in knobs["participation"]),
                0.2, "slider", "How many of the devices the server sends the model to each round",
            ),
            Choice(
                "skew", "Label skew",
                tuple((s, f"Dirichlet {s:g}" if s else "none (IID)") for s in knobs["skew"]),
                0.1, "slider",
                "How much the devices' classes differ: the smaller the number, the more",
            ),
            Choice(
                "dropout", "Drop out", tuple((d, f"{d:.0%}") for d in knobs["dropout"]), 0.0,
                "slider", "Share of the asked devices that never answer",
            ),
            Choice(
                "algorithm", "Algorithm", algorithms, "feddyn", "menu",
                "How devices train and the server puts their answers together",
            ),
            Choice(
                "other", "Compare with", ((NOBODY, "nothing"), *algorithms), "fedavg", "menu",
                "A second algorithm, on the same devices with the same seed",
            ),
            Choice(
                "seed", "Seeds", ((MEAN, "mean"), *((s, str(s)) for s in self.table.seeds)), MEAN,
                "buttons", "One run, or the mean of all with their range",
            ),
            Choice(
                "here", "Run it here", ((0, "no"), *((s, f"seed {s}") for s in HERE)), 0, "buttons",
                "Simulate this setting now, with a seed that is not in the table (needs torch)",
            ),
        )  # fmt: skip

    def labels(self, settings: Settings) -> dict[str, str | None]:
        return {"seed": None} if settings["here"] else {}

    # -- compute ----------------------------------------------------------------------------------

    def instant(self, settings: Settings) -> bool:
        seed, where = settings["here"], _where(settings)
        return not seed or all((a, where, seed) in self._done for a in _algorithms(settings))

    def compute(self, settings: Settings, tick: Tick = quiet) -> Federated:
        settings = self.settings(settings)
        where, algorithms = _where(settings), _algorithms(settings)
        if settings["here"]:
            return self._simulated(algorithms, where, settings["here"], tick)
        seed = None if settings["seed"] == MEAN else settings["seed"]
        return Federated(
            self.table,
            algorithms,
            tuple(self.table.of(name, where, seed) for name in algorithms),
            where,
            tuple(
                self._holdings[where.skew, s] for s in self.table.seeds if seed is None or s == seed
            ),
            here=False,
        )

    def _simulated(
        self, algorithms: tuple[str, ...], where: Where, seed: int, tick: Tick
    ) -> Federated:
        """The setting simulated here; what is known already is not run again."""
        if importlib.util.find_spec("torch") is None:
            raise MissingToolError(
                "to run it here takes torch, which is not installed: pip install torch, or choose "
                "“no” to see the runs of the table"
            )
        tick(0.0, "starting")
        from tinykit import data
        from tinykit.explore.sweep import federate as sweep

        digits = data.load("digits")
        key = where.skew, seed
        if key not in self._holdings:
            counts = sweep.holds(sweep.federation(digits, *key))
            self._holdings[key] = Holdings(seed, counts)
        rounds = int(self.table.about["rounds"])
        found: list[Run] = []

        def outcome(runs: list[Run]) -> Federated:
            shown = tuple((run,) for run in runs)
            return Federated(
                self.table, algorithms[: len(runs)], shown, where, (self._holdings[key],), here=True
            )

        def watch(run: Run) -> None:
            share = (len(found) + len(run) / rounds) / len(algorithms)
            name = TITLES[algorithms[len(found)]]
            tick(share, f"{name}: round {len(run)} of {rounds}", outcome([*found, run]))

        for name in algorithms:
            known = self._done.get((name, where, seed))
            if known is None:
                own = dict(self.table.about["settings"][name])
                known = sweep.watched(
                    digits, name, where, seed, own.pop("lr"), own, rounds, watch
                )  # fmt: skip
                with self._lock:
                    self._done[name, where, seed] = known
            found.append(known)
        return outcome(found)

    # -- figures and words ------------------------------------------------------------------------

    def figures(self, result: Federated) -> dict[str, go.Figure]:
        return figures(result, GOAL)

    def panels(self, result: Federated) -> dict[str, str]:
        return {"The same in Python": python(result)}

    def text(self, result: Federated) -> str:
        return words(result, GOAL)


def _where(settings: Settings) -> Where:
    return Where(settings["skew"], settings["participation"], settings["dropout"])


def _algorithms(settings: Settings) -> tuple[str, ...]:
    chosen, other = settings["algorithm"], settings["other"]
    return (chosen,) if other in (NOBODY, chosen) else (chosen, other)

"""The schedule search: count each layer's candidates on the emulator, keep the best.

What TVM calls tuning. Every candidate is exact or is thrown away, so a search changes how fast the
generated code is and never what it computes. The engine, below this room, only reads the table
that a search writes (`Tuning.write`).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tinykit.engine.arrange import arrange
from tinykit.engine.build import toolchain_version
from tinykit.engine.cores import Core, find_core
from tinykit.engine.options import Options
from tinykit.engine.schedule import NONE, Schedule
from tinykit.graph.errors import TinykitError
from tinykit.graph.ir import Graph
from tinykit.search.sites import Site, sites
from tinykit.search.store import Store
from tinykit.search.trials import Trial, count

log = logging.getLogger(__name__)

#: how much slower than the fastest a schedule may be that is chosen because it needs less memory
SLACK = 0.005

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Choice:
    """What the search found for one layer or chain.

    Attributes
    ----------
    best : the schedule to use; `NONE` for the plain kernel, or for the ops of a chain apart
    instructions : with it; of a chain whose ops are better apart, their sum
    trials : everything that was counted, rejected schedules included; the plain kernel is the trial
        of `NONE`, for single layers
    default : what is taken without a table, `NONE` likewise
    """

    key: str
    best: Schedule
    instructions: int
    trials: tuple[Trial, ...]
    default: Schedule = NONE

    @property
    def rejected(self) -> list[Trial]:
        return [trial for trial in self.trials if not trial.ok]

    @property
    def default_instructions(self) -> int | None:
        """With the schedule that is taken without a table; None where that was not counted."""
        found = [t.instructions for t in self.trials if t.schedule == self.default and t.ok]
        return found[0] if found else None


@dataclass(frozen=True)
class Tuning:
    """What a search found, by key of layer or chain."""

    core: str
    toolchain: str
    choices: Mapping[str, Choice] = field(default_factory=dict)

    @property
    def schedules(self) -> dict[str, Schedule]:
        return {key: choice.best for key, choice in self.choices.items()}

    @property
    def rejected(self) -> list[tuple[str, Trial]]:
        """Schedules that a kernel offers and that do not work: faults of the engine."""
        return [(key, trial) for key, c in self.choices.items() for trial in c.rejected]

    def options(self, base: Options | None = None) -> Options:
        """`base` with these schedules before its own."""
        base = base or Options()
        return replace(base, schedules={**base.schedules, **self.schedules})

    def write(self, path: Path) -> None:
        """Write, or add to, the table that the engine reads (``schedules/CORE.json``).

        Rows of layers that this search did not meet are kept; a damaged table is written anew.
        """
        old: dict[str, Any] = {}
        try:
            old = json.loads(path.read_text(encoding="utf-8"))
            rows, counts = dict(old["schedules"]), dict(old["instructions"])
        except (OSError, ValueError, KeyError, TypeError):
            rows, counts = {}, {}
        for key, choice in self.choices.items():
            rows[key] = str(choice.best)
            counts[key] = choice.instructions
        made = {"core": self.core, "toolchain": self.toolchain}
        if self.toolchain:
            made["version"] = toolchain_version(self.toolchain).split("\n")[0]
        table = {
            "made_with": made,
            "schedules": dict(sorted(rows.items())),
            "instructions": dict(sorted(counts.items())),
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


def tune(
    graphs: Graph | Sequence[Graph],
    core: str = "cortex-m4",
    toolchain: str = "zig",
    options: Options | None = None,
    progress: Progress | None = None,
) -> Tuning:
    """Find the schedule of each distinct layer and chain of `graphs` that takes least instructions.

    Among schedules within `SLACK` of the fastest, the one with the smallest arena is chosen, then
    the one with the smallest code. A chain is fused when that is faster than its layers apart.
    Counts are kept by layer shape, core, compiler and version of the engine; a second search counts
    nothing.

    Parameters
    ----------
    core : name of a Cortex-M core
    toolchain : "zig" or "gcc"
    options : the techniques that may be used
    progress : called with sites done, sites in all, and what is next

    Returns
    -------
    Tuning
        Empty where no kernel has anything to choose. Schedules that do not work are never chosen;
        they are logged as errors and listed in `Tuning.rejected`.

    Raises
    ------
    TinykitError
        An unknown core or toolchain; a toolchain that is missing (MissingToolError).
    """
    target = find_core(core)
    options = options or Options()
    graphs = [graphs] if isinstance(graphs, Graph) else list(graphs)
    found = sites(graphs, target, options)
    store = Store(target, toolchain, options)
    choices: dict[str, Choice] = {}
    for number, site in enumerate(found):
        if progress is not None:
            progress(number, len(found), site.key)
        trials = measure(site, target, toolchain, options, store)
        default = default_of(site, target, options)
        choices[site.key] = choose(site, trials, choices, default)
    if progress is not None:
        progress(len(found), len(found), "")
    # layers that only the comparison with a chain needed, and that have nothing to choose
    kept = {site.key for site in found if site.candidates}
    return Tuning(target.name, toolchain, {k: c for k, c in choices.items() if k in kept})


def measure(
    site: Site, core: Core, toolchain: str, options: Options, store: Store
) -> tuple[Trial, ...]:
    """A trial for each schedule of a site, from the store where it has them.

    A single layer is counted with its plain kernel as well.
    """
    wanted = [*site.candidates, *([] if site.parts else [NONE])]
    known = store.get(site.key)
    fresh = [schedule for schedule in wanted if schedule not in known]
    if fresh:
        known |= {trial.schedule: trial for trial in count(site, fresh, core, toolchain, options)}
        store.put(site.key, list(known.values()))
    return tuple(known[schedule] for schedule in wanted)


def default_of(site: Site, core: Core, options: Options) -> Schedule:
    """What the engine takes where no table says anything."""
    blank = replace(options, schedules={}, use_table=False)
    steps = arrange(site.graph, core, blank).steps
    return NONE if len(steps) > 1 else steps[0].schedule or NONE


def choose(
    site: Site,
    trials: Sequence[Trial],
    known: Mapping[str, Choice],
    default: Schedule = NONE,
) -> Choice:
    """The best of a site's trials, or `NONE` where a chain is slower than its parts in `known`."""
    working = [trial for trial in trials if trial.ok]
    apart = None
    if site.parts:
        apart = min(known[a].instructions + known[b].instructions for a, b in site.parts)
    elif not working:
        raise TinykitError(
            f"no kernel computes {site.key} rightly, the plain one included: "
            + "; ".join(f"{t.schedule}: {t.error}" for t in trials)
        )
    if working:
        fastest = min(trial.instructions for trial in working)
        near = [t for t in working if t.instructions <= fastest * (1 + SLACK)]
        best = min(near, key=lambda t: (t.arena, t.flash, t.instructions))
        if apart is None or best.instructions < apart:
            return Choice(site.key, best.schedule, best.instructions, tuple(trials), default)
    return Choice(site.key, NONE, int(apart or 0), tuple(trials), default)

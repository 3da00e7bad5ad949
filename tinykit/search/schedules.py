"""The schedule search: count each layer's candidates on the emulator, keep the best.

What TVM calls tuning. Every candidate is exact or is thrown away, so a search changes how fast the
generated code is and never what it computes. The engine, below this room, only reads the table
that a search writes (`Tuning.write`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from tinykit.engine.arrange import arrange
from tinykit.engine.cores import Core, find_core
from tinykit.engine.cycles import CORES as TIMED
from tinykit.engine.flash import FlashTiming
from tinykit.engine.options import Options
from tinykit.engine.schedule import NONE, Schedule
from tinykit.graph.errors import TinykitError
from tinykit.graph.ir import Graph
from tinykit.search.cost_model import CostModel
from tinykit.search.sites import Site, sites
from tinykit.search.store import Store
from tinykit.search.trials import Trial, count
from tinykit.search.tuning import OBJECTIVES, Choice, Tuning

log = logging.getLogger(__name__)

#: how much slower than the fastest a schedule may be that is chosen because it needs less memory
SLACK = 0.002

Progress = Callable[[int, int, str], None]


def tune(
    graphs: Graph | Sequence[Graph],
    core: str = "cortex-m4",
    toolchain: str = "zig",
    options: Options | None = None,
    progress: Progress | None = None,
    *,
    objective: str = "instructions",
    budget: int | None = None,
    model: CostModel | None = None,
    flash: FlashTiming | None = None,
) -> Tuning:
    """Find the schedule of each distinct layer and chain of `graphs` that costs least.

    Among schedules within `SLACK` of the best, the one with the smallest arena is chosen, then
    the one with the smallest code. A chain is fused when that costs less than its layers apart.
    Counts are kept by layer shape, core, compiler and version of the engine; a second search counts
    nothing.

    Parameters
    ----------
    core : name of a Cortex-M core
    toolchain : "zig" or "gcc"
    options : the techniques that may be used
    progress : called with sites done, sites in all, and what is next
    objective : "instructions", counted, or "cycles", modelled from the very instructions that were
        counted (Cortex-M4 only, see `tinykit.engine.cycles`)
    budget : most schedules that are tried for one layer or chain, the one that the engine takes
        without a table always among them; all by default
    model : ranks schedules where there are more than `budget`; by default one that learns from the
        layers that this search has done before
    flash : a board's, whose waits are part of the cycles: unrolled code that its caches cannot hold
        is fast by instructions and slow on the board (`Board.flash_timing`)

    Returns
    -------
    Tuning
        Empty where no kernel has anything to choose. Schedules that do not work are never chosen;
        they are logged as errors and listed in `Tuning.rejected`.

    Raises
    ------
    TinykitError
        An unknown core, toolchain or objective; a core without published timings; a budget below 1;
        a toolchain that is missing (MissingToolError).
    """
    target = find_core(core)
    _check(target, objective, budget)
    options = options or Options()
    graphs = [graphs] if isinstance(graphs, Graph) else list(graphs)
    found = sites(graphs, target, options)
    flash = flash if target.name in TIMED else None
    store = Store(target, toolchain, options, flash)
    choices: dict[str, Choice] = {}
    counted = 0
    for number, site in enumerate(found):
        if progress is not None:
            progress(number, len(found), site.key)
        default = default_of(site, target, options)
        wanted = list(site.candidates)
        if budget is not None and len(wanted) > budget:
            learned = model or CostModel.fit(_tried(choices), objective)
            wanted = shortlist(site, default, learned, budget)
        trials, fresh = measure(site, wanted, target, toolchain, options, store, flash)
        counted += fresh
        choices[site.key] = choose(site, trials, choices, default, objective)
    if progress is not None:
        progress(len(found), len(found), "")
    # layers that only the comparison with a chain needed, and that have nothing to choose
    kept = {site.key for site in found if site.candidates}
    chosen = {key: choice for key, choice in choices.items() if key in kept}
    return Tuning(target.name, toolchain, chosen, objective, counted)


def shortlist(site: Site, default: Schedule, model: CostModel, budget: int) -> list[Schedule]:
    """The `budget` schedules of a site that a model ranks first; `default` is always in it."""
    first = [default] if default in site.candidates else []
    ranked = model.rank(site.key, site.candidates)
    return [*first, *(s for s in ranked if s not in first)][:budget]


def measure(
    site: Site,
    schedules: Sequence[Schedule],
    core: Core,
    toolchain: str,
    options: Options,
    store: Store,
    flash: FlashTiming | None = None,
) -> tuple[tuple[Trial, ...], int]:
    """A trial for each of `schedules`, from the store where it has them; how many it had not.

    A single layer is counted with its plain kernel as well.
    """
    wanted = [*schedules, *([] if site.parts else [NONE])]
    known = store.get(site.key)
    fresh = [schedule for schedule in wanted if schedule not in known]
    if fresh:
        counted = count(site, fresh, core, toolchain, options, flash)
        known |= {trial.schedule: trial for trial in counted}
        store.put(site.key, list(known.values()))
    return tuple(known[schedule] for schedule in wanted), len(fresh)


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
    objective: str = "instructions",
) -> Choice:
    """The best of a site's trials, or `NONE` where a chain is slower than its parts in `known`."""
    working = [trial for trial in trials if trial.ok]
    # cycles without waits look fewer: such a schedule is taken only where all are like that
    working = [trial for trial in working if trial.comparable(objective)] or working

    def choice(schedule: Schedule, instructions: int, cycles: float | None) -> Choice:
        offered = len(site.candidates)
        return Choice(site.key, schedule, instructions, tuple(trials), default, cycles, offered)

    apart = None
    if site.parts:
        ways = [_sum(known[a], known[b]) for a, b in site.parts]
        apart = min(ways, key=lambda way: way[0] if objective == "instructions" else way[1] or 0)
    elif not working:
        raise TinykitError(
            f"no kernel computes {site.key} rightly, the plain one included: "
            + "; ".join(f"{t.schedule}: {t.error}" for t in trials)
        )
    if working:
        cheapest = min(trial.cost(objective) for trial in working)
        near = [t for t in working if t.cost(objective) <= cheapest * (1 + SLACK)]
        best = min(near, key=lambda t: (t.arena, t.flash, t.cost(objective)))
        limit = None if apart is None else apart[0 if objective == "instructions" else 1]
        if limit is None or best.cost(objective) < limit:
            return choice(best.schedule, best.instructions, best.cycles)
    assert apart is not None
    return choice(NONE, *apart)


def _sum(a: Choice, b: Choice) -> tuple[int, float | None]:
    cycles = None if a.cycles is None or b.cycles is None else a.cycles + b.cycles
    return a.instructions + b.instructions, cycles


def _tried(choices: Mapping[str, Choice]) -> list[tuple[str, Trial]]:
    return [(key, trial) for key, choice in choices.items() for trial in choice.trials]


def _check(core: Core, objective: str, budget: int | None) -> None:
    if objective not in OBJECTIVES:
        raise TinykitError(f"no objective {objective!r}; there are {', '.join(OBJECTIVES)}")
    if objective == "cycles" and core.name not in TIMED:
        raise TinykitError(
            f"cycles are modelled for {', '.join(sorted(TIMED))} only, whose timings Arm "
            f"publishes; search by instructions for {core.name}"
        )
    if budget is not None and budget < 1:
        raise TinykitError(f"a budget is 1 schedule a layer or more, not {budget}")

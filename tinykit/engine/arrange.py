"""From a graph to steps: which kernel computes which ops, by which schedule.

Schedules come from `Options.schedules`, else from the table that the schedule search has written
for the core (``tinykit/engine/schedules/CORE.json``, key to schedule; `NONE` for a chain that is
slower than its ops apart), else the kernel of highest priority gives its best guess. Chains of ops
are taken before single ops.
"""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Collection, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources

from tinykit.engine.cores import Core, find_core
from tinykit.engine.kernel import KERNELS, Kernel, Layers, Needs
from tinykit.engine.layer import Layer, alike, key_of
from tinykit.engine.options import Options
from tinykit.engine.plan import MemoryPlan, plan
from tinykit.engine.schedule import NONE, Schedule
from tinykit.graph.errors import GraphError, TinykitError
from tinykit.graph.ir import Graph

log = logging.getLogger(__name__)

#: longest chain of ops that a kernel may fuse
LONGEST = 3


@dataclass(frozen=True)
class Step:
    """One function of the generated program.

    Attributes
    ----------
    positions : the ops that it computes, a chain in order
    schedule : of the specialised kernel; None where the plain kernel is called
    needs : memory beside inputs and outputs
    """

    positions: tuple[int, ...]
    schedule: Schedule | None = None
    needs: Needs = field(default_factory=Needs)

    @property
    def kernel(self) -> Kernel | None:
        return None if self.schedule is None else KERNELS[self.schedule.kernel]


@dataclass(frozen=True)
class Program:
    """A graph, the core it is meant for, and how it is computed there.

    Attributes
    ----------
    core : None for this machine
    """

    graph: Graph
    core: Core | None
    options: Options
    steps: tuple[Step, ...]
    plan: MemoryPlan

    def layers(self, step: Step) -> tuple[Layer, ...]:
        return tuple(Layer(self.graph, position) for position in step.positions)


def arrange(
    graph: Graph, core: str | Core | None = None, options: Options | None = None
) -> Program:
    """Choose kernels and schedules for `graph` and lay out its memory; deterministic.

    Parameters
    ----------
    core : name of a Cortex-M core, or None for this machine
    """
    options = options or Options()
    target = find_core(core) if isinstance(core, str) else core
    steps = choose_steps(graph, target, options)
    layout = plan(graph, steps, in_place=options.in_place)
    steps, layout = _without_large_chains(graph, target, options, steps, layout)
    return Program(graph, target, options, steps, layout)


def _without_large_chains(
    graph: Graph,
    core: Core | None,
    options: Options,
    steps: tuple[Step, ...],
    layout: MemoryPlan,
) -> tuple[tuple[Step, ...], MemoryPlan]:
    """Without the chains that need a larger arena than their ops apart.

    The engine's table chose them for their speed and knows nothing of the other layers' memory.
    What `options` asks for by name is kept.
    """
    fused = {
        step.positions[0]: step.positions[-1]
        for step in steps
        if len(step.positions) > 1
        and key_of([Layer(graph, p) for p in step.positions]) not in options.schedules
    }
    if not fused:
        return steps, layout
    apart = tuple(_steps(graph, core, options, {}, fused))
    limit = plan(graph, apart, in_place=options.in_place)
    if layout.arena_bytes <= limit.arena_bytes:
        return steps, layout
    large = [a for a, b in fused.items() if layout.live_bytes[b] > limit.arena_bytes]
    fewer = tuple(_steps(graph, core, options, {}, large))
    smaller = plan(graph, fewer, in_place=options.in_place)
    return (fewer, smaller) if smaller.arena_bytes <= limit.arena_bytes else (apart, limit)


#: what was chosen for layers before, by `alike`; None: no specialised kernel
Memo = dict[Hashable, tuple[Schedule, Needs] | None]


def choose_steps(
    graph: Graph, core: Core | None, options: Options, memo: Memo | None = None
) -> tuple[Step, ...]:
    """The steps of `arrange`, without a place for what they compute.

    Parameters
    ----------
    memo : looked into and added to; for graphs that share their constants, one core and options
    """
    return tuple(_steps(graph, core, options, {} if memo is None else memo))


def candidates(layers: Layers, core: Core | None, options: Options) -> list[Schedule]:
    """Every schedule that some kernel has for these layers; kernels of high priority first."""
    from tinykit.engine import specialised  # noqa: F401  (fills the table)

    kinds = [layer.kind for layer in layers]
    serving = [
        kernel
        for kernel in KERNELS.values()
        if len(kernel.kinds) == len(kinds)
        and all(kind in known for kind, known in zip(kinds, kernel.kinds, strict=True))
    ]
    serving.sort(key=lambda kernel: -kernel.priority)
    return [s for kernel in serving for s in kernel.schedules(layers, core, options)]


def chains(graph: Graph, position: int) -> Iterator[tuple[Layer, ...]]:
    """The chains that start at op `position`, the longest first, the op itself last."""
    run = [position]
    while len(run) < LONGEST and (follower := _only_reader(graph, run[-1])) == run[-1] + 1:
        run.append(follower)
    while run:
        yield tuple(Layer(graph, p) for p in run)
        run.pop()


@lru_cache(maxsize=1)
def _readers(graph: Graph) -> Mapping[int, list[int]]:
    """The ops that read each tensor, once for each time that they do."""
    found: dict[int, list[int]] = defaultdict(list)
    for position, op in enumerate(graph.ops):
        for i in op.inputs:
            if i is not None:
                found[i].append(position)
    return found


def _only_reader(graph: Graph, position: int) -> int | None:
    """The one op that reads, once and as its first input, all that op `position` makes."""
    made = graph.ops[position].outputs
    if len(made) != 1 or made[0] in graph.outputs:
        return None
    readers = _readers(graph)[made[0]]
    if len(readers) != 1 or graph.ops[readers[0]].inputs[0] != made[0]:
        return None
    return readers[0]


def _steps(
    graph: Graph, core: Core | None, options: Options, memo: Memo, apart: Collection[int] = ()
) -> Iterator[Step]:
    """The steps; no chain starts at a position in `apart`."""
    position = 0
    while position < len(graph.ops):
        step = None
        if options.specialise:
            fuse = options.fuse and position not in apart
            step = _choose(graph, position, core, options, memo, fuse)
        step = step or Step((position,))
        yield step
        position = step.positions[-1] + 1


def _choose(
    graph: Graph, position: int, core: Core | None, options: Options, memo: Memo, fuse: bool
) -> Step | None:
    for layers in chains(graph, position):
        if len(layers) > 1 and not fuse:
            continue
        if any(t is not None and t.quant is None for x in layers for t in x.outs):
            continue  # only integers are specialised
        key = alike(layers)
        if key not in memo:
            memo[key] = _kernel_for(layers, core, options)
        if (found := memo[key]) is not None:
            return Step(tuple(layer.position for layer in layers), *found)
    return None


def _kernel_for(
    layers: Layers, core: Core | None, options: Options
) -> tuple[Schedule, Needs] | None:
    try:
        chosen = _pick(layers, core, options)
        return None if chosen is None else (chosen, KERNELS[chosen.kernel].needs(layers, chosen))
    except GraphError:
        return None  # collapsed scales and the like: the plain kernel says what is wrong


def _pick(layers: Layers, core: Core | None, options: Options) -> Schedule | None:
    found = candidates(layers, core, options)
    key = key_of(layers) if found else ""
    for table in (options.schedules, _table(core) if options.use_table else {}):
        known = table.get(key)
        if known == NONE:
            return None
        if known in found:
            return known
    if not found or (len(layers) > 1 and KERNELS[found[0].kernel].priority < 0):
        return None  # a fusion of negative priority is one that only a table may ask for
    return found[0]


@lru_cache
def _table(core: Core | None) -> Mapping[str, Schedule]:
    """The schedules that the engine ships with for this core."""
    if core is None:
        return {}
    file = resources.files("tinykit.engine") / "schedules" / f"{core.name}.json"
    return read_table(file.read_text(encoding="utf-8"), str(file)) if file.is_file() else {}


def read_table(text: str, name: str) -> dict[str, Schedule]:
    """A table of schedules by layer key; where it is damaged, a warning and what can be read.

    A schedule only says which of several exact kernels is taken, so code made without a table is
    slower but right.
    """
    try:
        rows = json.loads(text)["schedules"]
        items = list(rows.items())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        log.warning("the table of schedules %s is damaged and left out: %r", name, error)
        return {}
    table = {}
    for key, schedule in items:
        try:
            table[key] = Schedule.parse(schedule)
        except (TinykitError, AttributeError) as error:
            log.warning("the table of schedules %s has a damaged row, left out: %s", name, error)
    return table

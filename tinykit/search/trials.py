"""Counting candidates: each schedule of a layer is built, run on an emulated core, and compared."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tinykit.engine.arrange import Program, Step, arrange
from tinykit.engine.codegen import generate
from tinykit.engine.cores import Core
from tinykit.engine.cycles import NOTHING
from tinykit.engine.elf import Elf
from tinykit.engine.emulator import Emulation, emulate_many
from tinykit.engine.flash import FlashTiming
from tinykit.engine.kernel import KERNELS
from tinykit.engine.options import Options
from tinykit.engine.plan import plan
from tinykit.engine.schedule import NONE, Schedule
from tinykit.graph.errors import MissingToolError, TinykitError
from tinykit.graph.ir import Graph, integer_range
from tinykit.search.sites import Site

log = logging.getLogger(__name__)

#: candidates that go through the compiler together; more make its memory grow, not the search fast
BATCH = 16
#: a constant in generated C: type, name, length and values
_CONSTANT = re.compile(r"static const ([\w ]+) (\w+)((?:\[\d+\])? = \{.*?\n\});", re.DOTALL)


@dataclass(frozen=True)
class Trial:
    """What one schedule costs.

    Attributes
    ----------
    instructions : of one inference of the layer alone, counted on random input
    arena : bytes for the layer's inputs, outputs and scratch memory
    flash : bytes of its code and constants; kernels that it shares with others are left out
    cycles : of the same inference, modelled (`tinykit.engine.cycles`), with waits for flash where a
        board's was given; None on cores whose instruction timings are not published
    error : "" for a schedule that works; else why it does not, or that an output differs
    waits_lacking : whether a board's waits were asked for and could not be modelled: `cycles` are
        without them, and no match for others'
    """

    schedule: Schedule
    instructions: int = 0
    arena: int = 0
    flash: int = 0
    error: str = ""
    cycles: float | None = None
    waits_lacking: bool = False

    @property
    def ok(self) -> bool:
        return not self.error

    def comparable(self, objective: str) -> bool:
        """Whether its cost says how it compares with other schedules'."""
        return self.ok and not (objective == "cycles" and self.waits_lacking)

    def cost(self, objective: str) -> float:
        """What a search by `objective` ("instructions" or "cycles") makes small."""
        value = getattr(self, objective)
        if value is None:
            raise TinykitError(f"schedule {self.schedule} has no modelled cycles")
        return float(value)

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "schedule": str(self.schedule)}

    @classmethod
    def from_dict(cls, row: dict[str, Any]) -> Trial:
        instructions, arena, flash = (int(row[n]) for n in ("instructions", "arena", "flash"))
        cycles = None if row["cycles"] is None else float(row["cycles"])
        schedule = Schedule.parse(row["schedule"])
        lacking = bool(row["waits_lacking"])
        return cls(schedule, instructions, arena, flash, str(row["error"]), cycles, lacking)


def count(
    site: Site,
    schedules: Sequence[Schedule],
    core: Core,
    toolchain: str,
    options: Options,
    flash: FlashTiming | None = None,
) -> list[Trial]:
    """Build and run each schedule of a site; the reference interpreter says what is right.

    A schedule whose output differs in any bit, that does not build or that runs out of its memory
    comes back with an error, which is logged as well; none is ever chosen.
    """
    inputs = samples(site.graph)
    expected = [site.graph.run(*sample) for sample in inputs]
    found: list[Trial] = []
    for start in range(0, len(schedules), BATCH):
        batch = list(schedules[start : start + BATCH])
        found += _count(site, batch, core, toolchain, options, inputs, expected, flash)
    for trial in found:
        if not trial.ok:
            log.error("schedule %s of %s is rejected: %s", trial.schedule, site.key, trial.error)
    return found


def program(site: Site, schedule: Schedule, core: Core, options: Options) -> Program:
    """The site computed by `schedule`; by plain kernels for `NONE`."""
    if schedule == NONE:
        return arrange(site.graph, core, Options(specialise=False, in_place=options.in_place))
    needs = KERNELS[schedule.kernel].needs(site.layers, schedule)
    steps = (Step(tuple(range(len(site.graph.ops))), schedule, needs),)
    memory = plan(site.graph, steps, in_place=options.in_place)
    return Program(site.graph, core, options, steps, memory)


def samples(graph: Graph, seed: int = 0) -> list[list[np.ndarray]]:
    """Stored inputs: random (instructions are counted on these), both ends mixed, the lowest."""
    rng = np.random.default_rng(seed)
    made: list[list[np.ndarray]] = [[], [], []]
    for index in graph.inputs:
        tensor = graph.tensors[index]
        low, high = (-6, 6) if tensor.dtype == "float32" else integer_range(tensor.dtype)
        spread = rng.integers(low, high + 1, tensor.shape)
        ends = rng.choice([low, high], size=tensor.shape)
        for sample, values in zip(made, (spread, ends, np.full(tensor.shape, low)), strict=True):
            sample.append(values.astype(tensor.numpy_dtype))
    return made


def _count(
    site: Site,
    schedules: list[Schedule],
    core: Core,
    toolchain: str,
    options: Options,
    inputs: list[list[np.ndarray]],
    expected: list[list[np.ndarray]],
    board_flash: FlashTiming | None,
) -> list[Trial]:
    """All in one image; where that fails, in halves, down to the schedule that is to blame."""
    try:
        programs = [program(site, schedule, core, options) for schedule in schedules]
        runs = emulate_many(
            programs, [inputs] * len(programs), core.name, toolchain, timing=True,
            board_flash=board_flash,
        )  # fmt: skip
    except MissingToolError:
        raise
    except TinykitError as error:
        if len(schedules) == 1:
            return [Trial(schedules[0], error=" ".join(str(error).split())[:400])]
        half = len(schedules) // 2
        return [
            trial
            for part in (schedules[:half], schedules[half:])
            for trial in _count(site, part, core, toolchain, options, inputs, expected, board_flash)
        ]
    sizes = _flash_by_prefix(Elf(runs[0].elf), programs)
    return [
        _judge(schedule, run, size, expected, board_flash is not None)
        for schedule, run, size in zip(schedules, runs, sizes, strict=True)
    ]


def _judge(
    schedule: Schedule,
    run: Emulation,
    flash: int,
    expected: list[list[np.ndarray]],
    waiting: bool,
) -> Trial:
    wrong = sum(
        int(np.count_nonzero(a != b))
        for want, have in zip(expected, run.outputs, strict=True)
        for a, b in zip(want, have, strict=True)
    )
    error = f"{wrong} outputs differ from the reference interpreter's" if wrong else ""
    cycles, lacking = None, False
    if run.cycles is not None:
        cycles = sum([*run.cycles, *(run.waits or [])], NOTHING).middle
        lacking = waiting and run.waits is None
    return Trial(schedule, int(run.instructions or 0), run.ram.arena, flash, error, cycles, lacking)


def _flash_by_prefix(elf: Elf, programs: Sequence[Program]) -> list[int]:
    """Bytes of the functions and constants of each program of an image.

    Clang keeps one of equal constants: the others' programs would seem to do without.
    """
    prefixes = [f"model{n}" for n in range(len(programs))] if len(programs) > 1 else ["model"]
    total = dict.fromkeys(prefixes, 0)
    values: dict[str, str] = {}
    for part, prefix in zip(programs, prefixes, strict=True):
        for text in generate(part, prefix, part.core).files.values():
            values.update((name, kind + value) for kind, name, value in _CONSTANT.findall(text))
    kept = {values[name]: size for name, (_, size) in elf.objects.items() if name in values}
    for name, value in values.items():
        if name not in elf.objects:
            total[name.partition("_")[0]] += kept.get(value, 0)
    for name, (_, size) in (*elf.functions.items(), *elf.objects.items()):
        prefix = name.partition("_")[0]
        if prefix in total:
            total[prefix] += size
    return list(total.values())

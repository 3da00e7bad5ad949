"""Running generated C on an emulated Cortex-M, with exact instruction counts and memory use."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tinykit.engine.arrange import Program
from tinykit.engine.build import compile_target
from tinykit.engine.codegen import Sources, generate
from tinykit.engine.cores import find_core
from tinykit.engine.cycles import CORES as TIMED
from tinykit.engine.cycles import NOTHING, Cycles, cycles
from tinykit.engine.elf import Elf
from tinykit.engine.errors import EmulationError
from tinykit.engine.io import read_outputs, write_inputs
from tinykit.engine.options import Options
from tinykit.engine.overrun import STACK_BYTES
from tinykit.graph.errors import MissingToolError, TinykitError
from tinykit.graph.ir import Graph

if TYPE_CHECKING:
    from tinykit.engine.flash import FlashTiming
    from tinykit.engine.trace import Trace
    from tinykit.engine.unicorn_core import UnicornCore

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Flash:
    """Bytes of the linked image, from its sections: machine code, constants, initial data."""

    code: int
    constants: int
    data: int

    @property
    def total(self) -> int:
        return self.code + self.constants + self.data


@dataclass(frozen=True)
class Ram:
    """Bytes of working memory: the arena, the deepest stack seen, and static variables."""

    arena: int
    stack: int
    static: int

    @property
    def total(self) -> int:
        return self.arena + self.stack + self.static


@dataclass(frozen=True)
class Emulation:
    """What came out of an emulated run.

    Attributes
    ----------
    outputs : for each sample, the list of stored output arrays
    instructions : of the first sample's inference, from the call of the entry function to its
        return; None under a QEMU that has no plugins (it counts on Linux, up to QEMU 8.1)
    per_op : the same by op, callees included; sums to `instructions`. Ops that are computed
        together are counted at the last of them.
    counts : instructions of every sample's inference (clamping may make them differ slightly)
    flash, ram : `Flash` and `Ram`; the image holds the model and what it calls, no start-up code
    elf : the linked image
    cycles : of the first sample's inference by op, modelled (see `tinykit.engine.cycles`); None
        where they were not asked for or the core's timings are not known
    trace : of the first sample's inference, a row a function of the program, where it was asked
        for; None under QEMU
    waits : further cycles by op for a board's flash, modelled (see `tinykit.engine.flash`); None
        where no board's flash was given
    """

    outputs: list[list[np.ndarray]]
    instructions: int | None
    per_op: list[int] | None
    counts: list[int] | None
    flash: Flash
    ram: Ram
    elf: Path
    cycles: list[Cycles] | None = None
    trace: Trace | None = None
    waits: list[Cycles] | None = None


def emulate(
    graph: Graph | Program,
    inputs: Sequence[Any],
    core: str = "cortex-m4",
    toolchain: str | None = "zig",
    emulator: str | None = None,
    options: Options | None = None,
    timing: bool = False,
    stack_bytes: int = STACK_BYTES,
    tracing: bool = False,
    board_flash: FlashTiming | None = None,
) -> Emulation:
    """Compile `graph` for a core, run it there on each sample, and measure.

    Parameters
    ----------
    inputs : samples; each a list of stored arrays, one a graph input (or the array itself, for
        graphs with one input)
    core : "cortex-m0plus", "cortex-m3", "cortex-m4", "cortex-m7", "cortex-m33" or "cortex-m55"
    toolchain : "zig" (the default, also for None) or "gcc"
    emulator : "unicorn", or "qemu", which must give the same outputs; by default unicorn, but for
        cortex-m55 qemu, as Unicorn runs no Helium
    options : the engine's techniques to use; all by default. A `Program` in place of a graph says
        its own.
    timing : whether to model cycles too
    stack_bytes : what an inference may use of stack; more is an error
    tracing : whether to record how often each instruction ran
    board_flash : with `timing`, the flash whose waits are modelled as well

    Raises
    ------
    UnsupportedOpError, MissingToolError, BuildError
    EmulationError
        The program wrote beyond its arena or stack, or over constants, or did not come to an end;
        names the function.
    """
    return emulate_many(
        [graph],
        [inputs],
        core,
        toolchain,
        emulator,
        options,
        timing,
        stack_bytes,
        tracing,
        board_flash,
    )[0]


def emulate_many(
    graphs: Sequence[Graph | Program],
    inputs: Sequence[Sequence[Any]],
    core: str = "cortex-m4",
    toolchain: str | None = "zig",
    emulator: str | None = None,
    options: Options | None = None,
    timing: bool = False,
    stack_bytes: int = STACK_BYTES,
    tracing: bool = False,
    board_flash: FlashTiming | None = None,
) -> list[Emulation]:
    """`emulate` for many graphs with a single run of the compiler; flash is that of the whole."""
    target = find_core(core)
    sources = [
        generate(graph, "model" if len(graphs) == 1 else f"model{n}", target, options)
        for n, graph in enumerate(graphs)
    ]
    files = {name: text for source in sources for name, text in source.files.items()}
    path = compile_target(files, target, sources[0].entry, toolchain or "zig")
    elf = Elf(path)
    flash = Flash(
        elf.bytes_of(execute=True, write=False),
        elf.bytes_of(execute=False, write=False),
        elf.bytes_of(execute=False, write=True),
    )
    emulator = emulator or target.emulator
    if emulator == "qemu":
        from tinykit.engine.qemu import run_qemu

        runs = run_qemu(
            sources, files, [_samples(s) for s in inputs], target, toolchain or "zig", stack_bytes
        )
        return [
            Emulation(
                run.outputs, run.counts[0] if run.counts else None, run.per_op, run.counts, flash,
                Ram(source.plan.arena_bytes, run.stack, elf.static_bytes), path,
            )
            for source, run in zip(sources, runs, strict=True)
        ]  # fmt: skip
    if emulator != "unicorn":
        raise TinykitError(f"unknown emulator {emulator!r}; known are unicorn, qemu")
    if target.unicorn is None:
        raise TinykitError(f"Unicorn has no {target.name} (no Helium); take the emulator qemu")
    return [
        _on_unicorn(
            source,
            _samples(samples),
            elf,
            target,
            flash,
            path,
            timing,
            stack_bytes,
            tracing,
            board_flash,
        )
        for source, samples in zip(sources, inputs, strict=True)
    ]


def _samples(samples: Sequence[Any]) -> list[list[np.ndarray]]:
    return [[s] if isinstance(s, np.ndarray) else list(s) for s in samples]


def _on_unicorn(
    source: Sources,
    samples: list[list[np.ndarray]],
    elf: Elf,
    target: Any,
    flash: Flash,
    path: Path,
    timing: bool,
    stack_bytes: int,
    tracing: bool,
    board_flash: FlashTiming | None,
) -> Emulation:
    try:
        from tinykit.engine.unicorn_core import UnicornCore
    except ImportError as error:
        raise MissingToolError(
            f"the emulator unicorn is missing or does not load ({error}): "
            "pip install --force-reinstall unicorn"
        ) from None
    from tinykit.engine.flash_trace import FlashRecorder
    from tinykit.engine.flash_trace import available as flash_available
    from tinykit.engine.trace import Recorder

    graph = source.program.graph
    own, marks = source.marks
    machine = UnicornCore(
        elf, target, source.entry, marks, source.plan.arena_bytes, stack_bytes=stack_bytes
    )
    outputs, counts, stack = [], [], 0
    per_op: list[int] = []
    timing = timing and target.name in TIMED
    recorder = Recorder(machine, len(marks)) if timing or tracing else None
    modelled: list[Cycles] | None = None
    trace: Trace | None = None
    for sample in samples:
        machine.paint()
        write_inputs(graph, source.plan, sample, machine.write)
        counts.append(machine.run())
        if recorder is not None:
            trace, recorder = recorder.finish(), None
            if timing:
                by_step = dict(zip(own, cycles(trace), strict=False))
                modelled = [by_step.get(position, NOTHING) for position in range(len(graph.ops))]
        outputs.append(read_outputs(graph, source.plan, machine.read))
        stack = max(stack, machine.stack_bytes)
        if not per_op:
            per_op = [0] * len(graph.ops)
            for position, count in zip(own, machine.per_op, strict=False):
                per_op[position] = int(count)
    waits = None
    if timing and board_flash is not None and samples and flash_available():
        # on a machine of its own: Unicorn cuts blocks otherwise where loads are watched
        machine = UnicornCore(
            elf, target, source.entry, marks, source.plan.arena_bytes, stack_bytes=stack_bytes
        )
        machine.paint()
        write_inputs(graph, source.plan, samples[0], machine.write)
        reads = FlashRecorder(machine, len(marks), board_flash)
        if _runs_alike(machine, counts[0]):
            missed = dict(zip(own, reads.finish().tolist(), strict=False))
            waits = [board_flash.waits(*missed.get(n, (0, 0, 0))) for n in range(len(graph.ops))]
    ram = Ram(source.plan.arena_bytes, stack, elf.static_bytes)
    first = counts[0] if counts else None
    kept = trace if tracing else None
    return Emulation(outputs, first, per_op, counts, flash, ram, path, modelled, kept, waits)


def _runs_alike(machine: UnicornCore, instructions: int) -> bool:
    """Whether a run with loads watched takes its usual way.

    Unicorn 2.1 loses the state of an IT block that holds a watched load: what follows is executed
    against its condition. Such a run says nothing about flash.
    """
    try:
        if machine.run() == instructions:
            return True
    except EmulationError as error:
        log.info("a run with loads watched went astray: %s", error)
    log.info("waits for flash are not modelled: the emulator cannot watch this code's loads")
    return False

"""Running generated C on an emulated Cortex-M, with exact instruction counts and memory use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinykit.engine.arrange import Program
from tinykit.engine.build import compile_target
from tinykit.engine.codegen import Sources, generate
from tinykit.engine.cores import find_core
from tinykit.engine.elf import Elf
from tinykit.engine.io import read_outputs, write_inputs
from tinykit.engine.options import Options
from tinykit.graph.errors import MissingToolError, TinykitError
from tinykit.graph.ir import Graph


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
        return; None under QEMU, which does not count
    per_op : the same by op, callees included; sums to `instructions`. Ops that are computed
        together are counted at the last of them.
    counts : instructions of every sample's inference (clamping may make them differ slightly)
    flash, ram : `Flash` and `Ram`; the image holds the model and what it calls, no start-up code
    elf : the linked image
    """

    outputs: list[list[np.ndarray]]
    instructions: int | None
    per_op: list[int] | None
    counts: list[int] | None
    flash: Flash
    ram: Ram
    elf: Path


def emulate(
    graph: Graph | Program,
    inputs: Sequence[Any],
    core: str = "cortex-m4",
    toolchain: str | None = "zig",
    emulator: str = "unicorn",
    options: Options | None = None,
) -> Emulation:
    """Compile `graph` for a core, run it there on each sample, and measure.

    Parameters
    ----------
    inputs : samples; each a list of stored arrays, one a graph input (or the array itself, for
        graphs with one input)
    core : "cortex-m0plus", "cortex-m3", "cortex-m4", "cortex-m7" or "cortex-m33"
    toolchain : "zig" (the default, also for None) or "gcc"
    emulator : "unicorn", or "qemu", which must give the same outputs but counts nothing
    options : the engine's techniques to use; all by default. A `Program` in place of a graph says
        its own.

    Raises
    ------
    UnsupportedOpError, MissingToolError, BuildError, EmulationError
    """
    return emulate_many([graph], [inputs], core, toolchain, emulator, options)[0]


def emulate_many(
    graphs: Sequence[Graph | Program],
    inputs: Sequence[Sequence[Any]],
    core: str = "cortex-m4",
    toolchain: str | None = "zig",
    emulator: str = "unicorn",
    options: Options | None = None,
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
    if emulator == "qemu":
        from tinykit.engine.qemu import run_qemu

        results = []
        for source, samples in zip(sources, inputs, strict=True):
            graph = source.program.graph
            outputs, stack = run_qemu(
                graph, source, files, _samples(samples), target, toolchain or "zig"
            )
            ram = Ram(source.plan.arena_bytes, stack, elf.static_bytes)
            results.append(Emulation(outputs, None, None, None, flash, ram, path))
        return results
    if emulator != "unicorn":
        raise TinykitError(f"unknown emulator {emulator!r}; known are unicorn, qemu")
    return [
        _on_unicorn(source, _samples(samples), elf, target, flash, path)
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
) -> Emulation:
    try:
        from tinykit.engine.unicorn_core import UnicornCore
    except ImportError as error:
        raise MissingToolError(
            f"the emulator unicorn is missing or does not load ({error}): "
            "pip install --force-reinstall unicorn"
        ) from None
    graph = source.program.graph
    own, marks = source.marks
    machine = UnicornCore(elf, target, source.entry, marks, source.plan.arena_bytes)
    outputs, counts, stack = [], [], 0
    per_op: list[int] = []
    for sample in samples:
        machine.paint()
        write_inputs(graph, source.plan, sample, machine.write)
        counts.append(machine.run())
        outputs.append(read_outputs(graph, source.plan, machine.read))
        stack = max(stack, machine.stack_bytes)
        if not per_op:
            per_op = [0] * len(graph.ops)
            for position, count in zip(own, machine.per_op, strict=False):
                per_op[position] = int(count)
    ram = Ram(source.plan.arena_bytes, stack, elf.static_bytes)
    first = counts[0] if counts else None
    return Emulation(outputs, first, per_op, counts, flash, ram, path)

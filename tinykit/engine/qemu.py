"""The same generated C on QEMU's boards: a second emulator, and the one that has Helium.

A small plugin counts instructions where QEMU and a compiler for this machine allow it.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from tinykit.engine import overrun
from tinykit.engine.build import c_source, compile_host, compile_target
from tinykit.engine.codegen import Sources
from tinykit.engine.cores import CORES, Core
from tinykit.engine.elf import Elf
from tinykit.engine.errors import BuildError, EmulationError, TooBigError
from tinykit.engine.io import read_outputs, write_inputs
from tinykit.graph.errors import MissingToolError, TinykitError

log = logging.getLogger(__name__)

#: RAM of the board, of which the harness and the stack take a part
MEMORY = 4 << 20
RESERVED = 1 << 18
STACK_MOST = 128 * 1024
TIMEOUT = 600
BEGIN, END = 0xFFFFFFFE, 0xFFFFFFFF  # as in c/qemu_plugin.c
_RECORD = struct.Struct("<6I")  # struct tk_record of c/qemu_main.c


@dataclass(frozen=True)
class QemuRun:
    """One model's samples under QEMU.

    Attributes
    ----------
    outputs : for each sample, the stored output arrays
    counts : instructions of each sample's inference; None where nothing counts
    per_op : those of the first sample by op; None where nothing counts
    stack : bytes of stack that inference used
    """

    outputs: list[list[np.ndarray]]
    counts: list[int] | None
    per_op: list[int] | None
    stack: int


def find_qemu() -> str:
    """The path of qemu-system-arm.

    Raises
    ------
    MissingToolError
    """
    if path := shutil.which("qemu-system-arm"):
        return path
    raise MissingToolError(
        "qemu-system-arm is missing: apt install qemu-system-arm (macOS: brew install qemu); cores "
        "without Helium run on the emulator unicorn too"
    )


def run_qemu(
    sources: Sequence[Sources],
    files: Mapping[str, str],
    samples: Sequence[Sequence[Sequence[np.ndarray]]],
    core: Core,
    toolchain: str,
    stack_bytes: int = overrun.STACK_BYTES,
) -> list[QemuRun]:
    """Run each model on its samples, all in one image.

    Parameters
    ----------
    stack_bytes : what an inference may use; more is an error

    Raises
    ------
    MissingToolError
        No QEMU.
    TinykitError
        QEMU has no board with this core.
    TooBigError
        The model does not fit the board.
    EmulationError
        The program wrote where it may not, or did not come to its end.
    """
    find_qemu()
    if core.qemu is None:
        known = ", ".join(c.name for c in CORES.values() if c.qemu)
        raise TinykitError(f"QEMU is used for {known}; for {core.name} take unicorn")
    if not 0 < stack_bytes <= STACK_MOST:
        raise TinykitError(f"a stack of {stack_bytes:,} bytes; at most {STACK_MOST:,} are watched")
    flash = MEMORY // 2 if core.flash else MEMORY
    for source in sources:
        graph = source.program.graph
        if source.plan.arena_bytes > MEMORY - RESERVED or graph.weight_bytes > flash - RESERVED:
            raise TooBigError(f"the model does not fit QEMU's board of {MEMORY >> 20} MB")
    machine = _Machine(sources, files, samples, core, toolchain, stack_bytes)
    try:
        return machine.run()
    except _Overrun as found:
        raise machine.locate(found) from None


class _Overrun(EmulationError):
    """What a record said, of which sample; still without the op's name."""

    def __init__(self, what: str, advice: str, function: str | None, model: int, sample: int):
        super().__init__(overrun.sentence(what, function, advice))
        self.what, self.advice, self.function = what, advice, function
        self.model, self.sample, self.step = model, sample, 0


@dataclass
class _Machine:
    sources: Sequence[Sources]
    files: Mapping[str, str]
    samples: Sequence[Sequence[Sequence[np.ndarray]]]
    core: Core
    toolchain: str
    stack_bytes: int
    stepwise: bool = False  # one op at a time, overruns looked for after each

    def run(self) -> list[QemuRun]:
        harness = {
            "qemu_main.c": c_source("qemu_main.c"),
            "harness.h": _harness(self),
        }
        image = compile_target({**self.files, **harness}, self.core, "tk_reset", self.toolchain)
        elf = Elf(image)
        sent: list[bytes] = []
        for source, samples in zip(self.sources, self.samples, strict=True):
            for sample in samples:
                write_inputs(
                    source.program.graph, source.plan, sample, lambda _, raw: sent.append(raw)
                )
        marks = b"" if self.stepwise else _marks(self.sources, elf)
        raw, counted, said = _start(str(self.core.qemu), image, b"".join(sent), marks)
        return self._read(_Reader(raw, said), _Reader(counted, said) if counted else None, elf)

    def _read(self, raw: _Reader, counted: _Reader | None, elf: Elf) -> list[QemuRun]:
        results, first = [], 0
        for number, (source, samples) in enumerate(zip(self.sources, self.samples, strict=True)):
            outputs, counts, stack = [], [], 0
            per_op: list[int] | None = None
            own, _ = source.marks
            for n in range(len(samples)):
                used = self._check(raw.take(_RECORD.size), elf, number, n)
                stack = max(stack, used)
                outputs.append(read_outputs(source.program.graph, source.plan, raw.take_at))
                if counted:
                    rows = counted.counts(first, len(own))
                    counts.append(sum(rows))
                    if per_op is None:
                        per_op = [0] * len(source.program.graph.ops)
                        for position, count in zip(own, rows, strict=True):
                            per_op[position] = count
            first += len(own)
            results.append(QemuRun(outputs, counts if counted else None, per_op, stack))
        return results

    def _check(self, record: bytes, elf: Elf, model: int, sample: int) -> int:
        """Bytes of stack used, unless the record tells of something worse."""
        stack, below, step, fault, program, address = _RECORD.unpack(record)
        plan = self.sources[model].plan
        what = advice = ""
        if fault:
            top = self.core.ram + MEMORY
            what, advice = overrun.fault(
                fault, address, top - plan.arena_bytes, plan.arena_bytes,
                self.core.ram + RESERVED, self.stack_bytes,
            )  # fmt: skip
        elif below:
            what, advice = overrun.below(below, plan.arena_bytes)
        elif stack > self.stack_bytes:
            what, advice = overrun.deep(stack, self.stack_bytes)
        if what:
            function = elf.function_at(program & ~1) if program else None
            found = _Overrun(what, advice, function, model, sample)
            found.step = step
            raise found
        return int(stack)

    def locate(self, found: _Overrun) -> EmulationError:
        """The same error, with the name of the op's function where that was not known."""
        source = self.sources[found.model]
        if (
            found.function
            and "_invoke" not in found.function
            and not found.function.startswith("tk_")
        ):
            return EmulationError(str(found))
        again = replace(
            self, sources=[source], samples=[[self.samples[found.model][found.sample]]],
            stepwise=True,
        )  # fmt: skip
        try:
            again.run()
        except _Overrun as repeated:
            function = repeated.function or source.marks[1][repeated.step]
            return EmulationError(overrun.sentence(repeated.what, function, repeated.advice))
        except EmulationError:
            pass
        return EmulationError(str(found))


def _start(machine: str, image: Path, sent: bytes, marks: bytes) -> tuple[bytes, bytes, str]:
    """What the program wrote, what the plugin wrote, and what QEMU said."""
    with tempfile.TemporaryDirectory(prefix="tinykit-") as folder:
        (Path(folder) / "in.bin").write_bytes(sent)
        (Path(folder) / "marks.bin").write_bytes(marks)
        command = [
            find_qemu(), "-M", machine, "-kernel", str(image), "-nographic", "-monitor", "none",
            "-serial", "none", "-semihosting-config", "enable=on,target=native",
        ]  # fmt: skip
        if marks and (plugin := _plugin()):
            command += ["-plugin", f"{plugin},marks=marks.bin,out=counts.bin"]
        try:
            done = subprocess.run(
                command, cwd=folder, capture_output=True, timeout=TIMEOUT, check=False,
                stdin=subprocess.DEVNULL, env={**os.environ, "QEMU_AUDIO_DRV": "none"},
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise EmulationError(f"QEMU did not finish within {TIMEOUT} s") from None
        made = [Path(folder) / name for name in ("out.bin", "counts.bin")]
        raw, counted = (path.read_bytes() if path.exists() else b"" for path in made)
        return raw, counted, done.stderr.decode(errors="replace")


def _plugin() -> Path | None:
    """The plugin that counts, or None where it cannot be built or QEMU speaks another version.

    Looked up anew for each run: the folder of builds may have been tidied since.
    """
    if not _counts():
        return None
    try:
        return compile_host({"qemu_plugin.c": c_source("qemu_plugin.c")})
    except (MissingToolError, BuildError) as error:
        log.info("instructions are not counted under QEMU: %s", error)
        return None


@lru_cache(maxsize=1)
def _counts() -> bool:
    """Whether this QEMU speaks the version that the plugin is written for."""
    said = subprocess.run(
        [find_qemu(), "--version"], capture_output=True, text=True, timeout=60, check=False
    ).stdout
    found = re.search(r"version (\d+)\.(\d+)", said)
    version = (int(found[1]), int(found[2])) if found else (0, 0)
    if sys.platform != "linux" or not (5, 0) <= version <= (8, 1):
        log.info("instructions are not counted under QEMU %s", version)
        return False
    return True


def _marks(sources: Sequence[Sources], elf: Elf) -> bytes:
    """Addresses at which the plugin starts, stops, and goes to the next op."""
    rows = [(elf.functions["tk_returned"][0], END)]
    index = 0
    for source in sources:
        rows.append((elf.functions[source.entry][0], BEGIN))
        for symbol in source.marks[1]:
            if symbol in elf.functions:  # a function of no effect may have been dropped
                rows.append((elf.functions[symbol][0], index))
            index += 1
    return b"".join(struct.pack("<II", *row) for row in rows)


class _Reader:
    def __init__(self, raw: bytes, said: str) -> None:
        self.raw, self.at, self.said = raw, 0, said

    def take(self, count: int) -> bytes:
        if self.at + count > len(self.raw):
            raise EmulationError(f"QEMU stopped before the end: {self.said[-500:].strip()}")
        self.at += count
        return self.raw[self.at - count : self.at]

    def take_at(self, _: int, count: int) -> bytes:
        return self.take(count)

    def counts(self, first: int, ops: int) -> list[int]:
        """What the plugin wrote of one inference, for the ops numbered from `first`."""
        lowest, highest = struct.unpack("<2Q", self.take(16))
        rows = [0] * ops
        if lowest <= highest:
            width = highest - lowest + 1
            rows[lowest - first : highest + 1 - first] = struct.unpack(
                f"<{width}Q", self.take(8 * width)
            )
        return rows


def _harness(machine: _Machine) -> str:
    """harness.h: the models' tables for c/qemu_main.c."""

    def pairs(name: str, source: Sources, indices: Sequence[int]) -> str:
        tensors = source.program.graph.tensors
        rows = [
            f"{{{source.plan.offsets[i]}, {tensors[i].nbytes}}}, "
            for i in indices
            if not tensors[i].is_const
        ]
        return f"static const uint32_t {name}[][2] = {{{''.join(rows)}{{0, 0}}}}; "

    includes, tables, models = [], [], []
    for n, (source, samples) in enumerate(zip(machine.sources, machine.samples, strict=True)):
        graph, entry = source.program.graph, source.entry
        includes.append(f'#include "{entry.removesuffix("_invoke")}.h"\n')
        steps = source.marks[1] if machine.stepwise else [entry]
        tables.append(
            f"static void (*const tk_steps{n}[])(uint8_t *) = {{{', '.join([*steps, '0'])}}}; "
            + pairs(f"tk_inputs{n}", source, graph.inputs)
            + pairs(f"tk_outputs{n}", source, graph.outputs)
        )
        models.append(
            f"{{tk_steps{n}, tk_inputs{n}, tk_outputs{n}, {source.plan.arena_bytes}u, "
            f"{len(samples)}u}}, "
        )
    return (
        "".join(includes) + f"#define TK_TABLES {''.join(tables)}\n"
        f"#define TK_MODELS {''.join(models)}\n"
        f"#define TK_RAM {machine.core.ram:#x}u\n#define TK_FLASH {machine.core.flash:#x}u\n"
        f"#define TK_V8M {int(machine.core.v8m)}\n#define TK_STACK_BYTES {machine.stack_bytes}u\n"
    )

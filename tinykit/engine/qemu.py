"""The same generated C on QEMU's boards: a second emulator, to check the first. Counts nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tinykit.engine.build import c_source, compile_target
from tinykit.engine.codegen import Sources
from tinykit.engine.cores import CORES, Core
from tinykit.engine.errors import EmulationError, TooBigError
from tinykit.engine.io import read_outputs, write_inputs
from tinykit.graph.errors import MissingToolError, TinykitError
from tinykit.graph.ir import Graph

#: bytes of stack that are watched
PAINTED = 32 * 1024
#: RAM at 0x20000000 and flash at 0 of the MPS2 boards
MEMORY = 4 << 20
TIMEOUT = 600


def find_qemu() -> str:
    """The path of qemu-system-arm.

    Raises
    ------
    MissingToolError
    """
    if path := shutil.which("qemu-system-arm"):
        return path
    raise MissingToolError(
        "qemu-system-arm is missing: apt install qemu-system-arm (macOS: brew install qemu), or "
        "use the default emulator unicorn"
    )


def run_qemu(
    graph: Graph,
    source: Sources,
    files: Mapping[str, str],
    samples: Sequence[Sequence[np.ndarray]],
    core: Core,
    toolchain: str,
) -> tuple[list[list[np.ndarray]], int]:
    """Outputs of each sample, and bytes of stack that inference used.

    Raises
    ------
    MissingToolError
        No QEMU.
    TinykitError
        QEMU has no board with this core.
    TooBigError
        The model does not fit the board.
    EmulationError
        The program did not come to its end.
    """
    qemu = find_qemu()
    if core.qemu is None:
        known = ", ".join(c.name for c in CORES.values() if c.qemu)
        raise TinykitError(f"QEMU is used for {known}; for {core.name} take unicorn")
    if source.plan.arena_bytes > MEMORY - (1 << 18) or graph.weight_bytes > MEMORY - (1 << 18):
        raise TooBigError(f"the model does not fit QEMU's board of {MEMORY >> 20} MB")
    sent: list[bytes] = []
    for sample in samples:
        write_inputs(graph, source.plan, sample, lambda _, raw: sent.append(raw))
    harness = {
        "qemu_main.c": c_source("qemu_main.c"),
        "harness.h": _harness(graph, source, len(samples)),
    }
    elf = compile_target({**files, **harness}, core, "tk_reset", toolchain)
    with tempfile.TemporaryDirectory(prefix="tinykit-") as folder:
        (Path(folder) / "in.bin").write_bytes(b"".join(sent))
        command = [
            qemu, "-M", core.qemu, "-kernel", str(elf), "-nographic", "-monitor", "none",
            "-serial", "none", "-semihosting-config", "enable=on,target=native",
        ]  # fmt: skip
        try:
            done = subprocess.run(
                command, cwd=folder, capture_output=True, timeout=TIMEOUT, check=False,
                stdin=subprocess.DEVNULL, env={**os.environ, "QEMU_AUDIO_DRV": "none"},
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise EmulationError(f"QEMU did not finish within {TIMEOUT} s") from None
        result = Path(folder) / "out.bin"
        raw = result.read_bytes() if result.exists() else b""
    reader = _Reader(raw, done.stderr.decode(errors="replace"))
    outputs, stack = [], 0
    for _ in samples:
        stack = max(stack, int.from_bytes(reader.take(4), "little"))
        outputs.append(read_outputs(graph, source.plan, lambda _, count: reader.take(count)))
    return outputs, stack


class _Reader:
    def __init__(self, raw: bytes, said: str) -> None:
        self.raw, self.at, self.said = raw, 0, said

    def take(self, count: int) -> bytes:
        if self.at + count > len(self.raw):
            raise EmulationError(f"QEMU stopped before the end: {self.said[-500:].strip()}")
        self.at += count
        return self.raw[self.at - count : self.at]


def _harness(graph: Graph, source: Sources, samples: int) -> str:
    def pairs(indices: Sequence[int]) -> str:
        rows = [
            f"{{{source.plan.offsets[i]}, {graph.tensors[i].nbytes}}}, "
            for i in indices
            if not graph.tensors[i].is_const
        ]
        return "".join(rows) + "{0, 0}"  # C has no arrays of length 0

    return (
        f'#include "{source.entry.removesuffix("_invoke")}.h"\n'
        f"#define TK_INVOKE {source.entry}\n#define TK_ARENA_BYTES {source.plan.arena_bytes}\n"
        f"#define TK_SAMPLES {samples}u\n#define TK_PAINTED {PAINTED}\n"
        f"#define TK_STACK_TOP {0x20000000 + MEMORY:#x}\n"  # the end of RAM
        f"#define TK_INPUTS {pairs(graph.inputs)}\n#define TK_OUTPUTS {pairs(graph.outputs)}\n"
    )

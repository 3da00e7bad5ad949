"""The engine against TFLite Micro with CMSIS-NN: instructions, cycles, arena, on a Cortex-M4.

``python -m tests.benchmarks.engine`` prints where each network's instructions are, layer by layer.

The line to beat was counted with gcc 12.2 (kernels -O2, core -Os) on an emulated Cortex-M4; it is
kept here because that code does not ship. Its cycles are not known: stacks of its class took 1.5 to
1.77 cycles an instruction on a NUCLEO-L4R5ZI in MLPerf Tiny results, of which the low end is
taken; ours are modelled for that very board, waits for its flash included.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass

import numpy as np

from tests.benchmarks import Figure, at_most, plain
from tests.benchmarks._models import absent, find_models, load
from tinykit.engine import Emulation, arrange, emulate
from tinykit.engine.cycles import NOTHING, Cycles
from tinykit.formats import tflite
from tinykit.graph import Graph
from tinykit.targets import load as board
from tinykit.targets import tflm
from tinykit.targets.render import table

CORE, BOARD = "cortex-m4", "stm32l4r5"
#: cycles an instruction that the line is given
LINE_CPI = 1.5
#: zig's instructions for each of gcc's, on the same C
COMPILERS = 1.15
SAMPLES = 4


@dataclass(frozen=True)
class Line:
    """TFLite Micro with CMSIS-NN on one network, and what of it is promised.

    Attributes
    ----------
    instructions, arena : its own
    most, most_arena : limits; no limit where None
    milliseconds : the best of MLPerf Tiny's results on NUCLEO-L4R5ZI that are known here
        (Plumerai), measured, with kernels of its own
    per_op : instructions by kind of layer, where they are known
    """

    instructions: int
    arena: int
    most: int
    most_arena: int | None
    milliseconds: float
    per_op: dict[str, int] | None = None


LINES = {
    "kws": Line(
        7_698_000, 22_820, 3_849_000, 11_410, 71.7,
        {"first conv_2d": 1_118_000, "depthwise_conv_2d": 561_000, "conv_2d": 1_069_000},
    ),
    "image classification": Line(29_860_000, 54_996, 14_930_000, 35_747, 173.2),
    "wake-words shape": Line(24_100_000, 100_708, 12_000_000, 50_354, 208.6),
    "anomaly shape": Line(583_000, 2_580, 290_000, None, 5.6),
}  # fmt: skip


@dataclass(frozen=True)
class Run:
    """One network on the emulated core."""

    graph: Graph
    emulation: Emulation
    wrong: int  # bytes of output that differ from TFLite Micro's

    @property
    def instructions(self) -> int:
        return self.emulation.instructions or 0

    @property
    def cycles(self) -> Cycles:
        """Modelled, waits for flash included."""
        return sum([*(self.emulation.cycles or []), *(self.emulation.waits or [])], NOTHING)


def toolchains() -> list[str]:
    """gcc first, where it is there."""
    return ["gcc", "zig"] if shutil.which("arm-none-eabi-gcc") else ["zig"]


def measure(graph: Graph, toolchain: str) -> Run:
    rng = np.random.default_rng(0)
    samples = [
        rng.integers(-128, 128, graph.input.shape).astype(np.int8) for _ in range(SAMPLES - 1)
    ]
    samples.append(np.full(graph.input.shape, -128, np.int8))
    timing = board(BOARD).flash_timing
    found = emulate(graph, samples, CORE, toolchain, timing=True, board_flash=timing)
    data = tflite.write(graph)
    wrong = 0
    for sample, (output,) in zip(samples, found.outputs, strict=True):
        (wanted,) = tflm.run(data, [sample]).outputs
        wrong += int(np.count_nonzero(output != wanted))
    return Run(graph, found, wrong)


def run() -> list[Figure]:
    figures: list[Figure] = []
    first, *others = toolchains()
    if first != "gcc":
        figures.append(plain("gcc is not here: the line is compared with zig", None, ""))
    for name in find_models(own=True):
        graph = load(name)
        if graph is None:
            figures.append(plain(absent(name), None, ""))
            continue
        made = measure(graph, first)
        figures += _against(name, made, first)
        for other in others:
            again = measure(graph, other)
            figures += [
                at_most(f"{name}: {other}'s instructions for each of {first}'s, same C",
                        again.instructions / made.instructions, "×", COMPILERS),
                at_most(f"{name}: output bytes unlike TFLite Micro's ({other})",
                        again.wrong, "bytes", 0),
            ]  # fmt: skip
    return figures


def _against(name: str, made: Run, toolchain: str) -> list[Figure]:
    line = LINES[name]
    peer = {"name": "TFLM + CMSIS-NN", "value": line.instructions}
    ours = made.cycles
    theirs = round(LINE_CPI * line.instructions)
    arena = made.emulation.ram.arena
    figures = [
        at_most(f"{name}: instructions ({toolchain})", made.instructions, "instructions",
                line.most, peer),
        plain(f"{name}: against TFLM + CMSIS-NN", made.instructions / line.instructions, "×"),
        plain(f"{name}: modelled cycles an instruction on {BOARD}",
              ours.middle / made.instructions, "cycles"),
        at_most(f"{name}: modelled cycles against TFLM + CMSIS-NN's at {LINE_CPI} an instruction",
                ours.middle / theirs, "×", round(line.most / line.instructions, 3),
                {"name": "its cycles", "value": theirs}),
        plain(f"{name}: modelled time on {BOARD}", ours.middle / board(BOARD).mhz / 1e3, "ms",
              {"name": "best of MLPerf Tiny, measured", "value": line.milliseconds}),
        Figure(f"{name}: arena", arena, "bytes", line.most_arena, "<=",
               {"name": "TFLM", "value": line.arena}),
        plain(f"{name}: arena against TFLM's", arena / line.arena, "×"),
        at_most(f"{name}: output bytes unlike TFLite Micro's ({toolchain})", made.wrong,
                "bytes", 0),
    ]  # fmt: skip
    for kind, theirs_op in (line.per_op or {}).items():
        counts = _of_kind(made, kind)
        mean = round(sum(counts) / len(counts))
        each = "the" if len(counts) == 1 else f"each of {len(counts)}"
        figures.append(
            plain(f"{name}: {each} {kind}, mean", mean, "instructions",
                  {"name": "CMSIS-NN", "value": theirs_op})
        )  # fmt: skip
    return figures


def _of_kind(made: Run, kind: str) -> list[int]:
    """Instructions of the layers of one kind; the first convolution is a kind of its own."""
    kinds = [op.kind for op in made.graph.ops]
    start = kinds.index("conv_2d")
    if kind == "first conv_2d":
        return [(made.emulation.per_op or [])[start]]
    return [
        count
        for n, (k, count) in enumerate(zip(kinds, made.emulation.per_op or [], strict=True))
        if k == kind and n != start
    ]


def layers(name: str, graph: Graph, toolchain: str) -> str:
    """Where the instructions are: a row for each layer, in words."""
    program = arrange(graph, CORE)
    timing = board(BOARD).flash_timing
    sample = np.random.default_rng(0).integers(-128, 128, graph.input.shape).astype(np.int8)
    found = emulate(program, [sample], CORE, toolchain, timing=True, board_flash=timing)
    total = found.instructions or 0
    schedules = {p: str(s.schedule or "plain") for s in program.steps for p in s.positions}
    rows: list[list[str] | None] = [
        ["layer", "output", "MACs", "instructions", "share", "insn/MAC", "cycles", "waits",
         "schedule"],
        None,
    ]  # fmt: skip
    for n, op in enumerate(graph.ops):
        count, macs = (found.per_op or [])[n], graph.op_macs(n)
        if not count:
            continue
        rows.append([
            op.kind, "x".join(map(str, graph.outs(op)[0].shape[1:])), f"{macs:,}", f"{count:,}",
            f"{count / total:.1%}", f"{count / macs:.2f}" if macs else "",
            f"{(found.cycles or [])[n].middle:,.0f}",
            f"{found.waits[n].middle:,.0f}" if found.waits else "", schedules[n],
        ])  # fmt: skip
    line = LINES[name]
    head = (
        f"{name} ({toolchain}): {total:,} instructions, {total / line.instructions:.3f} of "
        f"TFLM + CMSIS-NN's {line.instructions:,}; limit {line.most:,}"
    )
    return "\n".join([head, *table(rows)])


def report() -> str:
    """`layers` of each network, with gcc where it is there."""
    toolchain = toolchains()[0]
    graphs = {name: load(name) for name in find_models(own=True)}
    return "\n\n".join(
        absent(name) if graph is None else layers(name, graph, toolchain)
        for name, graph in graphs.items()
    )


if __name__ == "__main__":
    print(report())

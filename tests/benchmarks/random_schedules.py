"""Every schedule of every kernel on random layers, bit for bit against TFLite Micro. Takes a while.

Each graph is computed by each schedule that any kernel has for its layers and chains, with and
without fusion, SIMD, unrolling and shared memory (tests/engine/variants.py). Graphs with the
schedules that are taken by default run on every core; the other programs of cores with the same
instructions (Cortex-M4, M7, M33) are dealt out among them, and every third runs on this machine
too. The Cortex-M0+ and M55 have programs of their own.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tests.benchmarks import Figure, at_least, at_most, plain
from tests.engine.nets import agree, collect
from tests.engine.variants import Case, programs, run_on_host
from tests.layer_graphs import KINDS, layer_graphs
from tests.strategies import inputs_for
from tinykit.engine import Program, arrange, emulate_many
from tinykit.engine.cores import find_core
from tinykit.formats.tflite import write
from tinykit.graph import Graph
from tinykit.targets.tflm import TflmSession

#: graphs of each kind of layer; TINYKIT_EACH makes a quick look
EACH = int(os.environ.get("TINYKIT_EACH", "38"))
#: cores that have the same instructions, and so the same programs
ALIKE = ("cortex-m4", "cortex-m7", "cortex-m33")
#: samples of the inputs
SAMPLES = 2
#: programs that go through one run of the compiler
BATCH = 100


@dataclass
class Tally:
    """Programs of one machine, and which of them differ."""

    programs: int = 0
    differ: int = 0
    schedules: int = 0

    def add(self, cases: Sequence[Case], outputs: Sequence[Sequence[Sequence[np.ndarray]]]) -> None:
        self.programs += len(cases)
        for case, got in zip(cases, outputs, strict=True):
            self.schedules += sum(step.schedule is not None for step in case.program.steps)
            self.differ += not all(
                agree(a, b)
                for want, have in zip(case.expected, got, strict=True)
                for a, b in zip(want, have, strict=True)
            )


class Oracle:
    """Samples of a graph's inputs, and what TFLite Micro makes of them."""

    def __init__(self, session: TflmSession) -> None:
        self.session, self.rng = session, np.random.default_rng(11)
        self.known: dict[bytes, tuple[list[list[np.ndarray]], list[list[np.ndarray]]]] = {}

    def case(self, program: Program) -> Case:
        data = write(program.graph)
        if data not in self.known:
            samples = inputs_for(program.graph, self.rng, random=1)[:SAMPLES]
            outputs = [list(one) for one in self.session.run(data, samples).outputs]
            self.known[data] = (samples, outputs)
        return Case(program, *self.known[data])


def run() -> list[Figure]:
    graphs = [g for kind in KINDS for g in collect(EACH, strategy=layer_graphs(kind))]
    helium = bool(shutil.which("arm-none-eabi-gcc") and shutil.which("qemu-system-arm"))
    tallies = {core: Tally() for core in (*ALIKE, "cortex-m0plus", "cortex-m55", "this machine")}
    with TflmSession() as session:
        oracle = Oracle(session)
        whole = [[oracle.case(arrange(g, core)) for g in graphs] for core in ALIKE]
        for core, cases in zip(ALIKE, whole, strict=True):
            _emulate(cases, core, tallies[core])
        for n, cases in enumerate(_batches(graphs, "cortex-m4", oracle)):
            for turn, core in enumerate(ALIKE):
                _emulate([c for i, c in enumerate(cases) if (n + i) % 3 == turn], core,
                         tallies[core])  # fmt: skip
            _on_host(cases[n % 3 :: 3], tallies["this machine"])
        for n, cases in enumerate(_batches(graphs, "cortex-m0plus", oracle)):
            _emulate(cases, "cortex-m0plus", tallies["cortex-m0plus"])
            _on_host(cases[n % 3 :: 3], tallies["this machine"])
        if helium:
            for cases in _batches(graphs, "cortex-m55", oracle):
                _emulate(cases, "cortex-m55", tallies["cortex-m55"], "gcc")
    figures = [at_least("random graphs, layers as in networks", len(graphs), "graphs", 300)]
    for core, tally in tallies.items():
        if core == "cortex-m55" and not helium:
            figures.append(plain("cortex-m55: no gcc or no QEMU here", None, "programs"))
            continue
        figures += [
            plain(f"{core}: programs of them, by schedules", tally.programs, "programs"),
            plain(f"{core}: layers and chains by a schedule in those", tally.schedules, "layers"),
            at_most(f"{core}: programs that differ from TFLite Micro", tally.differ, "programs", 0),
        ]
    return figures


def _batches(graphs: Sequence[Graph], core: str, oracle: Oracle) -> Iterator[list[Case]]:
    cases: list[Case] = []
    for graph in graphs:
        cases += [oracle.case(program) for program in programs(graph, core)]
        while len(cases) >= BATCH:
            yield cases[:BATCH]
            del cases[:BATCH]
    if cases:
        yield cases


def _emulate(cases: Sequence[Case], core: str, tally: Tally, toolchain: str = "zig") -> None:
    for start in range(0, len(cases), BATCH):
        batch = cases[start : start + BATCH]
        # programs of one core's instructions run on its like; the core is named for them anew
        made = [_on(case.program, core) for case in batch]
        runs = emulate_many(made, [case.samples for case in batch], core, toolchain)
        tally.add(batch, [run.outputs for run in runs])


def _on(program: Program, core: str) -> Program:
    """The same steps and memory, as a program for `core`."""
    return replace(program, core=find_core(core))


def _on_host(cases: Sequence[Case], tally: Tally) -> None:
    if cases:
        tally.add(cases, [outputs for _, outputs in run_on_host(cases)])

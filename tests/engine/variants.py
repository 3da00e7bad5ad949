"""Every schedule that any kernel has for the layers and chains of a graph, as programs."""

from __future__ import annotations

import _ctypes
import ctypes
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tests.engine.nets import agree
from tinykit.engine import Options, Program, arrange, generate
from tinykit.engine.arrange import candidates, chains
from tinykit.engine.build import compile_host
from tinykit.engine.cores import find_core
from tinykit.engine.io import read_outputs, write_inputs
from tinykit.engine.layer import Layer, key_of
from tinykit.engine.plan import ALIGNMENT
from tinykit.engine.schedule import Schedule
from tinykit.graph import Graph, GraphError
from tinykit.search.sites import isolate

#: programs that go through one run of the compiler
BATCH = 150

Samples = list[list[np.ndarray]]


@dataclass(frozen=True)
class Case:
    """A program, samples of its inputs, and what must come out."""

    program: Program
    samples: Samples
    expected: Samples

    def check(self, outputs: Samples) -> None:
        for want, have in zip(self.expected, outputs, strict=True):
            for a, b in zip(want, have, strict=True):
                assert agree(a, b), (
                    f"{self.how}: {np.count_nonzero(a != b)} of {a.size} outputs differ"
                )

    @property
    def how(self) -> str:
        """The schedules of the program, by layer."""
        steps = [(key_of(self.program.layers(s)), str(s.schedule)) for s in self.program.steps]
        core = self.program.core
        return f"{steps} on {core.name if core else 'this machine'}"


#: techniques that kernels choose their schedules by
TECHNIQUES = (
    Options(use_table=False),
    Options(use_table=False, simd=False),
    Options(use_table=False, unroll=False),
)


def serving(
    layers: Sequence[Layer], core: str | None, options: Options, family: tuple[str, ...] = ("",)
) -> list[Schedule]:
    """All schedules that kernels whose names begin as `family` says have for these layers."""
    if any(t is not None and t.quant is None for layer in layers for t in layer.outs):
        return []
    try:
        found = candidates(layers, None if core is None else find_core(core), options)
        return [schedule for schedule in found if schedule.kernel.startswith(family)]
    except GraphError:
        return []


def programs(graph: Graph, core: str | None, family: tuple[str, ...] = ("",)) -> list[Program]:
    """Programs in which each layer and chain of `graph` runs by each of its schedules.

    The whole graph in as few programs as go, and what never has its turn there (a chain within a
    longer one) in graphs of its own; once more with memory that is never shared. None where plain
    kernels do it all.
    """
    made = [arrange(graph, core, Options(use_table=False, in_place=False))]
    for options in TECHNIQUES:
        made += _programs(graph, core, options, family)
    return [p for p in _distinct(made) if any(step.schedule for step in p.steps)]


def _programs(
    graph: Graph, core: str | None, options: Options, family: tuple[str, ...]
) -> list[Program]:
    table: dict[str, list[Schedule]] = {}
    where: dict[str, tuple[Layer, ...]] = {}
    for position in range(len(graph.ops)):
        for layers in chains(graph, position):
            if found := serving(layers, core, options, family):
                table[key_of(layers)] = found
                where.setdefault(key_of(layers), layers)
    made = [arrange(graph, core, options)]
    for fuse in (False, True):
        for turn in range(max((len(found) for found in table.values()), default=0)):
            chosen = {key: found[min(turn, len(found) - 1)] for key, found in table.items()}
            made.append(arrange(graph, core, replace(options, fuse=fuse, schedules=chosen)))
    had = {
        (key_of(p.layers(step)), step.schedule) for p in made for step in p.steps if step.schedule
    }
    for key, found in table.items():
        for schedule in found:
            if (key, schedule) not in had:
                part = isolate(graph, [layer.position for layer in where[key]])
                made.append(arrange(part, core, replace(options, schedules={key: schedule})))
                assert made[-1].steps[0].schedule == schedule
    return made


def _distinct(made: Sequence[Program]) -> Iterator[Program]:
    seen = set()
    for p in made:
        schedules = tuple((step.positions, str(step.schedule)) for step in p.steps)
        key = (tuple(op.name for op in p.graph.ops), schedules, p.options.in_place)
        if key not in seen:
            seen.add(key)
            yield p


def run_on_host(cases: Sequence[Case], wide: bool = False) -> Iterator[tuple[Case, Samples]]:
    """Outputs of the very C of each program on this machine, a few compilations for all."""
    for start in range(0, len(cases), BATCH):
        batch = cases[start : start + BATCH]
        sources = [generate(case.program, f"model{n}") for n, case in enumerate(batch)]
        files = {name: text for source in sources for name, text in source.files.items()}
        library = ctypes.CDLL(str(compile_host(files, wide=wide)))
        for case, source in zip(batch, sources, strict=True):
            invoke = getattr(library, source.entry)
            invoke.argtypes, invoke.restype = [ctypes.c_void_p], None
            size = source.plan.arena_bytes
            # guards of a page on both sides: what is written there shows
            raw = np.full(size + 2 * 4096 + ALIGNMENT, 0xA5, np.uint8)
            begin = 4096 + -(raw.ctypes.data + 4096) % ALIGNMENT
            arena = raw[begin : begin + size]
            outputs = []
            for sample in case.samples:
                write_inputs(source.program.graph, source.plan, sample, _into(arena))
                invoke(arena.ctypes.data)
                outputs.append(
                    read_outputs(
                        source.program.graph,
                        source.plan,
                        lambda at, n, arena=arena: arena[at : at + n].tobytes(),  # type: ignore[misc]
                    )
                )
            outside = np.concatenate([raw[:begin], raw[begin + size :]])
            assert np.all(outside == 0xA5), f"{case.how} writes outside its arena"
            yield case, outputs
        _ctypes.dlclose(library._handle)


def _into(arena: np.ndarray):  # type: ignore[no-untyped-def]
    def write(at: int, raw: bytes) -> None:
        arena[at : at + len(raw)] = np.frombuffer(raw, np.uint8)

    return write

"""What "Inside the engine" looks at: one model built with some techniques and run on a core."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tinykit.engine import emulate, generate
from tinykit.engine.arrange import candidates, chains
from tinykit.engine.cores import find_core
from tinykit.engine.elf import Elf
from tinykit.engine.layer import key_of
from tinykit.engine.patches import Chooser
from tinykit.explore._listing import INSTRUCTION_KINDS, Assembly, CSource
from tinykit.explore.explorer import Tick, quiet
from tinykit.plots.memory import Life, lives
from tinykit.targets.checks import Check, compare
from tinykit.targets.counts import sample_inputs

if TYPE_CHECKING:
    from tinykit.engine import Options, Schedule
    from tinykit.engine.patches import Choice
    from tinykit.graph.ir import Graph


#: the patches, or none, of the smallest arena
SMALLEST = (0, "smallest")


@dataclass(frozen=True)
class Techniques:
    """What is on.

    Attributes
    ----------
    patches : None, (strips, halo) or `SMALLEST`
    always : whether layers are fused wherever a kernel can, even where that does not pay
    """

    options: Options
    patches: tuple[int, str] | None = None
    always: bool = False

    def __hash__(self) -> int:  # options hold a table of schedules, which does not hash
        o = self.options
        return hash((o.specialise, o.simd, o.unroll, o.fuse, o.in_place, self.patches, self.always))


@dataclass(frozen=True)
class Step:
    """The function of the program that computes a layer, or a strip or more of it.

    Attributes
    ----------
    name : of the op it computes
    schedule : of the specialised kernel; says where the plain kernel is called
    instructions : of one call
    c, assembly : its C, and what the compiler made of that
    loop_runs, loop : how often its busiest stretch of code ran, and the lines of that
    """

    name: str
    schedule: str
    instructions: int
    c: str
    assembly: str
    loop_runs: int
    loop: tuple[str, ...]


@dataclass(frozen=True)
class Built:
    """A program and what it cost.

    Attributes
    ----------
    macs : multiply-accumulates of each layer; counted
    instructions : of each layer; strips of a layer are added up; counted
    kinds : for each layer, its instructions by kind, as `instructions`
    fused : for each layer, the layer with which it is computed and counted, or None
    code : for each layer, the function that computes (the first strip of) it
    steps : names of the functions in the order in which they run
    numbers : of the layers that each of these computes
    tensors : the arena's plan, by steps
    exact : whether the outputs were the reference interpreter's: integers bit for bit, floats to
        rounding
    floats : whether some output is of floats
    fusible : whether some kernel computes two of the layers in one pass
    patches : which ops work in strips, in words
    recomputed : multiply-accumulates done twice, as a share of all; counted
    """

    layers: tuple[str, ...]
    macs: tuple[int, ...]
    instructions: tuple[int, ...]
    kinds: tuple[dict[str, int], ...]
    fused: tuple[int | None, ...]
    code: tuple[Step, ...]
    steps: tuple[str, ...]
    tensors: tuple[Life, ...]
    arena_bytes: int
    stack_bytes: int
    flash_bytes: int
    exact: bool
    numbers: tuple[str, ...] = ()
    floats: bool = False
    fusible: bool = False
    patches: str = ""
    recomputed: float = 0.0

    @property
    def total(self) -> int:
        return sum(self.instructions)


def build(whole: Graph, core: str, techniques: Techniques, tick: Tick = quiet) -> Built:
    """Generate, compile, run on the emulated core, compare with the reference (slow: a second).

    Raises
    ------
    TinykitError
        The engine lacks an op, or the model's scales are out of range; names the layer.
    """
    choice = arranged(whole, core, techniques)
    program, origin, graph = choice.program, choice.origin, choice.program.graph
    sources = generate(program)
    tick(None, "compiling")
    sample = sample_inputs(graph)
    run = emulate(program, [sample], core=core, tracing=True)
    tick(None, "comparing with the reference interpreter")
    expected = whole.run(*sample)
    check = Check("engine", "the engine")
    compare(check, whole, 0, "random", expected, run.outputs[0])
    counts = [0] * len(whole.ops)
    for position, count in enumerate(run.per_op or ()):
        counts[origin[position]] += count
    leaders = [origin[step.positions[-1]] for step in program.steps for _ in step.positions]
    members = [origin[position] for step in program.steps for position in step.positions]
    by_layer = dict(zip(members, leaders, strict=True))
    number = {p: n for n, step in enumerate(program.steps) for p in step.positions}
    assert run.trace is not None
    own, symbols = sources.marks
    c, assembly = CSource(sources.files), Assembly(Elf(run.elf), run.trace)

    kinds = [dict.fromkeys(INSTRUCTION_KINDS, 0) for _ in whole.ops]
    for row, position in enumerate(own):
        for kind, count in assembly.kinds(row).items():
            kinds[origin[position]][kind] += count

    layers = tuple(f"{i}:{op.kind}" for i, op in enumerate(whole.ops))

    def code(layer: int) -> Step:
        position = _computes(whole, graph, origin, layer)
        step = program.steps[number[position]]
        last = step.positions[-1]
        row = own.index(last)
        loop_runs, loop = assembly.loop(row)
        strip = re.findall(r"\[(strip .*)\]$", graph.op_name(position))
        return Step(
            ", ".join([" and ".join(layers[origin[p]] for p in step.positions), *strip]),
            str(step.schedule or "the kernel that all shapes share"),
            (run.per_op or [0] * len(graph.ops))[last],
            c.listing(symbols[row]),
            assembly.listing(row, symbols[row]),
            loop_runs,
            tuple(loop),
        )

    return Built(
        layers=layers,
        macs=tuple(whole.op_macs(i) or 0 for i in range(len(whole.ops))),
        instructions=tuple(counts),
        kinds=tuple(kinds),
        fused=tuple(
            None if by_layer.get(i, i) == i else by_layer[i] for i in range(len(whole.ops))
        ),
        code=tuple(code(layer) for layer in range(len(whole.ops))),
        steps=tuple(" and ".join(graph.op_name(p) for p in s.positions) for s in program.steps),
        tensors=tuple(lives(program, by_step=True, layers=_numbers(graph, origin))),
        numbers=tuple("+".join(str(origin[p]) for p in step.positions) for step in program.steps),
        arena_bytes=program.plan.arena_bytes,
        stack_bytes=run.ram.stack,
        flash_bytes=run.flash.total,
        exact=check.ok,
        floats=any(whole.tensors[i].dtype == "float32" for i in whole.outputs),
        fusible=bool(fusing(whole, core, techniques.options)),
        patches="" if choice.patched is None else str(choice.patched.patches),
        recomputed=graph.macs / max(whole.macs, 1) - 1,
    )


def arranged(whole: Graph, core: str, techniques: Techniques) -> Choice:
    """The program, and the patches in it.

    Raises
    ------
    TinykitError
        No part of the network can be computed in these patches.
    """
    options = techniques.options
    if techniques.always:
        options = replace(options, schedules=fusing(whole, core, options))
    chooser = Chooser(whole, core, options)
    if techniques.patches is None:
        return chooser.whole
    if techniques.patches == SMALLEST:
        return chooser.smallest()
    return chooser.apply(*techniques.patches)


def fusing(graph: Graph, core: str, options: Options) -> dict[str, Schedule]:
    """The best guess for every chain of layers that some kernel computes in one pass."""
    target, found = find_core(core), {}
    for position in range(len(graph.ops)):
        for layers in chains(graph, position):
            if len(layers) > 1 and (known := candidates(layers, target, options)):
                found[key_of(layers)] = known[0]
    return found


def _numbers(graph: Graph, origin: Sequence[int]) -> list[int | None]:
    """The layer of each op; None for those that only cut the network's input."""
    return [
        None if op.kind == "strided_slice" and op.inputs[0] in graph.inputs else origin[p]
        for p, op in enumerate(graph.ops)
    ]


def _computes(whole: Graph, graph: Graph, origin: Sequence[int], layer: int) -> int:
    """The first op that does the layer's own work; strips are cut and joined beside it."""
    ours = [p for p, of in enumerate(origin) if of == layer]
    same = [p for p in ours if graph.ops[p].kind == whole.ops[layer].kind]
    return (same or ours)[0]

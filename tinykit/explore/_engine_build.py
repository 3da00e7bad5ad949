"""What "Inside the engine" looks at: one model built with some techniques and run on a core."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tinykit.engine import arrange, emulate, generate
from tinykit.engine.elf import Elf
from tinykit.explore._listing import INSTRUCTION_KINDS, Assembly, CSource
from tinykit.explore.explorer import Tick, quiet
from tinykit.plots.memory import Life, lives
from tinykit.targets.microcontroller import sample_inputs

if TYPE_CHECKING:
    from tinykit.engine import Options, Program
    from tinykit.graph.ir import Graph


@dataclass(frozen=True)
class Techniques:
    """What is on: the engine's options, and patches as (strips, what of their overlap) or None."""

    options: Options
    patches: tuple[int, str] | None = None

    def __hash__(self) -> int:  # options hold a table of schedules, which does not hash
        o = self.options
        return hash((o.specialise, o.simd, o.unroll, o.fuse, o.in_place, self.patches))


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
    tensors : the arena's plan, by steps
    exact : whether the outputs were the reference interpreter's
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
    program, origin = arranged(whole, core, techniques)
    graph = program.graph
    sources = generate(program)
    tick(None, "compiling")
    sample = sample_inputs(graph)
    run = emulate(program, [sample], core=core, tracing=True)
    tick(None, "comparing with the reference interpreter")
    expected = whole.run(*sample)
    exact = all((a == b).all() for a, b in zip(expected, run.outputs[0], strict=True))
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

    def code(layer: int) -> Step:
        position = _computes(whole, graph, origin, layer)
        step = program.steps[number[position]]
        last = step.positions[-1]
        row = own.index(last)
        loop_runs, loop = assembly.loop(row)
        return Step(
            " and ".join(graph.op_name(p) for p in step.positions),
            str(step.schedule or "the kernel that all shapes share"),
            (run.per_op or [0] * len(graph.ops))[last],
            c.listing(symbols[row]),
            assembly.listing(row, symbols[row]),
            loop_runs,
            tuple(loop),
        )

    return Built(
        layers=tuple(f"{i}:{op.kind}" for i, op in enumerate(whole.ops)),
        macs=tuple(whole.op_macs(i) or 0 for i in range(len(whole.ops))),
        instructions=tuple(counts),
        kinds=tuple(kinds),
        fused=tuple(
            None if by_layer.get(i, i) == i else by_layer[i] for i in range(len(whole.ops))
        ),
        code=tuple(code(layer) for layer in range(len(whole.ops))),
        steps=tuple(" and ".join(graph.op_name(p) for p in s.positions) for s in program.steps),
        tensors=tuple(lives(program, by_step=True)),
        arena_bytes=program.plan.arena_bytes,
        stack_bytes=run.ram.stack,
        flash_bytes=run.flash.total,
        exact=bool(exact),
        recomputed=max(graph.macs / max(whole.macs, 1) - 1, 0.0),
    )


def arranged(whole: Graph, core: str, techniques: Techniques) -> tuple[Program, list[int]]:
    """The program, and for each of its graph's ops the op of `whole` that it belongs to."""
    if techniques.patches is None:
        return arrange(whole, core, techniques.options), list(range(len(whole.ops)))
    graph, origin = in_patches(whole, core, techniques)
    return arrange(graph, core, techniques.options), origin


def _computes(whole: Graph, graph: Graph, origin: list[int], layer: int) -> int:
    """The first op that does the layer's own work; strips are cut and joined beside it."""
    ours = [p for p, of in enumerate(origin) if of == layer]
    same = [p for p in ours if graph.ops[p].kind == whole.ops[layer].kind]
    return (same or ours)[0]


def in_patches(whole: Graph, core: str, techniques: Techniques) -> tuple[Graph, list[int]]:
    """The graph with its head in strips of rows: of all regions, the one with the smallest arena.

    As it is where no region saves anything.
    """
    from tinykit.engine.patches.extent import kept, recomputed
    from tinykit.engine.patches.region import regions, useful
    from tinykit.engine.patches.rewrite import in_strips

    assert techniques.patches is not None
    strips, halo = techniques.patches
    best = whole, list(range(len(whole.ops)))
    smallest = arrange(whole, core, techniques.options).plan.arena_bytes
    for region in regions(whole):
        if not useful(region):
            continue
        along = region.results[0]
        rows = -(-region.rows(along) // strips)
        extents = recomputed(region, strips) if halo == "recompute" else kept(region, along, rows)
        made = in_strips(region, extents, halo == "keep")
        size = arrange(made[0], core, techniques.options).plan.arena_bytes
        if size < smallest:
            best, smallest = made, size
    return best

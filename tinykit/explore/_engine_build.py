"""What "Inside the engine" looks at: one model built with some techniques and run on a core."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tinykit.engine import arrange, emulate, generate
from tinykit.engine.elf import Elf
from tinykit.plots.memory import Life, lives
from tinykit.targets.microcontroller import sample_inputs

if TYPE_CHECKING:
    from pathlib import Path

    from tinykit.engine import Options, Program, Sources
    from tinykit.graph.ir import Graph

_STRIP = re.compile(r" \[strip \d+/\d+\]")
#: longer listings are cut: nobody scrolls through them, and each travels to the browser
_MOST_LINES = 600


@dataclass(frozen=True)
class Techniques:
    """What is on: the engine's options, and patches as (strips, halo) or None."""

    options: Options
    patches: tuple[int, str] | None = None

    def __hash__(self) -> int:  # options hold a table of schedules, which does not hash
        o = self.options
        return hash((o.specialise, o.simd, o.unroll, o.fuse, o.in_place, self.patches))


@dataclass(frozen=True)
class Step:
    """One function of the program, for people.

    Attributes
    ----------
    layer : name of the layer that it computes (a part of)
    c, assembly : its C, and what the compiler made of that
    """

    layer: str
    schedule: str
    instructions: int
    c: str
    assembly: str


@dataclass(frozen=True)
class Built:
    """A program and what it cost.

    Attributes
    ----------
    instructions : of each layer; strips of a layer are added up; counted
    tensors : the arena's plan
    exact : whether the outputs were the reference interpreter's
    recomputed : multiply-accumulates done twice, as a share of all; counted
    """

    layers: tuple[str, ...]
    instructions: tuple[int, ...]
    steps: tuple[Step, ...]
    step_names: tuple[str, ...]
    tensors: tuple[Life, ...]
    arena_bytes: int
    stack_bytes: int
    flash_bytes: int
    exact: bool
    recomputed: float = 0.0

    @property
    def total(self) -> int:
        return sum(self.instructions)


def build(whole: Graph, core: str, techniques: Techniques) -> Built:
    """Generate, compile, run on the emulated core, compare with the reference (slow: a second)."""
    program = _program(whole, core, techniques)
    graph = program.graph
    sources = generate(program)
    sample = sample_inputs(graph)
    run = emulate(program, [sample], core=core)
    elf = Elf(run.elf)
    layers = tuple(f"{i}:{op.kind}" for i, op in enumerate(whole.ops))
    rows = {whole.op_name(i): i for i in range(len(whole.ops))}
    counts = [0] * len(layers)
    steps = []
    per_op = run.per_op or [0] * len(graph.ops)
    text = sources.files["model.c"]
    for step in program.steps:
        position = step.positions[-1]
        row = rows.get(_STRIP.sub("", graph.op_name(position)))
        if row is not None:
            counts[row] += per_op[position]
        symbol = sources.symbols[position]
        names = _functions(text, symbol)
        steps.append(
            Step(
                layers[row] if row is not None else graph.ops[position].kind,
                str(step.schedule or "shared kernel"),
                per_op[position],
                _cut("\n\n".join(_c_function(sources, name) for name in names)),
                _cut("\n\n".join(_assembly(elf, run.elf, name) for name in names)),
            )
        )
    expected = whole.run(*sample)
    exact = all((a == b).all() for a, b in zip(expected, run.outputs[0], strict=True))
    return Built(
        layers=layers,
        instructions=tuple(counts),
        steps=tuple(steps),
        step_names=tuple(graph.op_name(step.positions[-1]) for step in program.steps),
        tensors=tuple(lives(program)),
        arena_bytes=program.plan.arena_bytes,
        stack_bytes=run.ram.stack,
        flash_bytes=run.flash.total,
        exact=bool(exact),
        recomputed=max(graph.macs / max(whole.macs, 1) - 1, 0.0),
    )


def _program(graph: Graph, core: str, techniques: Techniques) -> Program:
    return arrange(graph, core, techniques.options)


def _functions(text: str, symbol: str) -> list[str]:
    """The function of a step and those it calls, innermost last."""
    body = _body(text, symbol)
    called = [n for n in re.findall(r"\b((?:model_f|tk_)\w+)\(", body) if n != symbol]
    return [*dict.fromkeys(called), symbol]


def _body(text: str, name: str) -> str:
    found = re.search(rf"^[^\n;]*\b{name}\([^;{{]*\)\n\{{.*?^\}}", text, re.MULTILINE | re.DOTALL)
    return found[0] if found else ""


def _c_function(sources: Sources, name: str) -> str:
    for file in sources.files.values():
        if body := _body(file, name):
            return body
    return ""


def _assembly(elf: Elf, path: Path, name: str) -> str:
    """A listing of function `name`; nothing where the compiler put it inside its caller."""
    import capstone

    if name not in elf.functions:
        return ""
    start, size = elf.functions[name]
    section = next(s for s in elf.sections if s.address <= start < s.address + s.size)
    code = section.data[start - section.address :][:size]
    reader = capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS)
    reader.skipdata = True
    lines = [f"{name}:"]
    for line in reader.disasm(code, start):
        lines.append(f"  {line.address:06x}  {line.mnemonic:<8} {line.op_str}".rstrip())
    return "\n".join(lines)


def _cut(text: str) -> str:
    lines = text.split("\n")
    if len(lines) <= _MOST_LINES:
        return text
    return "\n".join([*lines[:_MOST_LINES], f"... and {len(lines) - _MOST_LINES:,} more lines"])

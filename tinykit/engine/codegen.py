"""The C generator: a graph becomes readable C99 that needs neither malloc nor a C library.

One function a step (an op, or a chain of ops that one kernel computes), called in order by
``<prefix>_invoke(arena)``. A step calls either a plain kernel with constant parameters, a C file of
its own (``tinykit/engine/c``) shared by all ops and emitted only when used; or a function that a
specialised kernel (`tinykit.engine.kernel`) wrote for the layer's shape, shared by steps with equal
text. Constants stand in ``<prefix>_data.h`` as ``static const`` arrays, so that they stay in flash.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, NoReturn

import numpy as np

from tinykit.engine import ctext
from tinykit.engine.arrange import Program, Step, arrange
from tinykit.engine.cores import Core
from tinykit.engine.headers import data, file_prefix, header
from tinykit.engine.options import Options
from tinykit.engine.plan import MemoryPlan
from tinykit.graph import int4
from tinykit.graph.errors import GraphError, UnsupportedOpError
from tinykit.graph.ir import Graph, Op
from tinykit.graph.registry import Backend

#: op kind -> (op, input tensors, output tensors, OpContext) -> C statements of the op's function
codegen = Backend("the C generator")

_INCLUDE = re.compile(r'^\s*#include "([\w.]+)"', re.MULTILINE)


@dataclass(frozen=True)
class Sources:
    """Generated C.

    Attributes
    ----------
    files : text by file name; the ``.c`` files among them are what has to be compiled
    symbols : for each op, the name of its function; empty for an op that is computed together with
        the ones after it
    entry : the function that runs one inference, ``void entry(uint8_t *arena)``
    program : the steps, and where in the arena inputs are put and outputs found
    """

    files: dict[str, str]
    symbols: list[str]
    entry: str
    program: Program

    @property
    def plan(self) -> MemoryPlan:
        return self.program.plan

    @property
    def marks(self) -> tuple[list[int], list[str]]:
        """Positions of the ops that have a function of their own, and those functions' names."""
        own = [i for i, symbol in enumerate(self.symbols) if symbol]
        return own, [self.symbols[i] for i in own]


@dataclass
class OpContext:
    """What a generator may ask for while it writes the function of one op."""

    graph: Graph
    plan: MemoryPlan
    prefix: str
    position: int
    constants: dict[tuple[str, bytes], str] = field(repr=False)
    texts: list[str] = field(repr=False)
    headers: list[str] = field(repr=False)
    core: Core | None = None
    shared: dict[str, str] = field(default_factory=dict, repr=False)
    functions: list[str] = field(default_factory=list, repr=False)

    @property
    def op(self) -> Op:
        return self.graph.ops[self.position]

    def use(self, *families: str) -> None:
        """Make the kernels of ``c/FAMILY.h`` and ``c/FAMILY.c`` available."""
        for name in families:
            if name not in self.headers:
                self.headers.append(name)

    def input(self, number: int) -> str:
        """C expression: pointer to the elements of input `number`, of its C type."""
        index = self.op.inputs[number]
        if index is None:
            return "0"
        tensor = self.graph.tensors[index]
        if tensor.data is not None:
            note = ctext.describe(tensor)
            if tensor.dtype == "int4":
                return self.array(int4.pack(tensor.data), "uint8_t", note)
            return self.array(tensor.data, ctext.C_TYPES[tensor.dtype], note)
        return f"(const {ctext.C_TYPES[tensor.dtype]} *)(arena + {self.plan.offsets[index]})"

    def output(self, number: int = 0) -> str:
        """C expression: pointer to where output `number` goes, of its C type."""
        index = self.op.outputs[number]
        ctype = ctext.C_TYPES[self.graph.tensors[index].dtype]
        return f"({ctype} *)(arena + {self.plan.offsets[index]})"

    def array(self, values: np.ndarray, ctype: str, note: str = "") -> str:
        """Name of a constant array with these values; equal arrays are stored once."""
        flat = np.ascontiguousarray(values)
        key = (ctype, flat.dtype.str.encode() + flat.tobytes())
        if key not in self.constants:
            name = f"{self.prefix}_k{len(self.constants)}"
            self.constants[key] = name
            self.texts.append(ctext.array(name, ctype, flat, note))
        return self.constants[key]

    def struct(self, ctype: str, **fields: Any) -> str:
        """C expression: pointer to a constant ``struct ctype`` with these fields."""
        name = f"{self.prefix}_op{self.position}_{ctype}_{len(self.texts)}"
        self.texts.append(ctext.struct(name, ctype, fields))
        return "&" + name

    def structs(self, ctype: str, rows: Sequence[dict[str, Any]]) -> str:
        """Name of a constant array of ``struct ctype``; equal arrays are stored once."""
        key = (ctype, repr(rows).encode())
        if key not in self.constants:
            name = f"{self.prefix}_k{len(self.constants)}"
            self.constants[key] = name
            self.texts.append(ctext.structs(name, ctype, rows))
        return self.constants[key]

    def function(
        self, name: str, params: str, body: str, note: str = "", attribute: str = ""
    ) -> str:
        """Name of a static function of its own that the op's function can call; equal ones are
        written once. `name` is what its name ends with."""
        key = f"{name}({params}) {body}"
        if key not in self.shared:
            self.shared[key] = full = f"{self.prefix}_f{len(self.shared)}_{name}"
            self.functions.append(
                (f"/* {ctext.comment(note)} */\n" if note else "")
                + f"__attribute__((noinline)) {attribute}".rstrip()
                + "\n"
                + f"static void {full}({params})\n{{\n{_indented(body)}}}\n"
            )
        return self.shared[key]

    def unsupported(self, why: str) -> NoReturn:
        """Give up on this op because of `why` (a variant that the C kernels lack)."""
        raise UnsupportedOpError(self.op.kind, self.position, codegen.name, why)


def generate(
    graph: Graph | Program,
    prefix: str = "model",
    core: str | Core | None = None,
    options: Options | None = None,
) -> Sources:
    """Write C for `graph`.

    Parameters
    ----------
    graph : or a `Program`, which says core and options itself
    prefix : what the generated files and symbols begin with
    core : the Cortex-M core that the code is meant for; None for this machine. The C is portable
        either way: where instructions are missing, functions of the same meaning stand in.
    options : the techniques to use; all by default

    Raises
    ------
    UnsupportedOpError
        An op, or a variant of one, without C kernel, or whose tensors do not go together; says
        which and where.
    TinykitError
        `prefix` is the name of a file that the code needs.
    """
    from tinykit.engine import kernels  # noqa: F401  (fills the table)

    source = graph.graph if isinstance(graph, Program) else graph
    for position, op in enumerate(source.ops):
        codegen.get(op.kind, position)
        _no_int4_activations(source, op, position)
    program = graph if isinstance(graph, Program) else arrange(graph, core, options)
    graph, plan = program.graph, program.plan
    prefix = file_prefix(prefix)
    constants: dict[tuple[str, bytes], str] = {}
    texts: list[str] = []
    headers: list[str] = []
    functions: list[str] = []
    shared: dict[str, str] = {}
    symbols = [""] * len(graph.ops)
    for step in program.steps:
        position = step.positions[-1]
        op = graph.ops[position]
        ctx = OpContext(
            graph, plan, prefix, position, constants, texts, headers, program.core,
            shared, functions,
        )  # fmt: skip
        body = ""
        try:
            if step.schedule is not None:
                body = _call(program, step, ctx, shared, functions)
            elif position not in plan.free:
                body = codegen.get(op.kind)(op, graph.ins(op), graph.outs(op), ctx)
        except UnsupportedOpError as error:
            raise UnsupportedOpError(op.kind, position, codegen.name, error.why) from None
        except GraphError as error:  # tensors that do not go together, or collapsed scales
            raise UnsupportedOpError(op.kind, position, codegen.name, str(error)) from None
        symbol = f"{prefix}_op{position}_{ctext.identifier(op.kind)}"
        symbols[position] = symbol
        functions.append(_function(program, step, symbol, body))
    entry = f"{prefix}_invoke"
    called = [symbol for symbol in symbols if symbol]
    parts = [
        f"/* {ctext.comment(graph.name)}: generated by tinykit. */\n",
        f'#include "{prefix}.h"\n'
        + "".join(f'#include "{name}.h"\n' for name in headers)
        + f'#include "{prefix}_data.h"\n',
        *functions,
        f"void {entry}(uint8_t *arena)\n{{\n"
        + "".join(f"    {symbol}(arena);\n" for symbol in called)
        + ("" if called else "    (void)arena;\n")
        + "}\n",
    ]
    files = {
        f"{prefix}.h": header(graph, plan, prefix, entry, called),
        f"{prefix}_data.h": data(graph, prefix, texts),
        f"{prefix}.c": "\n".join(parts),
        **kernel_files(headers),
    }
    return Sources(files, symbols, entry, program)


def _call(
    program: Program, step: Step, ctx: OpContext, shared: dict[str, str], functions: list[str]
) -> str:
    """The call of a step's specialised function, which is written unless an equal one exists."""
    graph, plan = program.graph, program.plan
    kernel, schedule = step.kernel, step.schedule
    assert kernel is not None
    assert schedule is not None
    inner = {i for position in step.positions[:-1] for i in graph.ops[position].outputs}
    reads = [
        i
        for position in step.positions
        for i in graph.ops[position].inputs
        if i is not None and i not in inner and not graph.tensors[i].is_const
    ]
    params, passed = [], []
    for name, indices, const in (("in", reads, "const "), ("out", ctx.op.outputs, "")):
        for n, i in enumerate(indices):
            ctype = ctext.C_TYPES[graph.tensors[i].dtype]
            params.append(f"{const}{ctype} *{name}{n or ''}")
            passed.append(f"({const}{ctype} *)(arena + {plan.offsets[i]})")
    if step.needs.scratch:
        params.append("uint8_t *scratch")
        passed.append(f"arena + {plan.scratch[step.positions[-1]]}")
    body = kernel.write(program.layers(step), schedule, ctx)
    key = ", ".join(params) + body
    if key not in shared:
        shared[key] = name = f"{ctx.prefix}_f{len(shared)}_{ctext.identifier(kernel.name)}"
        functions.append(
            f"/* {ctext.comment(str(schedule))} */\n"
            f"static void {name}({', '.join(params)})\n{{\n{_indented(body)}}}\n"
        )
    return f"{shared[key]}({', '.join(passed)});"


def kernel_files(families: Sequence[str]) -> dict[str, str]:
    """The C files of these kernel families and of everything they include."""
    folder = resources.files("tinykit.engine") / "c"
    files: dict[str, str] = {}

    def add(name: str) -> None:
        if name in files or not (folder / name).is_file():
            return
        files[name] = text = (folder / name).read_text(encoding="utf-8")
        for included in _INCLUDE.findall(text):
            add(included)
            add(included.removesuffix(".h") + ".c")

    for family in families:
        add(f"{family}.h")
        add(f"{family}.c")
    return files


def _no_int4_activations(graph: Graph, op: Op, position: int) -> None:
    for tensor in (*graph.ins(op), *graph.outs(op)):
        if tensor is not None and tensor.dtype == "int4" and not tensor.is_const:
            raise UnsupportedOpError(op.kind, position, codegen.name, "int4 activations")


def _indented(body: str) -> str:
    return "".join(f"    {line}\n" if line else "\n" for line in body.rstrip("\n").split("\n"))


def _function(program: Program, step: Step, symbol: str, body: str) -> str:
    graph, position = program.graph, step.positions[-1]
    lines = _indented(body)
    if "arena" not in body:
        lines = "    (void)arena;\n" + (lines if body else "")
    makes = ", ".join(ctext.describe(t) for t in graph.outs(graph.ops[position]))
    names = " and ".join(graph.op_name(p) for p in step.positions)
    same = " (lies in memory already)" if position in program.plan.free else ""
    return (
        f"/* {ctext.comment(names)}: makes {ctext.comment(makes)}{same} */\n"
        f"__attribute__((noinline)) void {symbol}(uint8_t *arena)\n{{\n{lines}}}\n"
    )

"""The header files of generated code: what a program sees of a model, and the model's constants."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources

from tinykit.engine import ctext
from tinykit.engine.plan import MemoryPlan
from tinykit.graph.errors import TinykitError
from tinykit.graph.ir import Graph

#: C's own headers, and the example's file: a model's file of that name would take their place
RESERVED = frozenset(
    {"assert", "complex", "ctype", "errno", "fenv", "float", "inttypes", "iso646", "limits",
     "locale", "main", "math", "setjmp", "signal", "stdalign", "stdarg", "stdatomic", "stdbool",
     "stddef", "stdint", "stdio", "stdlib", "stdnoreturn", "string", "tgmath", "threads", "time",
     "uchar", "wchar", "wctype"}
)  # fmt: skip


def file_prefix(prefix: str) -> str:
    """`prefix` as generated files and symbols begin with it.

    Raises
    ------
    TinykitError
        A file of C or of the engine's kernels has that name.
    """
    made = ctext.identifier(prefix)
    kernels = resources.files("tinykit.engine") / "c"
    if made in RESERVED or any((kernels / f"{made}.{end}").is_file() for end in "ch"):
        raise TinykitError(
            f"the prefix {made!r} is the name of a file that generated code needs beside the "
            "model's; give another one"
        )
    return made


def data(graph: Graph, prefix: str, texts: Sequence[str]) -> str:
    """The constants, which only ``PREFIX.c`` includes, after the headers that name their types."""
    guard = f"TINYKIT_{prefix.upper()}_DATA_H"
    return "\n".join(
        (
            f"/* Constants of {ctext.comment(graph.name)}: weights, biases, multipliers. */\n"
            f"#ifndef {guard}\n#define {guard}\n\n#include <stdint.h>\n",
            *texts,
            "#endif\n",
        )
    )


def header(graph: Graph, plan: MemoryPlan, prefix: str, entry: str, called: Sequence[str]) -> str:
    guard = f"TINYKIT_{prefix.upper()}_H"
    lines = []
    for what, indices in (("input", graph.inputs), ("output", graph.outputs)):
        for n, i in enumerate(indices):
            tensor = graph.tensors[i]
            if tensor.is_const:
                continue
            name = f"{prefix}_{what}{n}"
            ctype = ctext.C_TYPES[tensor.dtype]
            lines.append(
                f"/* {what} {n}: {ctext.comment(ctext.describe(tensor))} */\n"
                f"#define {name.upper()}_OFFSET {plan.offsets[i]}\n"
                f"#define {name.upper()}_BYTES {tensor.nbytes}\n"
                f"static inline {ctype} *{name}(uint8_t *arena)\n"
                f"{{\n    return ({ctype} *)(arena + {name.upper()}_OFFSET);\n}}\n"
            )
    return (
        f"#ifndef {guard}\n#define {guard}\n\n#include <stdint.h>\n\n"
        '#ifdef __cplusplus\nextern "C" {\n#endif\n\n'
        f"/* Bytes of working memory; the arena must be aligned to 16 bytes. */\n"
        f"#define {prefix.upper()}_ARENA_BYTES {plan.arena_bytes}\n\n" + "\n".join(lines) + "\n"
        "/* One inference: put the inputs at their offsets, call, read the outputs. Inputs do not\n"
        "   survive: their memory is used again. */\n"
        f"void {entry}(uint8_t *arena);\n"
        + "".join(f"void {symbol}(uint8_t *arena);\n" for symbol in called)
        + "\n#ifdef __cplusplus\n}\n#endif\n\n#endif\n"
    )

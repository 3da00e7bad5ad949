"""A folder of C to drop into a firmware project: the model, an example, a build file, a README.

The example carries one input with the output that the reference interpreter gives for it, so that
the first thing a person sees on their board is whether the model computes the right bytes there.
"""

from __future__ import annotations

import shutil
import tempfile
from importlib import resources
from pathlib import Path
from string import Template

import numpy as np

from tinykit.engine import ctext
from tinykit.engine.arrange import Program
from tinykit.engine.codegen import generate
from tinykit.engine.cores import Core
from tinykit.graph.errors import TinykitError
from tinykit.graph.ir import Graph, integer_range

#: rules of MISRA C:2012 that generated code breaks, and why (tests/engine/test_misra.py has a
#: checker look for others)
MISRA = {
    "2.2, 2.4, 2.5, 2.7": "helpers and parameters that one model does not need",
    "8.7, 8.9": "an op's functions and tables stand by themselves",
    "10.1, 10.3, 10.4, 10.8": "int8 arithmetic in int, narrowed after clamping",
    "11.3, 11.5": "one arena for all types",
    "12.1, 12.3, 13.3, 14.2": "dense inner loops",
    "15.5, 15.6": "early return; single statements without braces",
    "17.8": "parameters that walk along",
    "18.4": "pointers that walk along",
    "19.2": "floats are looked at as bits through a union",
    "20.5, 20.7, 20.10": "macros that write instructions",
}

#: reference runs of graphs with more work than this would make people wait
MOST_MACS = 500_000_000


def export(
    program: Program, prefix: str = "model", name: str = "", weight_bytes: int | None = None
) -> dict[str, str]:
    """The files of a project around `program`, text by file name.

    Its README calls the model `name` and says that the weights have `weight_bytes`: those of the
    model itself, where `program` computes it in patches, whose cuts have parameters too.

    ``PREFIX.h``, ``PREFIX.c``, ``PREFIX_data.h`` and the kernels they call; ``main.c`` and
    ``PREFIX_example.h`` with a sample and its right answer; ``CMakeLists.txt``, for a Cortex-M with
    a toolchain file; ``README.md``.

    Raises
    ------
    UnsupportedOpError
        An op that the engine lacks.
    """
    sources = generate(program, prefix)
    prefix = ctext.identifier(prefix)
    names = sorted(name for name in sources.files if name.endswith(".c"))
    headers = sorted(name for name in sources.files if name.endswith(".h"))
    core = program.core
    gcc_flags = "" if core is None else " ".join(("-mthumb", *core.gcc_flags))
    values = {
        "prefix": prefix,
        "PREFIX": prefix.upper(),
        "name": ctext.comment(name or program.graph.name),
        "core": "any core" if core is None else core.name,
        "flags": "those of your core" if core is None else f"for gcc `{gcc_flags}`",
        "gcc_flags": gcc_flags,
        "tool_file": "" if core is None else ", `arm-none-eabi.cmake`",
        "zephyr": _zephyr(core),
        "asm": "" if core is None else ", and inline assembly where the core has SIMD instructions",
        "misra": "; ".join(f"{rule} ({why})" for rule, why in MISRA.items()),
        "sources": "\n".join(f"    {name}" for name in names),
        "files_c": ", ".join(f"`{name}`" for name in names),
        "files_h": ", ".join(f"`{name}`" for name in headers),
        "arena": f"{sources.plan.arena_bytes:,}",
        "weights": f"{weight_bytes or program.graph.weight_bytes:,}",
        "tensors": _tensors(program.graph, prefix),
    }
    files = dict(sources.files)
    files[f"{prefix}_example.h"] = _example(program.graph, prefix)
    tools = () if core is None else ("arm-none-eabi.cmake",)
    for name in ("main.c", "CMakeLists.txt", "README.md", *tools):
        template = (resources.files(__name__) / f"{name}.in").read_text(encoding="utf-8")
        files[name] = Template(template).substitute(values)
    return files


def _zephyr(core: Core | None) -> str:
    """Lines of a Zephyr application's prj.conf."""
    lines = ["`CONFIG_SPEED_OPTIMIZATIONS=y`", "`CONFIG_MAIN_STACK_SIZE=2048`"]
    if core is not None and core.fpu:
        lines.append("`CONFIG_FPU=y`")
    return ", ".join(lines)


def write_folder(files: dict[str, str], folder: str | Path) -> Path:
    """Write `files` into `folder`, all or none; files of these names are replaced.

    Raises
    ------
    TinykitError
        `folder` is a file.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise TinykitError(f"{folder} is a file; a folder is needed")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".tinykit-") as staging:
        for name, text in files.items():
            (Path(staging) / name).write_text(text, encoding="utf-8")
        for name in files:
            shutil.move(Path(staging) / name, folder / name)
    return folder


def sample(graph: Graph, seed: int = 0) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """One random stored input for each input of `graph`, and the outputs it leads to."""
    rng = np.random.default_rng(seed)
    inputs = []
    for index in graph.inputs:
        tensor = graph.tensors[index]
        if tensor.dtype == "float32":
            inputs.append(rng.standard_normal(tensor.shape).astype(np.float32))
        else:
            low, high = (0, 1) if tensor.dtype == "bool" else integer_range(tensor.dtype)
            values = rng.integers(low, high, tensor.shape, dtype=np.int64, endpoint=True)
            inputs.append(values.astype(tensor.numpy_dtype))
    return inputs, graph.run(*inputs)


def _example(graph: Graph, prefix: str) -> str:
    parts = [
        f"/* One random input of {ctext.comment(graph.name)} and the output that it must give. */",
        f"#ifndef {prefix.upper()}_EXAMPLE_H\n#define {prefix.upper()}_EXAMPLE_H\n\n"
        f'#include "{prefix}.h"\n',
    ]
    copies, checks = [], []
    inputs, outputs = sample(graph) if graph.macs <= MOST_MACS else ([], [])
    for n, (index, value) in enumerate(zip(graph.inputs, inputs, strict=False)):
        ctype = ctext.C_TYPES[graph.tensors[index].dtype]
        name = f"{prefix}_example_input{n}"
        parts.append(ctext.array(name, ctype, value, ctext.describe(graph.tensors[index])))
        copies.append(f"memcpy({prefix}_input{n}(arena), {name}, {prefix.upper()}_INPUT{n}_BYTES);")
    for n, (index, value) in enumerate(zip(graph.outputs, outputs, strict=False)):
        tensor = graph.tensors[index]
        if tensor.is_const:
            continue
        name = f"{prefix}_example_output{n}"
        parts.append(ctext.array(name, ctext.C_TYPES[tensor.dtype], value, ctext.describe(tensor)))
        compare = "different_reals" if tensor.dtype == "float32" else "different_bytes"
        size = value.size if tensor.dtype == "float32" else tensor.nbytes
        checks.append(f"wrong += {compare}({prefix}_output{n}(arena), {name}, {size}u);")
    parts.append("#define EXAMPLE_PUT_INPUTS(arena) " + _statements(copies))
    parts.append("#define EXAMPLE_CHECK_OUTPUTS(arena, wrong) " + _statements(checks))
    return "\n".join(parts) + "\n\n#endif\n"


def _statements(lines: list[str]) -> str:
    return "do { \\\n" + "".join(f"        {line} \\\n" for line in lines) + "    } while (0)"


def _centred(zero: int) -> str:
    return f"(stored {'−' if zero > 0 else '+'} {abs(zero)})" if zero else "stored"


def _tensors(graph: Graph, prefix: str) -> str:
    """Rows of the README's table of inputs and outputs."""
    rows = []
    for what, indices in (("input", graph.inputs), ("output", graph.outputs)):
        for n, index in enumerate(indices):
            tensor = graph.tensors[index]
            quant = tensor.quant
            real = (
                "the values themselves"
                if quant is None
                else f"{float(quant.scale[0]):.9g} × {_centred(int(quant.zero_point[0]))}"
            )
            shape = " × ".join(map(str, tensor.shape))
            rows.append(f"| `{prefix}_{what}{n}(arena)` | {shape} | {tensor.dtype} | {real} |")
    return "\n".join(rows)

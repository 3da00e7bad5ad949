"""What the C generator writes, and what it refuses before it writes anything."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.engine.nets import collect, residual
from tests.layer_graphs import KINDS, layer_graphs
from tinykit.engine import PLAIN, ctext
from tinykit.engine.build import compile_host, compile_target
from tinykit.engine.codegen import codegen, generate
from tinykit.engine.cores import CORES, find_core
from tinykit.graph import (
    Graph,
    GraphBuilder,
    Op,
    Quantization,
    Tensor,
    TinykitError,
    UnsupportedOpError,
    int4,
)
from tinykit.graph.registry import OPSET


def test_every_op_of_the_opset_has_a_generator() -> None:
    import tinykit.engine.kernels  # noqa: F401

    assert sorted(codegen) == sorted(OPSET)


def test_unsupported_op_is_named_with_its_position() -> None:
    tensors = (Tensor("x", (4,), "int8"), Tensor("y", (4,), "int8"), Tensor("z", (4,), "int8"))
    ops = (Op("relu", (0,), (1,)), Op("custom_fft", (1,), (2,)))
    with pytest.raises(UnsupportedOpError, match=r"custom_fft \(op number 1\)"):
        generate(Graph(tensors, ops, (0,), (2,)))


def test_computed_weights_are_refused() -> None:
    b = GraphBuilder()
    quant = Quantization.per_tensor(0.1)
    x = b.input("x", (1, 4), "int8", quant)
    w = b.input("w", (3, 4), "int8", quant)
    y = b.op("fully_connected", [x, w], (1, 3), "int8", quant)
    with pytest.raises(UnsupportedOpError, match="must be constants"):
        generate(b.finish([y]))


def test_names_cannot_break_out_of_comments() -> None:
    b = GraphBuilder('evil */ int main(void){} /* "\n\\')
    x = b.input("*/ #error x\n#error y ??/", (1, 4), "float32")
    y = b.op("relu", [x], (1, 4), "float32", name="*/ #error z /* \u202e")
    sources = generate(b.finish([y]))
    text = "".join(sources.files.values())
    assert "\n#error" not in text
    assert "*/ #error" not in text
    assert text.isascii()
    compile_host(sources.files)


def test_generation_is_deterministic_and_prefixed() -> None:
    first, second = (generate(residual(), prefix="net", options=PLAIN) for _ in range(2))
    assert first.files == second.files
    assert {"net.c", "net.h", "conv.c", "conv.h", "fixedpoint.h"} <= set(first.files)
    assert first.entry == "net_invoke"
    assert len(first.symbols) == len(residual().ops)
    assert all(f"void {name}(uint8_t *arena)" in first.files["net.h"] for name in first.symbols)
    assert "malloc" not in "".join(first.files.values())


def test_int4_weights_stay_packed() -> None:
    b = GraphBuilder()
    x = b.input("x", (1, 5), "int8", Quantization.per_tensor(0.1))
    values = np.array([[1, -8, 7, 0, -1], [3, 2, -2, 5, 6]], np.int8)
    w = b.const(values, Quantization.per_tensor(0.1), dtype="int4")
    graph = b.finish(
        [b.op("fully_connected", [x, w], (1, 2), "int8", Quantization.per_tensor(0.2))]
    )
    (found,) = re.findall(
        r"uint8_t \w+\[(\d+)\] = \{\s*([^}]*)\}",
        generate(graph, options=PLAIN).files["model_data.h"],
    )
    packed = [int(v) for v in found[1].split(",")]
    assert found[0] == "5"
    nibbles = [n - 16 if n > 7 else n for byte in packed for n in (byte & 15, byte >> 4)]
    assert nibbles == values.ravel().tolist()


def test_equal_constants_are_stored_once() -> None:
    b = GraphBuilder()
    x = b.input("x", (1, 64), "float32")
    table = np.arange(64, dtype=np.float32).reshape(1, 64)
    y = b.op("mul", [x, b.const(table)], (1, 64), "float32")
    y = b.op("mul", [y, b.const(table)], (1, 64), "float32")
    text = generate(b.finish([y])).files["model_data.h"]
    assert len(re.findall(r"static const float \w+\[64\]", text)) == 1


@pytest.mark.parametrize("value", [0.0, -0.0, 1.5, 1e-45, 3.4028235e38, -1 / 3])
def test_floats_survive_as_text(value: float) -> None:
    text = ctext.number(np.float32(value))
    assert text.endswith("f")
    assert np.float32(float.fromhex(text[:-1])).tobytes() == np.float32(value).tobytes()


def test_int4_packing_puts_the_first_value_low() -> None:
    assert int4.pack(np.array([1, 2, -1], np.int8)).tolist() == [0x21, 0x0F]


def test_clean_under_strict_warnings() -> None:
    """Every kernel that random graphs of all ops use, as C99, with warnings as errors."""
    files: dict[str, str] = {}
    for n, graph in enumerate([*collect(60, max_ops=6), residual()]):
        files |= generate(graph, prefix=f"m{n}").files
    flags = ["-Wall", "-Wextra", "-Werror", "-pedantic"]
    compile_host(files, flags, "zig")
    compile_target(files, CORES["cortex-m4"], "m0_invoke", "zig", flags)


@pytest.mark.parametrize("core", ["cortex-m0plus", "cortex-m3", "cortex-m55"])
@pytest.mark.parametrize(
    "toolchain",
    [
        "zig",
        pytest.param(
            "gcc",
            marks=pytest.mark.skipif(
                not shutil.which("arm-none-eabi-gcc"), reason="arm-none-eabi-gcc is not installed"
            ),
        ),
    ],
)
def test_kernels_for_other_cores_are_clean(core: str, toolchain: str) -> None:
    files: dict[str, str] = {}
    for kind in KINDS:
        for n, graph in enumerate(collect(3, strategy=layer_graphs(kind))):
            files |= generate(graph, prefix=f"{kind}{n}", core=core).files
    flags = ["-Wall", "-Wextra", "-Werror", "-pedantic"]
    compile_target(files, CORES[core], f"{KINDS[0]}0_invoke", toolchain, flags)


@pytest.mark.parametrize("compiler", ["cc", "arm-none-eabi-gcc"])
def test_files_compile_one_by_one_too(compiler: str, tmp_path: Path) -> None:
    """As in a project of one's own: each .c file by itself, with gcc's warnings as errors."""
    if not shutil.which(compiler):
        pytest.skip(f"{compiler} is not installed")
    files: dict[str, str] = {}
    for n, graph in enumerate([*collect(40, max_ops=6), residual()]):
        files |= generate(graph, prefix=f"m{n}").files
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    kernels = [name for name in files if name.endswith(".c") and not re.match(r"m\d", name)]
    assert len(kernels) > 10
    command = [compiler, "-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-O1", "-c"]
    run = subprocess.run(
        [*command, *kernels, "m40.c"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr


def test_cores_are_found_by_their_usual_names() -> None:
    assert find_core("M0+") is find_core("cortex-m0plus") is CORES["cortex-m0plus"]
    with pytest.raises(TinykitError, match="cortex-m33"):
        find_core("cortex-a53")

"""`tk.compile`: what it chooses, what it writes, and what it says when it cannot."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import tinykit as tk
from tests.engine.nets import residual
from tests.engine.test_export import build_and_run
from tests.engine.test_patches import tall
from tests.targets.small import small_int8, with_unknown_op
from tinykit.engine import Options
from tinykit.engine.patches import NoFit
from tinykit.targets.compiled import MissingOpsError, parse_size


def test_the_limit_of_a_board_is_its_sram() -> None:
    compiled = tk.compile(residual(), "stm32f446")
    assert compiled.sram_limit == tk.targets.load("stm32f446").sram_bytes
    assert compiled.program.core.name == "cortex-m4"
    assert compiled.patched is None
    assert compiled.recompute_macs == 0
    assert compiled.origin == tuple(range(len(residual().ops)))
    assert compiled.arena_bytes >= compiled.lower_bound > 0
    assert "computed whole" in str(compiled)
    assert "kernels' tables and code on top" in str(compiled)


def test_boards_and_cores() -> None:
    board = tk.targets.load("samd21")
    assert str(tk.compile(residual(), board)) == str(tk.compile(residual(), "SAMD21"))
    compiled = tk.compile(residual(), "cortex-m0plus")
    assert compiled.sram_limit is None
    assert "no limit" in str(compiled)
    with pytest.raises(tk.targets.UnknownTargetError, match=r"closest: stm32f446.*cortex-m4"):
        tk.compile(residual(), "stm32f4461")
    with pytest.raises(tk.targets.UnknownTargetError, match="name of a board or core"):
        tk.compile(residual(), 446)  # type: ignore[arg-type]


def test_a_limit_brings_patches() -> None:
    graph = tall()
    whole = tk.compile(graph, "cortex-m4")
    compiled = tk.compile(graph, "cortex-m4", sram_limit=whole.arena_bytes // 2)
    assert compiled.arena_bytes <= whole.arena_bytes // 2
    assert compiled.patched is not None
    text = str(compiled)
    assert f"{compiled.arena_bytes:,} bytes (limit {whole.arena_bytes // 2:,}" in text
    assert f"{compiled.recompute_macs:,} MACs (counted)" in text
    assert re.search(r"ops 0 to \d \(conv_2d to \w+\) in \d+ strips", text)
    assert len(compiled.origin) == len(compiled.program.graph.ops)
    sample = np.random.default_rng(0).integers(-128, 128, (1, 32, 24, 2), dtype=np.int8)
    assert np.array_equal(graph.run(sample)[0], compiled.program.graph.run(sample)[0])


def test_options_reach_the_program() -> None:
    compiled = tk.compile(tall(), "cortex-m4", options=Options(in_place=False))
    assert compiled.program.options.in_place is False
    assert compiled.arena_bytes > tk.compile(tall(), "cortex-m4").arena_bytes


def test_what_is_written_checks_itself(tmp_path: Path) -> None:
    compiled = tk.compile(tall(), "cortex-m4", sram_limit="8K")
    assert compiled.sram_limit == 8192
    assert compiled.patched is not None
    folder = compiled.write(tmp_path / "c", "net")
    readme = (folder / "README.md").read_text(encoding="utf-8")
    assert f"| {compiled.graph.weight_bytes:,} |" in readme, "the cuts' parameters are no weights"
    assert (folder / "net.c").is_file()
    assert build_and_run(folder) == 0


def test_a_limit_that_cannot_be_met() -> None:
    with pytest.raises(NoFit, match=r"0:conv_2d|\d:\w+ needs most.*smallest arena that works is"):
        tk.compile(tall(), "cortex-m4", sram_limit=100)


def test_missing_ops_are_all_named() -> None:
    graph = with_unknown_op(with_unknown_op(small_int8(), 1), 2)
    with pytest.raises(MissingOpsError, match=r"lacks 2 of the model's") as caught:
        tk.compile(graph)
    assert sorted(caught.value.missing) == [1, 2]
    assert "(op number 1)" in str(caught.value)
    assert "(op number 2)" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "size"),
    [("4096", 4096), ("32K", 32768), ("32KiB", 32768), ("32 kb", 32768), ("1.5M", 1572864),
     ("7B", 7), (99, 99), (np.int64(99), 99)],
)  # fmt: skip
def test_sizes(text: str | int | np.integer, size: int) -> None:
    assert parse_size(text) == size  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", "K", "0", "-4", "32G", "1e3", "32 K iB", 0, -1, True, 2.5])
def test_no_sizes(text: object) -> None:
    with pytest.raises(tk.TinykitError, match="no size of memory"):
        parse_size(text)  # type: ignore[arg-type]

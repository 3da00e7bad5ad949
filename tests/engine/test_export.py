"""The exported folder: it builds by itself, warns of nothing, and its example checks the model."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engine.nets import collect, residual
from tinykit.engine import arrange
from tinykit.engine.cores import CORES
from tinykit.engine.export import export, write_folder
from tinykit.graph import TinykitError
from tinykit.graph.fileio import load

STRICT = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-O2", "-fno-strict-aliasing",
          "-ffp-contract=off"]  # fmt: skip


def build_and_run(folder: Path, *flags: str) -> int:
    """Compile every file by itself, link, run the check; its exit status."""
    compiler = (
        ["cc"] if shutil.which("cc") else [sys.executable, "-m", "ziglang", "cc", "-Wno-unused"]
    )
    sources = sorted(p.name for p in folder.glob("*.c"))
    subprocess.run(
        [*compiler, *STRICT, *flags, *sources, "-o", "check"], cwd=folder, check=True, timeout=240
    )
    return subprocess.run([folder / "check"], check=False, timeout=60).returncode


@pytest.mark.parametrize("core", [None, "cortex-m4", "cortex-m0plus"])
def test_the_example_says_that_the_model_is_right(core: str | None, tmp_path: Path) -> None:
    """Code for a Cortex-M runs here too: functions stand in for its instructions."""
    write_folder(export(arrange(residual(), core)), tmp_path)
    assert build_and_run(tmp_path) == 0


def test_the_example_notices_a_wrong_weight(tmp_path: Path) -> None:
    files = export(arrange(residual(), None), "net")
    line = next(n for n in files["net_example.h"].splitlines() if n.startswith("    "))
    first = line.split(",")[0].strip()
    files["net_example.h"] = files["net_example.h"].replace(
        line, line.replace(first, "5" if first != "5" else "6", 1), 1
    )
    write_folder(files, tmp_path)
    assert build_and_run(tmp_path) == 1


def test_random_graphs_of_all_types_export(tmp_path: Path) -> None:
    for n, graph in enumerate(collect(8, max_ops=4)):
        write_folder(export(arrange(graph, None)), tmp_path / str(n))
        assert build_and_run(tmp_path / str(n)) == 0


@pytest.mark.skipif(not shutil.which("arm-none-eabi-gcc"), reason="no gcc for Arm")
@pytest.mark.parametrize("core", ["cortex-m4", "cortex-m0plus"])
def test_each_file_compiles_for_its_core_without_warnings(core: str, tmp_path: Path) -> None:
    write_folder(export(arrange(residual(), core)), tmp_path)
    sources = [p.name for p in tmp_path.glob("*.c") if p.name != "main.c"]
    flags = ["-mthumb", *CORES[core].gcc_flags, "-ffreestanding", "-c"]
    subprocess.run(["arm-none-eabi-gcc", *STRICT, *flags, *sources], cwd=tmp_path, check=True)


@pytest.mark.skipif(not shutil.which("cmake"), reason="no cmake")
def test_cmake_builds_the_folder(tmp_path: Path, shared_models: Path) -> None:
    graph = load(str(shared_models / "kws_ref_model.tflite"))
    write_folder(export(arrange(graph, "cortex-m4"), "kws"), tmp_path)
    subprocess.run(["cmake", "-B", "build"], cwd=tmp_path, check=True, capture_output=True)
    subprocess.run(["cmake", "--build", "build"], cwd=tmp_path, check=True, capture_output=True)
    assert subprocess.run([tmp_path / "build" / "kws_check"], check=False).returncode == 0


def test_a_file_in_the_way_is_named_and_kept(tmp_path: Path) -> None:
    (tmp_path / "here").write_text("mine")
    with pytest.raises(TinykitError, match="here is a file"):
        write_folder({"a.c": ""}, tmp_path / "here")
    assert (tmp_path / "here").read_text() == "mine"

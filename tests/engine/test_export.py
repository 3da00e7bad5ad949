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
          "-ffp-contract=off", "-fomit-frame-pointer"]  # fmt: skip


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


@pytest.mark.parametrize("prefix", ["simd", "Conv", "main", "stdint"])
def test_a_prefix_does_not_take_the_name_of_another_file(prefix: str) -> None:
    with pytest.raises(TinykitError, match=f"the prefix '{prefix.lower()}' is the name of a file"):
        export(arrange(residual(), "cortex-m4"), prefix)


NO_GCC = pytest.mark.skipif(not shutil.which("arm-none-eabi-gcc"), reason="no gcc for Arm")
NO_CMAKE = pytest.mark.skipif(not shutil.which("cmake"), reason="no cmake")
MORE = ["-Wconversion", "-Wshadow", "-Wundef", "-Wimplicit-fallthrough", "-Wstrict-prototypes",
        "-Wmissing-prototypes", "-Wvla", "-Wpointer-arith"]  # fmt: skip


def to_compile(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.glob("*.c") if p.name != "main.c")


@NO_GCC
@pytest.mark.parametrize("core", ["cortex-m4", "cortex-m0plus", "cortex-m33", "cortex-m55"])
def test_each_file_compiles_for_its_core_without_warnings(core: str, tmp_path: Path) -> None:
    write_folder(export(arrange(residual(), core)), tmp_path)
    flags = ["-mthumb", *CORES[core].gcc_flags, "-ffreestanding", "-c"]
    command = ["arm-none-eabi-gcc", *STRICT, *MORE, *flags, *to_compile(tmp_path)]
    subprocess.run(command, cwd=tmp_path, check=True)


@pytest.mark.parametrize("core", ["cortex-m4", "cortex-m0plus", "cortex-m55"])
def test_each_file_compiles_with_zig_without_warnings(core: str, tmp_path: Path) -> None:
    write_folder(export(arrange(residual(), core)), tmp_path)
    zig = [sys.executable, "-m", "ziglang", "cc", "-target", CORES[core].zig_target]
    flags = [f"-mcpu={CORES[core].zig_cpu}", "-ffreestanding", "-Wno-unused-command-line-argument"]
    for name in to_compile(tmp_path):
        command = [*zig, *flags, *STRICT, *MORE, "-c", name, "-o", name + ".o"]
        subprocess.run(command, cwd=tmp_path, check=True, timeout=240)


def cmake(folder: Path, *options: str, build: str = "build") -> None:
    for command in (["-B", build, *options], ["--build", build]):
        done = subprocess.run(["cmake", *command], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "warning" not in done.stdout + done.stderr


@NO_CMAKE
def test_cmake_builds_the_folder_and_the_check_runs(tmp_path: Path) -> None:
    for core in ("cortex-m4", None):
        folder = tmp_path / str(core)
        write_folder(export(arrange(residual(), core), "my net"), folder)
        cmake(folder, "-DMY_NET_WERROR=ON")
        check = folder / "build" / "my_net_check"
        assert subprocess.run([check], check=False, timeout=60).returncode == 0


@NO_CMAKE
def test_cmake_builds_a_model_of_others(tmp_path: Path, shared_models: Path) -> None:
    graph = load(str(shared_models / "kws_ref_model.tflite"))
    write_folder(export(arrange(graph, "cortex-m4"), "kws"), tmp_path)
    cmake(tmp_path, "-DKWS_WERROR=ON")
    assert subprocess.run([tmp_path / "build" / "kws_check"], check=False).returncode == 0


@NO_CMAKE
@NO_GCC
def test_cmake_builds_the_library_for_the_core(tmp_path: Path) -> None:
    write_folder(export(arrange(residual(), "cortex-m4")), tmp_path)
    cmake(tmp_path, "-DCMAKE_TOOLCHAIN_FILE=arm-none-eabi.cmake", "-DMODEL_WERROR=ON")
    library = (tmp_path / "build" / "libmodel.a").read_bytes()
    assert library.startswith(b"!<arch>")
    assert b"model_invoke" in library


@NO_CMAKE
def test_a_project_of_yours_links_it(tmp_path: Path) -> None:
    write_folder(export(arrange(residual(), "cortex-m4"), "net"), tmp_path / "net")
    (tmp_path / "app.c").write_text(
        '#include "net.h"\n'
        "static uint8_t arena[NET_ARENA_BYTES] __attribute__((aligned(16)));\n"
        "int main(void) { net_invoke(arena); return 0; }\n"
    )
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.13)\nproject(app C)\nadd_executable(app app.c)\n"
        "add_subdirectory(net)\ntarget_link_libraries(app PRIVATE net)\n"
    )
    cmake(tmp_path)
    assert subprocess.run([tmp_path / "build" / "app"], check=False, timeout=60).returncode == 0
    assert not (tmp_path / "build" / "net" / "net_check").exists()


def test_cplusplus_includes_the_header(tmp_path: Path) -> None:
    """As an Arduino sketch does: the model is C, what calls it C++."""
    write_folder(export(arrange(residual(), "cortex-m4"), "net"), tmp_path)
    zig = [sys.executable, "-m", "ziglang"]
    for name in to_compile(tmp_path):
        command = [*zig, "cc", *STRICT, "-c", name, "-o", name + ".o"]
        subprocess.run(command, cwd=tmp_path, check=True, timeout=240)
    (tmp_path / "main.cpp").write_text(
        '#include "net.h"\n#include "net_example.h"\n#include <cstring>\n'
        "alignas(16) static uint8_t arena[NET_ARENA_BYTES];\n"
        "int main() {\n"
        "    std::memcpy(net_input0(arena), net_example_input0, NET_INPUT0_BYTES);\n"
        "    net_invoke(arena);\n"
        "    return std::memcmp(net_output0(arena), net_example_output0, NET_OUTPUT0_BYTES) != 0;\n"
        "}\n"
    )
    flags = ["-std=c++11", "-Wall", "-Wextra", "-Werror", "-pedantic"]
    objects = [name + ".o" for name in to_compile(tmp_path)]
    command = [*zig, "c++", *flags, "main.cpp", *objects, "-o", "check"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=240)
    assert subprocess.run([tmp_path / "check"], check=False, timeout=60).returncode == 0


def test_the_readme_names_what_to_copy(tmp_path: Path) -> None:
    files = export(arrange(residual(), "cortex-m4"), "net")
    readme = files["README.md"]
    assert "$" not in readme
    for word in ("STM32CubeIDE", "Zephyr", "Arduino", "CONFIG_FPU=y", "-mcpu=cortex-m4", "MISRA"):
        assert word in readme
    for name in files:
        assert name == "README.md" or f"`{name}`" in readme, name
    assert "CONFIG_FPU" not in export(arrange(residual(), "cortex-m0plus"))["README.md"]


def test_a_file_in_the_way_is_named_and_kept(tmp_path: Path) -> None:
    (tmp_path / "here").write_text("mine")
    with pytest.raises(TinykitError, match="here is a file"):
        write_folder({"a.c": ""}, tmp_path / "here")
    assert (tmp_path / "here").read_text() == "mine"

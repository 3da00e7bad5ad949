"""Compile generated C: for this machine, or for a Cortex-M; with zig (from PyPI) or gcc.

The files of one build are compiled as a single translation unit, so that one run of the compiler
does. Nothing is compiled twice: see `tinykit.engine.cache`.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib import metadata, resources
from pathlib import Path

from tinykit.engine.cache import cache_dir, cached
from tinykit.engine.cores import Core
from tinykit.engine.errors import BuildError
from tinykit.graph.errors import MissingToolError, TinykitError

log = logging.getLogger(__name__)

# No contraction: a fused multiply-add rounds once where two operations round twice, and floats
# would differ from core to core. The arena is one block of bytes that holds every type.
COMMON = (
    "-std=c99",
    "-O2",
    "-ffp-contract=off",
    "-fno-strict-aliasing",
    "-fomit-frame-pointer",
    "-g0",
)
# Unrolling without registers to spare makes clang spill: a quarter more instructions on a Cortex-M4
# and twice the code.
BARE = ("-fno-unroll-loops", "-ffreestanding", "-ffunction-sections", "-fdata-sections",
        "-fno-unwind-tables", "-fno-asynchronous-unwind-tables", "-Wl,--gc-sections")  # fmt: skip
# gcc would make one function of two ops with equal code, and memcpy's own loop a call to memcpy
GCC_ONLY = ("-fno-ipa-icf", "-fno-tree-loop-distribute-patterns")

TOOLCHAINS = ("zig", "gcc")


def find_zig() -> list[str]:
    """The command for zig.

    Raises
    ------
    MissingToolError
        The package ziglang is not installed.
    """
    spec = importlib.util.find_spec("ziglang")
    if spec is not None and spec.submodule_search_locations:
        binary = Path(next(iter(spec.submodule_search_locations))) / "zig"
        if binary.exists():
            return [str(binary)]
    raise MissingToolError("the compiler zig is missing: pip install ziglang")


def find_gcc() -> str:
    """The path of arm-none-eabi-gcc.

    Raises
    ------
    MissingToolError
        It is not installed.
    """
    if path := shutil.which("arm-none-eabi-gcc"):
        return path
    raise MissingToolError(
        "arm-none-eabi-gcc is missing: apt install gcc-arm-none-eabi "
        "(macOS: brew install arm-none-eabi-gcc), or use the default toolchain zig"
    )


def compile_target(
    files: Mapping[str, str],
    core: Core,
    entry: str,
    toolchain: str = "zig",
    flags: Sequence[str] = (),
) -> Path:
    """Compile and link for a bare Cortex-M core; the ELF file's path.

    Parameters
    ----------
    files : generated C by file name
    entry : where the image starts; functions called ``..._invoke`` stay in it anyhow
    toolchain : "zig" or "gcc"
    flags : further compiler flags

    Raises
    ------
    MissingToolError, BuildError
    """
    _known(toolchain)
    script = c_source("link.ld")
    for name, address in (("TK_FLASH", core.flash), ("TK_RAM", core.ram)):
        script = script.replace(name, hex(address))
    if toolchain == "zig":
        command = [*find_zig(), "cc", "-target", core.zig_target, f"-mcpu={core.zig_cpu}"]
        tail: list[str] = []
        version = metadata.version("ziglang")
    else:
        # gcc alone brings no C library: its structure copies need memcpy
        files = {**files, "support.c": c_source("support.c")}
        command = [find_gcc(), "-mthumb", *core.gcc_flags, *GCC_ONLY, "-nostdlib"]
        tail = ["-lgcc"]
        version = _version(command[0])
    command += [*COMMON, *BARE, f"-Wl,--entry={entry}", *flags]
    key = repr(("target", toolchain, version, command[1:], tail, script, sorted(files.items())))

    def make(path: Path) -> None:
        _compile(command, tail, {**files, "link.ld": script}, path, ["-Wl,-T,link.ld"])

    return cached(key, ".elf", make)


def compile_host(
    files: Mapping[str, str],
    flags: Sequence[str] = (),
    compiler: str | None = None,
    wide: bool = False,
) -> Path:
    """Compile a shared library for this machine; its path.

    Parameters
    ----------
    compiler : "zig" or "cc"; by default zig, or the system's ``cc`` where zig is not installed
    wide : whether the kernels for this machine may use vectors of 32 bytes (AVX2), where it has
        them. Only they: zig 0.17's clang, allowed AVX2 everywhere, gets other loops wrong.

    Raises
    ------
    MissingToolError, BuildError
    """
    if compiler is None:
        compiler = "zig" if importlib.util.find_spec("ziglang") else "cc"
    if compiler == "zig":
        # any machine of the kind may find the file in a shared cache: no instructions of this one,
        # but for those that are asked for, which are part of the file's name there
        command = [*find_zig(), "cc", "-mcpu=baseline"]
        version = metadata.version("ziglang")
        if sys.platform == "linux":
            # the code needs no library but memcpy, which the process has; zig would build a libc
            # of its own first, a quarter of a minute
            command.append("-nostdlib")
    else:
        found = shutil.which(compiler)
        if found is None:
            raise MissingToolError(
                f"no C compiler for this machine: pip install ziglang, or install {compiler!r}"
            )
        command, version = [found], _version(found)
    command += [
        "-shared",
        "-fPIC",
        *COMMON,
        *(["-DTK_AVX2"] if wide and has_avx2() else []),
        *flags,
    ]
    key = repr(
        ("host", sys.platform, platform.machine(), version, command[1:], sorted(files.items()))
    )
    return cached(key, ".so", lambda path: _compile(command, [], files, path, []))


@lru_cache
def has_avx2() -> bool:
    """Whether this machine is known to have AVX2 (Linux says so)."""
    try:
        said = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return any("avx2" in line.split() for line in said.splitlines() if line.startswith("flags"))


def _compile(
    command: Sequence[str],
    tail: Sequence[str],
    files: Mapping[str, str],
    out: Path,
    more: Sequence[str],
) -> None:
    with tempfile.TemporaryDirectory(prefix="tinykit-") as folder:
        for name, text in files.items():
            (Path(folder) / name).write_text(text, encoding="utf-8")
        unit = "".join(f'#include "{name}"\n' for name in files if name.endswith(".c"))
        (Path(folder) / "unit.c").write_text(unit, encoding="utf-8")
        # zig keeps a C library and helpers it has built; the rest of its cache goes with the folder
        env = {
            **os.environ,
            "ZIG_GLOBAL_CACHE_DIR": os.environ.get("ZIG_GLOBAL_CACHE_DIR")
            or str(cache_dir() / "zig"),
            "ZIG_LOCAL_CACHE_DIR": str(Path(folder) / "zig"),
        }
        full = [*command, *more, "unit.c", "-o", str(out), *tail]
        log.debug("running %s", " ".join(full))
        try:
            done = subprocess.run(
                full, cwd=folder, env=env, capture_output=True, text=True, timeout=300, check=False
            )
        except subprocess.TimeoutExpired:
            raise BuildError(f"{command[0]} did not finish within 300 s") from None
        except OSError as error:
            raise BuildError(f"{command[0]} cannot be run: {error}") from None
        if done.returncode != 0 or not out.exists():
            said = done.stderr.strip() or f"exit status {done.returncode}"
            raise BuildError(
                f"{os.path.basename(command[0])} failed on generated code:\n{said[:4000]}"
            )


def c_source(name: str) -> str:
    """Text of a file in ``tinykit/engine/c``."""
    return (resources.files("tinykit.engine") / "c" / name).read_text(encoding="utf-8")


def _known(toolchain: str) -> None:
    if toolchain not in TOOLCHAINS:
        raise TinykitError(f"unknown toolchain {toolchain!r}; known are {', '.join(TOOLCHAINS)}")


def toolchain_version(toolchain: str) -> str:
    """What tells one version of a toolchain from another.

    Raises
    ------
    TinykitError
        An unknown toolchain, or one that is not installed (MissingToolError).
    """
    _known(toolchain)
    if toolchain == "zig":
        find_zig()
        return metadata.version("ziglang")
    return _version(find_gcc())


@lru_cache
def _version(compiler: str) -> str:
    done = subprocess.run(
        [compiler, "--version"], capture_output=True, text=True, timeout=60, check=False
    )
    return done.stdout

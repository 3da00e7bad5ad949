"""Building: what is missing is said, what was built is found again, nothing half-built stays."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.engine.nets import residual, samples_of
from tinykit.engine import BuildError, HostLibrary, build, cache, emulate
from tinykit.engine.cores import CORES
from tinykit.folders import cache_dir
from tinykit.graph import MissingToolError, TinykitError


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with nothing built in it; zig's own, which is slow to fill, stays."""
    monkeypatch.setenv("ZIG_GLOBAL_CACHE_DIR", str(cache_dir() / "zig"))
    monkeypatch.setenv("TINYKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_missing_compilers_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(build.shutil, "which", lambda name: None)
    with pytest.raises(MissingToolError, match="pip install ziglang"):
        emulate(residual(), samples_of(residual(), 1), toolchain="zig")
    with pytest.raises(MissingToolError, match="apt install gcc-arm-none-eabi"):
        emulate(residual(), samples_of(residual(), 1), toolchain="gcc")
    with pytest.raises(MissingToolError, match="no C compiler for this machine"):
        HostLibrary(residual())


def test_missing_qemu_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    from tinykit.engine import qemu

    monkeypatch.setattr(qemu.shutil, "which", lambda name: None)
    with pytest.raises(MissingToolError, match="apt install qemu-system-arm"):
        emulate(residual(), samples_of(residual(), 1), emulator="qemu")


@pytest.mark.skipif(not build.shutil.which("cc"), reason="no system compiler")
def test_the_system_compiler_does_as_well() -> None:
    (sample,) = samples_of(residual(), 1)
    found = HostLibrary(residual(), compiler="cc").run(sample)[0]
    assert found.tolist() == residual().run(sample)[0].tolist()


def test_refused_code_shows_what_the_compiler_said(empty_cache: Path) -> None:
    with pytest.raises(BuildError, match="undeclared_thing"):
        build.compile_target(
            {"a.c": "int model_invoke(void) { return undeclared_thing; }"},
            CORES["cortex-m4"], "model_invoke",
        )  # fmt: skip
    assert not list((empty_cache / "builds").iterdir())


def test_a_build_is_made_once(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"a.c": "int answer(void) { return 42; }"}
    first = build.compile_host(files)

    def never(*args: object, **kwargs: object) -> None:
        raise AssertionError("compiled again")

    monkeypatch.setattr(build.subprocess, "run", never)
    assert build.compile_host(files) == first
    with pytest.raises(AssertionError, match="compiled again"):
        build.compile_host({"a.c": "int answer(void) { return 43; }"})


def test_an_interrupted_build_leaves_nothing(empty_cache: Path) -> None:
    def interrupted(path: Path) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.cached("key", ".bin", interrupted)
    assert not list((empty_cache / "builds").iterdir())
    path = cache.cached("key", ".bin", lambda p: p.write_bytes(b"whole") and None)
    assert path.read_bytes() == b"whole"


def test_two_builders_at_once_do_not_disturb_each_other(empty_cache: Path) -> None:
    barrier, found = threading.Barrier(2), []

    def make(path: Path) -> None:
        path.write_bytes(b"x" * 1000)
        barrier.wait()

    threads = [
        threading.Thread(target=lambda: found.append(cache.cached("k", ".bin", make)))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0] == found[1]
    assert found[0].read_bytes() == b"x" * 1000


def test_old_builds_go_first(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    monkeypatch.setattr(cache, "KEEP", 4)
    made = []
    for n in range(5):
        made.append(cache.cached(f"key {n}", ".bin", lambda p: p.write_bytes(b"1") and None))
        if made[-1].exists():
            os.utime(made[-1], (n, n))
    left = {p.name for p in (empty_cache / "builds").iterdir()}
    assert made[-1].name in left
    assert made[0].name not in left
    assert len(left) <= 4


def test_a_cache_that_cannot_be_written_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TINYKIT_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")
    monkeypatch.setattr("sys.platform", "linux")
    path = cache_dir()
    (path / "probe").write_text("ok")
    (path / "probe").unlink()


def test_a_cache_that_was_chosen_and_cannot_be_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYKIT_CACHE", "/proc/nowhere")
    with pytest.raises(TinykitError, match="TINYKIT_CACHE=/proc/nowhere cannot be used"):
        HostLibrary(residual())


SANITIZE = [
    "-fsanitize=alignment,bounds,shift-exponent,integer-divide-by-zero,null,unreachable",
    "-fsanitize-trap=all",
]


def in_a_process(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_kernels_have_no_undefined_behaviour() -> None:
    """Random graphs on this machine with clang's checks, traps on: shifts, bounds, alignment.

    Alignment matters: a Cortex-M0+ faults on an unaligned access, which the emulator does not.
    """
    run = in_a_process(
        "import numpy as np\n"
        "from tests.engine.nets import collect\n"
        "from tests.strategies import inputs_for\n"
        "from tinykit.engine import HostLibrary\n"
        "for graph in collect(12, max_ops=8):\n"
        f"    library = HostLibrary(graph, 'zig', {SANITIZE})\n"
        "    for sample in inputs_for(graph, np.random.default_rng(0)):\n"
        "        library.run(*sample)\n"
        "print('done')\n"
    )
    assert run.stdout == "done\n", run.stderr[-2000:]


def test_the_checks_above_do_trap() -> None:
    run = in_a_process(
        "import ctypes\n"
        "from tinykit.engine.build import compile_host\n"
        "text = 'int f(int s, char *p) { return (1 << s) + *(int *)p; }'\n"
        f"library = ctypes.CDLL(str(compile_host({{'a.c': text}}, {SANITIZE}, 'zig')))\n"
        "buffer = ctypes.create_string_buffer(16)\n"
        "assert library.f(3, buffer) == 8\n"
        "print('alive', flush=True)\n"
        "library.f(3, ctypes.byref(buffer, 1))\n"
        "print('not caught')\n"
    )
    assert run.stdout == "alive\n"
    assert run.returncode < 0

"""Random graphs of every op: generated C on this machine and on emulated cores is the reference.

All graphs of one test go through one run of the compiler.
"""

from __future__ import annotations

import functools
import shutil

import numpy as np
import pytest

from tests import growers
from tests.engine.nets import agree, collect
from tests.strategies import inputs_for
from tinykit.engine import Emulation, HostLibrary, emulate_many
from tinykit.graph import Graph

Case = tuple[Graph, list[list[np.ndarray]], list[list[np.ndarray]]]


@functools.cache
def cases(count: int) -> list[Case]:
    rng = np.random.default_rng(5)
    made = []
    for graph in collect(count, max_ops=5):
        samples = inputs_for(graph, rng, random=1)
        made.append((graph, samples, [graph.run(*s) for s in samples]))
    return made


@functools.cache
def cases_of(kind: str) -> list[Case]:
    """A few graphs in which `kind` occurs, for each dtype that it takes."""
    rng = np.random.default_rng(6)
    made = []
    for dtype in sorted(growers.SUPPORTED[kind]):
        for graph in collect(6, must=kind, dtype=dtype, max_ops=1):
            samples = inputs_for(graph, rng, random=2)
            made.append((graph, samples, [graph.run(*s) for s in samples]))
    return made


def check(found: list[Case], core: str, toolchain: str) -> None:
    runs = emulate_many([c[0] for c in found], [c[1] for c in found], core, toolchain)
    compare(found, runs)


def compare(found: list[Case], runs: list[Emulation]) -> None:
    for (graph, _, expected), got in zip(found, runs, strict=True):
        for want, have in zip(expected, got.outputs, strict=True):
            for a, b in zip(want, have, strict=True):
                assert agree(a, b), ([op.kind for op in graph.ops], a, b)


@functools.cache
def emulated_by_kind() -> dict[str, list[Emulation]]:
    """`cases_of` every kind on the emulator, in one image."""
    found = {kind: cases_of(kind) for kind in growers.GROWERS}
    flat = [case for cases in found.values() for case in cases]
    runs = iter(emulate_many([c[0] for c in flat], [c[1] for c in flat]))
    return {kind: [next(runs) for _ in cases] for kind, cases in found.items()}


@pytest.mark.parametrize(
    ("core", "toolchain"),
    [
        ("cortex-m4", "zig"),
        ("cortex-m0plus", "zig"),
        ("cortex-m33", "gcc"),
        ("cortex-m55", "gcc"),
    ],
)
def test_random_graphs_emulated(core: str, toolchain: str) -> None:
    if toolchain == "gcc" and not shutil.which("arm-none-eabi-gcc"):
        pytest.skip("arm-none-eabi-gcc is not installed")
    if core == "cortex-m55" and not shutil.which("qemu-system-arm"):
        pytest.skip("qemu-system-arm is not installed")
    found = cases(200)
    assert len({op.kind for graph, _, _ in found for op in graph.ops}) >= 30
    check(found, core, toolchain)


@pytest.mark.parametrize("kind", sorted(growers.GROWERS))
def test_each_op_emulated(kind: str) -> None:
    found = cases_of(kind)
    assert all(kind in [op.kind for op in graph.ops] for graph, _, _ in found)
    compare(found, emulated_by_kind()[kind])


def test_random_graphs_on_this_machine() -> None:
    for graph, samples, expected in cases(200)[:12]:
        library = HostLibrary(graph)
        for sample, want in zip(samples, expected, strict=True):
            for a, b in zip(want, library.run(*sample), strict=True):
                assert agree(a, b), ([op.kind for op in graph.ops], a, b)


def test_floats_are_equal_on_every_core_bit_for_bit() -> None:
    """No fused multiply-adds and no library functions: hardware and software floats agree."""
    found = [c for c in cases(200) if any(t.dtype == "float32" for t in c[0].tensors)][:40]
    assert len(found) > 10
    graphs, samples = [c[0] for c in found], [c[1] for c in found]
    hard, soft = (emulate_many(graphs, samples, core) for core in ("cortex-m7", "cortex-m3"))
    for one, other in zip(hard, soft, strict=True):
        for a, b in zip(one.outputs, other.outputs, strict=True):
            assert [x.tobytes() for x in a] == [x.tobytes() for x in b]

"""Every schedule that any kernel offers, on random graphs: bit for bit what the reference gives.

On this machine the C of a Cortex-M4 runs with functions in the place of its instructions; the
emulated cores run the instructions themselves.
"""

from __future__ import annotations

import functools
import shutil

import numpy as np
import pytest

from tests.engine.nets import collect
from tests.engine.variants import Case, programs, run_on_host
from tests.layer_graphs import KINDS, layer_graphs
from tests.strategies import inputs_for
from tinykit.engine import emulate_many
from tinykit.engine.build import has_avx2
from tinykit.engine.kernel import KERNELS
from tinykit.graph import Graph

needs_qemu = pytest.mark.skipif(not shutil.which("qemu-system-arm"), reason="needs QEMU")
needs_gcc = pytest.mark.skipif(not shutil.which("arm-none-eabi-gcc"), reason="needs gcc for Arm")


@functools.cache
def layers(kind: str, count: int) -> list[Graph]:
    return collect(count, strategy=layer_graphs(kind))


#: kernels for other cores too are left to those: they are many
FAMILIES: dict[str, tuple[str, ...]] = {
    "cortex-m55": ("mve_",),
    "cortex-m3": ("plain_",),
    "cortex-m4": ("dsp_", "depthwise_plane", "add", "mul", "average_pool", "max_pool"),
}


def cases(graphs: list[Graph], core: str | None) -> list[Case]:
    rng = np.random.default_rng(8)
    made = []
    for graph in graphs:
        parts: dict[int, tuple[Graph, list[list[np.ndarray]], list[list[np.ndarray]]]] = {}
        for program in programs(graph, core, FAMILIES.get(core or "", ("",))):
            if id(program.graph) not in parts:
                samples = inputs_for(program.graph, rng, random=2)
                expected = [program.graph.run(*s) for s in samples]
                parts[id(program.graph)] = (program.graph, samples, expected)
            made.append(Case(program, *parts[id(program.graph)][1:]))
    return made


@pytest.mark.parametrize("core", ["cortex-m4", "cortex-m0plus", "cortex-m3", "cortex-m55", None])
@pytest.mark.parametrize("kind", KINDS)
def test_all_schedules_on_this_machine(kind: str, core: str | None) -> None:
    count = {"cortex-m4": 6, "cortex-m3": 3}.get(core or "", 4)
    for case, outputs in run_on_host(cases(layers(kind, count), core)):
        case.check(outputs)


@pytest.mark.skipif(not has_avx2(), reason="this machine has no AVX2")
@pytest.mark.parametrize("kind", ["conv", "depthwise", "dense"])
def test_all_schedules_with_wide_vectors(kind: str) -> None:
    for case, outputs in run_on_host(cases(layers(kind, 6), None), wide=True):
        case.check(outputs)


def test_all_schedules_of_small_graphs_on_this_machine() -> None:
    for case, outputs in run_on_host(cases(collect(60, dtype="int8", max_ops=4), "cortex-m4")):
        case.check(outputs)


@pytest.mark.parametrize(
    ("core", "toolchain"),
    [
        ("cortex-m4", "zig"),
        ("cortex-m0plus", "zig"),
        pytest.param("cortex-m0plus", "gcc", marks=needs_gcc),
        ("cortex-m3", "zig"),
        pytest.param("cortex-m55", "zig", marks=needs_qemu),
        pytest.param("cortex-m55", "gcc", marks=[needs_qemu, needs_gcc]),
    ],
)
def test_all_schedules_emulated(core: str, toolchain: str) -> None:
    found = [case for kind in KINDS for case in cases(layers(kind, 2), core)]
    runs = emulate_many([c.program for c in found], [c.samples[:5] for c in found], core, toolchain)
    for case, run in zip(found, runs, strict=True):
        Case(case.program, case.samples[:5], case.expected[:5]).check(run.outputs)


def test_these_graphs_meet_every_kernel() -> None:
    """A kernel that no random graph reaches would be tested by nothing here."""
    graphs = [g for kind in KINDS for g in layers(kind, 4)] + collect(60, dtype="int8", max_ops=4)
    met = {
        step.schedule.kernel
        for core in ("cortex-m4", "cortex-m0plus", "cortex-m55", None)
        for graph in graphs
        for program in programs(graph, core, FAMILIES.get(core or "", ("",)))
        for step in program.steps
        if step.schedule is not None
    }
    ours = {
        name for name, kernel in KERNELS.items() if not type(kernel).__module__.startswith("tests")
    }
    assert met >= ours, f"no graph here reaches {sorted(ours - met)}"

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
from tinykit.engine import HostLibrary, emulate_many
from tinykit.engine.build import has_avx2
from tinykit.engine.kernel import KERNELS
from tinykit.graph import Graph, GraphBuilder, Quantization, UnsupportedOpError

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


def odd_layer(kind: str, constant_input: bool, computed_bias: bool) -> Graph:
    """A layer whose input is a constant, or whose bias is not."""
    rng = np.random.default_rng(2)
    b = GraphBuilder(kind)
    quant = Quantization.per_tensor(0.02, 3)
    shape = (2, 4) if kind == "fully_connected" else (1, 4, 3, 4)
    x = b.input("x", shape, "int8", quant)
    data = x
    if constant_input:
        data = b.const(rng.integers(-128, 128, shape).astype(np.int8), quant)
    window = {"conv_2d": (4, 3, 3, 4), "depthwise_conv_2d": (1, 3, 3, 4), "fully_connected": (4, 4)}
    scale = Quantization.per_tensor(0.004)
    kernel = b.const(rng.integers(-127, 128, window[kind]).astype(np.int8), scale)
    values = rng.integers(-4000, 4000, 4).astype(np.int32)
    bias = b.input("bias", (4,), "int32", scale) if computed_bias else b.const(values)
    attrs = {"fused_activation_function": "none"}
    if kind != "fully_connected":
        attrs |= {"padding": "same", "stride_h": 1, "stride_w": 1}  # type: ignore[dict-item]
    if kind == "depthwise_conv_2d":
        attrs |= {"depth_multiplier": 1}  # type: ignore[dict-item]
    made = b.op(kind, [data, kernel, bias], shape, "int8", Quantization.per_tensor(0.05), **attrs)
    return b.finish([made, b.op("relu", [x], shape, "int8", quant)])


@pytest.mark.parametrize("core", ["cortex-m4", "cortex-m0plus", "cortex-m3", "cortex-m55", None])
@pytest.mark.parametrize("kind", ["conv_2d", "depthwise_conv_2d", "fully_connected"])
def test_constants_where_kernels_expect_none_and_the_reverse(kind: str, core: str | None) -> None:
    graph = odd_layer(kind, constant_input=True, computed_bias=False)
    sample = inputs_for(graph, np.random.default_rng(3), random=1)[0]
    for want, have in zip(
        graph.run(*sample), HostLibrary(graph, core=core).run(*sample), strict=True
    ):
        assert np.array_equal(want, have)
    with pytest.raises(UnsupportedOpError, match="a bias that is computed"):
        HostLibrary(odd_layer(kind, constant_input=False, computed_bias=True), core=core)

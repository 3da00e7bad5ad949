"""From accumulator to stored output in every family of kernels, at every value there is.

A 1x1 convolution of two channels over all pairs of inputs gives thousands of neighbouring
accumulators, so that each rounding threshold is met from both sides, ties and negative halves too.
"""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from tests.engine.variants import Case, run_on_host
from tinykit.engine import Options, arrange, emulate_many
from tinykit.engine.arrange import Program
from tinykit.engine.build import has_avx2
from tinykit.graph import Graph, GraphBuilder, Quantization

FAMILIES = {
    None: "host_conv",
    "cortex-m0plus": "plain_conv",
    "cortex-m3": "plain_conv",
    "cortex-m55": "mve_conv",
}


def layer(
    activation: str, zero: int, rows: int, seed: int, right: tuple[float, float] = (1.2, 12.8)
) -> Graph:
    """Channels with accumulators ``x0 + 127 x1`` and the like, scaled by about ``2**-right``."""
    rng = np.random.default_rng(seed)
    b = GraphBuilder(f"{activation} {zero}")
    quant = Quantization.per_tensor
    x = b.input("x", (1, rows, 256, 2), "int8", quant(1.0, -5))
    weights = np.array(
        [[1, 127], [1, -127], [3, 100], [-1, 1], [2, 4], [127, 127], [1, 64], [7, 0]]
    )
    weights = np.repeat(weights, 2, axis=0).astype(np.int8).reshape(16, 1, 1, 2)
    # powers of two among them: accumulators that end in exactly one half
    factors = 2.0 ** -rng.uniform(*right, 16)
    factors[::4] = 2.0 ** -np.ceil(rng.uniform(*right, 4))
    scales = Quantization(factors.astype(np.float32), np.zeros(16, np.int64), 0)
    bias = rng.integers(-3000, 3000, 16).astype(np.int32)
    y = b.op(
        "conv_2d", [x, b.const(weights, scales), b.const(bias)], (1, rows, 256, 16), "int8",
        quant(1.0, zero), padding="same", fused_activation_function=activation,
    )  # fmt: skip
    return b.finish([y])


WAYS = [("none", 3, 0), ("none", -128, 1), ("relu", -128, 2), ("relu6", -20, 3), ("relu", 0, 4)]


def every_pair(rows: range) -> np.ndarray:
    made = np.empty((1, len(rows), 256, 2), np.int8)
    made[..., 0] = np.arange(-128, 128)
    made[..., 1] = np.array(rows)[:, None] - 128
    return made


def programs(core: str | None, rows: int, sample: np.ndarray) -> list[Case]:
    cases = []
    for activation, zero, seed in WAYS:
        graph = layer(activation, zero, rows, seed)
        program = arrange(graph, core, Options(use_table=False))
        assert taken(program) == FAMILIES[core]
        cases.append(Case(program, [[sample]], [graph.run(sample)]))
    return cases


def taken(program: Program) -> str:
    schedule = program.steps[0].schedule
    return schedule.kernel if schedule else ""


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("core", list(FAMILIES))
def test_every_accumulator_on_this_machine(core: str | None, wide: bool) -> None:
    if wide and (core is not None or not has_avx2()):
        pytest.skip("wide vectors are for this machine's kernels, where it has them")
    cases = programs(core, 256, every_pair(range(256)))
    for case, outputs in run_on_host(cases, wide):
        case.check(outputs)
        assert len(np.unique(outputs[0][0])) >= 7  # not all of them at a limit


@pytest.mark.parametrize("core", [core for core in FAMILIES if core])
def test_many_accumulators_emulated(core: str) -> None:
    if core == "cortex-m55" and not shutil.which("qemu-system-arm"):
        pytest.skip("qemu-system-arm not installed")
    cases = programs(core, 6, every_pair(range(0, 256, 50)))
    runs = emulate_many([c.program for c in cases], [c.samples for c in cases], core)
    for case, run in zip(cases, runs, strict=True):
        case.check(run.outputs)


@pytest.mark.parametrize(
    ("core", "right"),
    [
        (None, (13.5, 16.0)),  # too few bits of a double are left
        ("cortex-m0plus", (-2.0, -0.5)),  # shifts to the left
        ("cortex-m55", (-2.0, -0.5)),
    ],
)
def test_no_kernel_where_exactness_cannot_be_shown(
    core: str | None, right: tuple[float, float]
) -> None:
    graph = layer("none", 3, 2, 5, right)
    program = arrange(graph, core, Options(use_table=False))
    assert taken(program) == ""
    sample = every_pair(range(2))
    case = Case(program, [[sample]], [graph.run(sample)])
    for _, outputs in run_on_host([case]):
        case.check(outputs)

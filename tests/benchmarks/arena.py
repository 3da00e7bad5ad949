"""The arena of programs for a Cortex-M4, whole and in patches, and what patches cost.

The limits are shares of what TFLite Micro with CMSIS-NN takes on a Cortex-M4, found once with gcc
12.2 and MLPerf Tiny's models; its arena on this machine, measured in the same run, stands beside
them (pointers are twice as wide here: 1 to 3 KB more). Instructions are counted in gcc's code where
there is a gcc for Arm, else in zig's.
"""

from __future__ import annotations

import shutil
import time
from typing import Any

import numpy as np

from tests.benchmarks import Figure, at_most, plain
from tests.benchmarks._models import absent, find_models
from tinykit.engine import Emulation, emulate
from tinykit.engine.patches import Choice, Chooser, NoFit
from tinykit.formats import tflite
from tinykit.graph import Graph
from tinykit.targets import tflm
from tinykit.targets.counts import sample_inputs

CORE = "cortex-m4"
#: bytes, on a Cortex-M4
TFLM = {
    "kws": 22_820,
    "image classification": 54_996,
    "wake-words shape": 100_708,
    "anomaly shape": 2_580,
}
#: shares of them without and with patches; patches are for images
WHOLE = {"kws": 0.5, "image classification": 0.65, "wake-words shape": 0.5}
PATCHED = 0.35
#: patches may cost this many times the instructions
SLOWER = 1.25


def run() -> list[Figure]:
    figures = []
    for name, path in find_models(own=True).items():
        if path is None:
            figures.append(plain(absent(name), None, "B"))
        else:
            figures += _figures(name, tflite.read_file(str(path)))
    return figures


def _figures(name: str, graph: Graph) -> list[Figure]:
    chooser, beside = Chooser(graph, CORE), _tflm(graph)
    whole = chooser.fit()
    line = TFLM[name]
    if name not in WHOLE:
        return [
            plain(f"{name}: arena, TFLite Micro's on the core {line:,}", whole.arena_bytes, "B",
                  beside),
            plain(f"{name}: arena over its lower bound", 100 * whole.program.plan.gap, "%"),
        ]  # fmt: skip
    first = _run(whole, graph)
    share = WHOLE[name]
    figures = [
        at_most(f"{name}: arena, {share} x TFLite Micro's {line:,} at most", whole.arena_bytes,
                "B", int(share * line), beside),
        plain(f"{name}: arena over its lower bound", 100 * whole.program.plan.gap, "%"),
    ]  # fmt: skip
    limit = int(PATCHED * line)
    started = time.perf_counter()
    try:
        patched = chooser.fit(limit)
    except NoFit as error:
        patched = error.best
    seconds = time.perf_counter() - started
    second = _run(patched, graph)
    made = patched.patched
    how = "no patches" if made is None else f"{made.patches.strips} strips, {made.patches.halo}"
    return [
        *figures,
        at_most(f"{name}: arena with patches ({how}), {PATCHED} x at most", patched.arena_bytes,
                "B", limit, beside),
        at_most(f"{name}: instructions with patches, times those without",
                second.instructions / first.instructions, "x", SLOWER,
                {"name": "without", "value": first.instructions}),
        plain(f"{name}: MACs computed twice", 0 if made is None else made.recompute_macs, "MAC"),
        plain(f"{name}: arena with patches over its lower bound", 100 * patched.program.plan.gap,
              "%"),
        plain(f"{name}: flash with patches", second.flash.total, "B",
              {"name": "without", "value": first.flash.total}),
        plain(f"{name}: stack with patches", second.ram.stack, "B",
              {"name": "without", "value": first.ram.stack}),
        plain(f"{name}: choosing the patches", seconds, "s"),
        plain(f"{name}: the smallest arena there is with patches", chooser.smallest().arena_bytes,
              "B"),
    ]  # fmt: skip


def _run(choice: Choice, graph: Graph) -> Emulation:
    """Counted on the emulator, and the outputs are the reference interpreter's."""
    sample = sample_inputs(graph)
    toolchain = "gcc" if shutil.which("arm-none-eabi-gcc") else "zig"
    found = emulate(choice.program, [sample], CORE, toolchain)
    for want, have in zip(graph.run(*sample), found.outputs[0], strict=True):
        if not np.array_equal(want, have):
            raise AssertionError(f"{graph.name}: the outputs differ from the reference's")
    return found


def _tflm(graph: Graph) -> dict[str, Any]:
    arena = tflm.run(tflite.write(graph), sample_inputs(graph)).arena_bytes
    return {"name": "TFLite Micro here", "value": arena}

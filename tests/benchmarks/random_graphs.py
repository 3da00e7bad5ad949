"""Random graphs over all ops: reference and emulated C against TFLite Micro's own outputs.

Integer outputs count as differing when any bit does, float outputs beyond rounding. Every schedule
of every kernel: `random_schedules`.
"""

from __future__ import annotations

import shutil

import numpy as np

from tests import growers
from tests.benchmarks import Figure, at_least, at_most, plain
from tests.engine.nets import agree, collect
from tests.strategies import inputs_for
from tinykit.engine import emulate_many
from tinykit.formats.tflite import write
from tinykit.targets.tflm import TflmSession

#: graphs of any ops, graphs that contain one given op (for each op), graphs that are emulated too
GRAPHS, EACH, EMULATED = 350, 5, 310
CORES = ("cortex-m0plus", "cortex-m4", "cortex-m7", "cortex-m33")

Outputs = list[list[np.ndarray]]


def run() -> list[Figure]:
    graphs = collect(GRAPHS, max_ops=5)
    for kind in growers.GROWERS:
        graphs += collect(EACH, must=kind, max_ops=3)
    rng = np.random.default_rng(7)
    samples = [inputs_for(graph, rng) for graph in graphs]
    with TflmSession() as tflm:
        expected = [tflm.run(write(g), s).outputs for g, s in zip(graphs, samples, strict=True)]
    ours = [[g.run(*one) for one in s] for g, s in zip(graphs, samples, strict=True)]
    kinds = {op.kind for graph in graphs for op in graph.ops}
    integer = sum(all(t.dtype != "float32" for t in g.tensors) for g in graphs)
    figures = [
        at_least("random graphs, reference against TFLite Micro", len(graphs), "graphs", 300),
        plain("of them integer throughout, compared bit for bit", integer, "graphs"),
        plain("samples run through them", sum(map(len, samples)), "samples"),
        at_least(
            "op kinds in them, of those TFLite Micro has",
            len(kinds & set(growers.GROWERS)),
            "kinds",
            len(growers.GROWERS),
        ),
        at_most("reference: graphs that differ", _differing(expected, ours), "graphs", 0),
    ]
    # spread over all of them, so that the emulated part is no other kind of graph
    some = [round(i) for i in np.linspace(0, len(graphs) - 1, EMULATED)]
    few = [samples[i][:3] for i in some]
    helium = shutil.which("arm-none-eabi-gcc") and shutil.which("qemu-system-arm")
    for core in (*CORES, *(["cortex-m55"] if helium else [])):
        toolchain = "gcc" if core == "cortex-m55" else "zig"
        runs = emulate_many([graphs[i] for i in some], few, core, toolchain)
        wanted = [expected[i][:3] for i in some]
        figures += [
            at_least(f"random graphs, generated C on an emulated {core}", len(runs), "graphs", 300),
            at_most(
                f"{core}: graphs that differ",
                _differing(wanted, [list(r.outputs) for r in runs]),
                "graphs",
                0,
            ),
        ]
    return figures


def _differing(expected: list[Outputs], got: list[Outputs]) -> int:
    return sum(
        not all(
            agree(a, b)
            for want, have in zip(e, g, strict=True)
            for a, b in zip(want, have, strict=True)
        )
        for e, g in zip(expected, got, strict=True)
    )

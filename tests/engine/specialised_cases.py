"""What tests of specialised kernels share: every schedule of a graph's layers, run everywhere."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinykit.engine import HostLibrary
from tinykit.engine.arrange import candidates
from tinykit.engine.cores import find_core
from tinykit.engine.emulator import emulate
from tinykit.engine.layer import Layer
from tinykit.engine.options import Options
from tinykit.engine.schedule import Schedule
from tinykit.graph import Graph


def variants(graph: Graph, core: str | None, options: Options | None = None) -> list[Options]:
    """Options that lead the layers of `graph` through all of their schedules, one each a turn."""
    options = options or Options()
    target = None if core is None else find_core(core)
    found: dict[str, list[Schedule]] = {}
    for position in range(len(graph.ops)):
        layer = Layer(graph, position)
        found[layer.key] = candidates((layer,), target, options)
    turns = max((len(schedules) for schedules in found.values()), default=0)
    return [
        Options(
            simd=options.simd,
            unroll=options.unroll,
            fuse=False,
            schedules={key: s[min(n, len(s) - 1)] for key, s in found.items() if s},
            use_table=False,
        )
        for n in range(turns)
    ]


def served(graph: Graph, core: str | None) -> list[bool]:
    """For each op, whether a specialised kernel takes it."""
    target = None if core is None else find_core(core)
    return [bool(candidates((Layer(graph, n),), target, Options())) for n in range(len(graph.ops))]


def check(
    graph: Graph,
    samples: Sequence[Sequence[np.ndarray]],
    core: str | None,
    emulated: bool = False,
    toolchain: str = "zig",
) -> None:
    """Every schedule gives the reference's very bits, on this machine or emulated."""
    expected = [graph.run(*sample) for sample in samples]
    for options in variants(graph, core):
        if emulated:
            assert core is not None
            made = emulate(graph, samples, core, toolchain, options=options).outputs
        else:
            library = HostLibrary(graph, core=core, options=options)
            made = [library.run(*sample) for sample in samples]
        for want, got in zip(expected, made, strict=True):
            for number, (a, b) in enumerate(zip(want, got, strict=True)):
                wrong = np.argwhere(a != b)
                assert not len(wrong), (
                    f"{graph.ops[number].kind} {number} on {core}, {toolchain}: {len(wrong)} of "
                    f"{a.size} differ, first at {wrong[0]}; "
                    f"{[str(s) for s in options.schedules.values()]}"
                )

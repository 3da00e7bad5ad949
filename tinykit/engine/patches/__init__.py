"""Patch-based inference: a part of a network in strips of rows, so that its images never lie whole.

After MCUNetV2 (Lin et al., 2021, "MCUNetV2: Memory-Efficient Patch-based Inference for Tiny Deep
Learning"), where each patch computes its whole receptive field and overlaps are computed twice; or
with the overlap kept, row by row, in line buffers. The strips are ordinary ops of a rewritten graph
(`rewrite`), so that the interpreter proves them exact and planner and code generator know nothing
of them.

>>> chooser = Chooser(graph, "cortex-m4")
>>> chooser.fit(8192).program          # the cheapest program with an arena of at most 8 KiB
>>> chooser.apply(strips=4, halo="recompute").patched.graph
"""

from __future__ import annotations

from tinykit.engine.cores import Core
from tinykit.engine.options import Options
from tinykit.engine.patches.choose import Choice, Chooser, NoFit
from tinykit.engine.patches.configuration import HALOS, Patched, Patches
from tinykit.graph.ir import Graph

__all__ = ["HALOS", "Choice", "Chooser", "NoFit", "Patched", "Patches", "apply"]


def apply(
    graph: Graph,
    strips: int = 4,
    halo: str = "keep",
    core: str | Core | None = "cortex-m4",
    options: Options | None = None,
) -> Patched:
    """`graph` with the region in strips that gains most by it; see `Chooser.apply`.

    Parameters
    ----------
    strips : about how many, 2 or more
    halo : "recompute" (rows that two strips need are made twice) or "keep" (line buffers)
    core, options : for which the memory is looked at

    Returns
    -------
    Patched, with ``.graph``, and in ``.origin`` the position of the old op for each of its ops

    Raises
    ------
    TinykitError
        `strips` or `halo` make no sense, or no part of the graph works row by row.
    """
    patched = Chooser(graph, core, options).apply(strips, halo).patched
    assert patched is not None
    return patched

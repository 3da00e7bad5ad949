"""One schedule for all strips of a layer, so that they share its rearranged weights.

The best schedule depends on how many rows a strip has, and weights lie in flash in the order in
which a schedule reads them: strips of different schedules would hold them twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tinykit.engine.arrange import Step, candidates
from tinykit.engine.cores import Core
from tinykit.engine.kernel import KERNELS
from tinykit.engine.layer import Layer
from tinykit.engine.options import Options
from tinykit.engine.patches.configuration import Patched
from tinykit.engine.schedule import Schedule


def alike_strips(
    patched: Patched, steps: Sequence[Step], core: Core | None, options: Options
) -> tuple[Step, ...]:
    """`steps` with the schedule that most strips of a layer have, where the others have it too."""
    made = list(steps)
    strips: dict[tuple[int, ...], list[int]] = {}
    for n, step in enumerate(steps):
        if step.schedule is not None:
            whole = tuple(patched.origin[position] for position in step.positions)
            strips.setdefault(whole, []).append(n)
    offered: dict[tuple[str, ...], list[Schedule]] = {}
    for numbers in strips.values():
        (common, _), *others = Counter(steps[n].schedule for n in numbers).most_common()
        if not others or common is None:
            continue
        for n in numbers:
            if steps[n].schedule == common:
                continue
            layers = tuple(Layer(patched.graph, position) for position in steps[n].positions)
            key = tuple(layer.key for layer in layers)
            if key not in offered:
                offered[key] = candidates(layers, core, options)
            if common in offered[key]:
                needs = KERNELS[common.kernel].needs(layers, common)
                made[n] = Step(steps[n].positions, common, needs)
    return tuple(made)

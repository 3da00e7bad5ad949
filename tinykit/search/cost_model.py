"""A learned cost model: which schedules of a layer are worth counting, from what others took.

What TVM's tuners do with a model between the candidates and the device: here ridge regression, on
the logarithm of a schedule's cost against the mean of its layer. It only ranks; what is chosen was
counted.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from math import ceil, log

import numpy as np

from tinykit.engine.schedule import Schedule
from tinykit.search.trials import Trial

#: strength of the ridge: what a feature must explain before it is believed
RIDGE = 0.3

_SHAPE = re.compile(r"^(\d+(?:x\d+)*)\.\w+$")


@lru_cache(maxsize=4096)
def dimensions(key: str) -> dict[str, int]:
    """What the key of a layer or chain says of its sizes.

    ``rows``, ``columns`` and ``channels`` of the output, ``taps`` (the first layer's window),
    ``depth`` (channels that one output sums over) and ``stride``.
    """
    layers = [layer.split(" ") for layer in key.split(" > ")]
    first, last = layers[0], layers[-1]
    before, _, after = " ".join(first).partition(" to ")
    ins = [shape for word in before.split(" ")[1:] if (shape := _shape(word))]
    out = _shape(last[last.index("to") + 1]) or (1,)
    rest = [word.partition("=") for word in after.split(" ")]
    attrs = {name: int(value) for name, _, value in rest if value.isdigit()}
    depth, taps = ins[0][-1] if ins and ins[0] else 1, 1
    if "filter_height" in attrs or "filter_width" in attrs:
        taps = attrs.get("filter_height", 1) * attrs.get("filter_width", 1)
    elif len(ins) > 1 and len(ins[1]) == 4 and first[0] != "add":
        taps = ins[1][1] * ins[1][2]
    if first[0] == "depthwise_conv_2d" and len(layers) == 1:
        depth = 1
    image = len(out) == 4
    return {
        "rows": out[1] if image else 1,
        "columns": out[2] if image else 1,
        "channels": out[-1] if out else 1,
        "taps": taps,
        "depth": depth,
        "stride": attrs.get("stride_w", 1),
    }


def _shape(word: str) -> tuple[int, ...]:
    found = _SHAPE.match(word)
    return tuple(int(n) for n in found[1].split("x")) if found else ()


def features(key: str, schedule: Schedule) -> dict[str, float]:
    """Numbers by name: the kernel, each knob's value, both times the layer's log sizes, and how
    much of its work a knob that divides a size throws away."""
    sizes = dimensions(key)
    kernel = schedule.kernel
    made = {kernel: 1.0}
    for size, value in sizes.items():
        made[f"{kernel}*{size}"] = log(value)
    for knob, value in schedule.knobs:
        name = f"{kernel}.{knob}={value}"
        made[name] = 1.0
        made[f"{kernel}.{knob}"] = log(1 + abs(value))
        made[f".{knob}={value}"] = 1.0  # what kernels call by one name often is one thing
        for size, extent in sizes.items():
            made[f"{name}*{size}"] = log(extent)
            if value > 1:
                made[f"{kernel}.{knob} wastes {size}"] = log(ceil(extent / value) * value / extent)
                made[f"{kernel}.{knob} turns {size}"] = log(max(extent / value, 1.0))
    return made


@dataclass(frozen=True)
class CostModel:
    """Predicts how schedules of a layer compare; `fit` makes one, without trials it knows nothing.

    Attributes
    ----------
    weights : of each feature
    """

    weights: dict[str, float] = field(default_factory=dict)

    @classmethod
    def fit(cls, trials: Iterable[tuple[str, Trial]], objective: str = "instructions") -> CostModel:
        """Learn from trials, each with its layer's key; those that failed teach nothing.

        Layers with a single trial say nothing about which schedule is better and are left out.
        """
        layers: dict[str, list[Trial]] = defaultdict(list)
        for key, trial in trials:
            if trial.comparable(objective) and trial.cost(objective) > 0:
                layers[key].append(trial)
        rows, targets = [], []
        names: dict[str, int] = {}
        for key, tried in layers.items():
            if len(tried) < 2:
                continue
            costs = np.log([trial.cost(objective) for trial in tried])
            targets.append(costs - costs.mean())
            found = [features(key, trial.schedule) for trial in tried]
            for row in found:
                for name in row:
                    names.setdefault(name, len(names))
            rows.append(found)
        if not rows:
            return cls()
        blocks = []
        for found in rows:
            block = np.zeros((len(found), len(names)))
            for n, row in enumerate(found):
                for name, value in row.items():
                    block[n, names[name]] = value
            # what all schedules of a layer share cannot tell them apart
            blocks.append(block - block.mean(axis=0))
        x, y = np.concatenate(blocks), np.concatenate(targets)
        scale = np.sqrt(np.mean(x**2, axis=0)) + 1e-9
        x = x / scale
        if len(x) < len(names):  # the same solution by the smaller system
            solved = x.T @ np.linalg.solve(x @ x.T + RIDGE * np.eye(len(x)), y)
        else:
            solved = np.linalg.solve(x.T @ x + RIDGE * np.eye(len(names)), x.T @ y)
        return cls(dict(zip(names, (solved / scale).tolist(), strict=True)))

    def predict(self, key: str, schedules: Sequence[Schedule]) -> np.ndarray:
        """Cost of each schedule as a factor of the layer's geometric mean over them, (n,)."""
        known = [
            sum(self.weights.get(name, 0.0) * value for name, value in features(key, s).items())
            for s in schedules
        ]
        found = np.array(known, float)
        return np.asarray(np.exp(found - found.mean())) if found.size else found

    def rank(self, key: str, schedules: Sequence[Schedule]) -> list[Schedule]:
        """`schedules`, the cheapest predicted first; in the given order where nothing is known."""
        order = np.argsort(self.predict(key, schedules), kind="stable")
        return [schedules[n] for n in order]

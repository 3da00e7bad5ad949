"""Whole data sets on this machine: the host library beside numpy's reference and LiteRT."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.benchmarks._figure import Figure, at_least, plain
from tests.benchmarks._models import absent, find_models
from tinykit.engine import PLAIN, HostLibrary
from tinykit.formats import tflite
from tinykit.graph import Graph, TinykitError
from tinykit.targets import litert

#: how many times faster than the reference interpreter a batch has to be
TIMES = 5
#: samples that the slow ones are timed on, and the library's batch
FEW, MANY = 6, 400
#: the best of so many turns counts
TURNS = 5


def run() -> list[Figure]:
    figures = []
    for name, path in find_models(own=True).items():
        if path is None:
            figures.append(Figure(absent(name), None, "×"))
            continue
        figures += measure(name, tflite.read_file(path), path.read_bytes())
    return figures


def measure(name: str, graph: Graph, model: bytes) -> list[Figure]:
    """Samples a second of each, in turns, one thread each."""
    rng = np.random.default_rng(0)
    batch = rng.integers(-128, 128, (MANY, *graph.input.shape), dtype=np.int8)
    library, shared = HostLibrary(graph), HostLibrary(graph, options=PLAIN)
    expected = np.concatenate([graph.run(sample)[0] for sample in batch[:FEW]])
    for each in (library, shared):
        if not np.array_equal(each.predict(batch[:FEW]).ravel(), expected.ravel()):
            raise AssertionError(f"{name}: the host library's outputs are not the reference's")
    took: dict[str, list[float]] = {}
    for _ in range(TURNS):
        for key, count, work in (
            ("numpy", FEW, lambda: [graph.run(sample) for sample in batch[:FEW]]),
            ("library", MANY, lambda: library.predict(batch, threads=1)),
            ("plain", MANY // 4, lambda: shared.predict(batch[: MANY // 4], threads=1)),
        ):
            took.setdefault(key, []).append(seconds(work) / count)
    best = {key: min(times) for key, times in took.items()}
    rate = 1 / best["library"]
    peer = beside(model, batch)
    return [
        at_least(f"{name}: host library, times numpy", best["numpy"] / best["library"], "×", TIMES),
        plain(f"{name}: host library", rate, "samples/s", peer),
        plain(
            f"{name}: host library, times the shared kernels", best["plain"] / best["library"], "×"
        ),
    ]


def beside(model: bytes, batch: np.ndarray) -> dict[str, Any]:
    """What LiteRT does in a second: many samples less few, so that loading does not count."""
    some = 100
    inputs = [[sample] for sample in batch[: some + 1]]
    try:
        litert.run(model, inputs[:1])
        one = min(seconds(lambda: litert.run(model, inputs[:1])) for _ in range(TURNS))
        all_ = min(seconds(lambda: litert.run(model, inputs)) for _ in range(TURNS))
    except TinykitError as error:
        return {"name": f"LiteRT ({error})", "value": None}
    return {
        "name": "LiteRT, one sample a call, samples/s",
        "value": some / (all_ - one) if all_ > one else None,
    }


def seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun

"""Damages models many times and reads them: each gives a Graph or a ModelFormatError, soon.

``python -m tests.fuzz.fuzz_tflite --count 20000 --seed 0`` prints what came out. Targets are models
that the kit writes, and every ``.tflite`` found in TINYKIT_MODELS or beside the checkout.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tests.formats.models import MODELS
from tests.fuzz.mutations import MUTATIONS, Target
from tinykit.engine import generate
from tinykit.engine.plan import plan
from tinykit.formats.tflite import read, write
from tinykit.formats.tflite.flatbuffer import Budget, root
from tinykit.formats.tflite.reader import ALLOCATION_BASE, ALLOCATION_FACTOR
from tinykit.formats.tflite.schema import Slot
from tinykit.graph import Graph, ModelFormatError, TinykitError

#: seconds after which reading counts as hanging
READING_LIMIT = 10
#: graphs up to these sizes are also planned, run and written
MOST_MACS, MOST_BYTES, RUNNING_LIMIT = 10_000_000, 4 << 20, 30


@dataclass
class Report:
    """Counts of outcomes, the worst costs, and what must not happen."""

    outcomes: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    largest: float = 0.0  # peak allocation as part of what the reader's bound allows
    failures: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"{count:7d} {name}" for name, count in sorted(self.outcomes.items())]
        lines.append(f"slowest read {self.slowest * 1e3:.0f} ms")
        lines.append(f"largest allocation {self.largest:.1%} of the bound")
        lines += [f"FAILED {failure}" for failure in self.failures[:20]]
        return "\n".join([*lines, f"{len(self.failures)} failures"])


class _TooSlow(BaseException):
    """Not an Exception, so that nobody on the way takes it for one of his own."""


@contextmanager
def _limit(seconds: float) -> Iterator[None]:
    def stop(*_: Any) -> None:
        raise _TooSlow

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def targets(outside: bool = True) -> list[Target]:
    """Models of the kit's own writer and, if `outside`, those that others made."""
    files = {f"{make.__name__}": write(make()) for make in MODELS}
    folder = Path(os.environ.get("TINYKIT_MODELS", Path(__file__).parents[3] / "shared" / "models"))
    if outside and folder.is_dir():
        files.update({p.name: p.read_bytes() for p in sorted(folder.glob("*.tflite"))})
    return [Target(name, data, _bulk(data)) for name, data in files.items()]


def _bulk(data: bytes) -> list[tuple[int, int]]:
    buffers = root(data, Budget(len(data))).tables(Slot.MODEL_BUFFERS, "buffer", 8)
    start = np.frombuffer(data, np.uint8).ctypes.data
    found = (b.vector(Slot.BUFFER_DATA, "u1") for b in buffers)
    return [(v.ctypes.data - start, v.ctypes.data - start + v.size) for v in found if v is not None]


def fuzz(count: int, seed: int, outside: bool = True, run: bool = True) -> Report:
    """Read `count` damaged files; `run` also plans, runs and writes the sound ones among them."""
    report, models = Report(), targets(outside)
    seen: set[tuple[Any, ...]] = set()
    tracemalloc.start()
    try:
        for number in range(count):
            rng = np.random.default_rng([seed, number])
            target = models[int(rng.integers(len(models)))]
            mutate = MUTATIONS[int(rng.integers(len(MUTATIONS)))]
            data = mutate(target, rng, models)
            label = f"number {number} (seed {seed}): {mutate.__name__} of {target.name}"
            graph = _read(data, label, report)
            if graph is None or not run:
                continue
            shape = _structure(graph)
            if shape not in seen:
                seen.add(shape)
                _use(graph, label, report)
    finally:
        tracemalloc.stop()
    return report


def _read(data: bytes, label: str, report: Report) -> Graph | None:
    tracemalloc.reset_peak()
    held, start = tracemalloc.get_traced_memory()[0], time.perf_counter()
    graph = None
    try:
        with _limit(READING_LIMIT):
            graph = read(data)
        report.outcomes["read: a graph"] += 1
    except ModelFormatError as error:
        report.outcomes["read: ModelFormatError"] += 1
        if len(str(error)) < 10:
            report.failures.append(f"{label}: says only {error}")
    except _TooSlow:
        report.failures.append(f"{label}: took over {READING_LIMIT} s to read")
    except Exception as error:
        report.failures.append(f"{label}: reading raised {error!r}")
    bound = ALLOCATION_FACTOR * len(data) + ALLOCATION_BASE
    used = (tracemalloc.get_traced_memory()[1] - held) / bound
    report.largest = max(report.largest, used)
    report.slowest = max(report.slowest, time.perf_counter() - start)
    if used > 1:
        report.failures.append(f"{label}: allocated {used:.1f} times the bound")
    return graph


def _structure(graph: Graph) -> tuple[Any, ...]:
    """What running depends on but for the weights' values, to run each kind of damage once."""
    tensors = tuple(
        (t.shape, t.dtype, t.quant and (t.quant.scale.tobytes(), t.quant.zero_point.tobytes()),
         t.data.tobytes() if t.data is not None and t.dtype in ("int32", "int64") else t.is_const)
        for t in graph.tensors
    )  # fmt: skip
    ops = tuple((o.kind, o.inputs, o.outputs, tuple(o.attrs.items())) for o in graph.ops)
    return tensors, ops, graph.inputs, graph.outputs


def _use(graph: Graph, label: str, report: Report) -> None:
    """Plan, generate C, write, read back and run a graph; only a TinykitError may come of it."""
    size = sum(t.nbytes for t in graph.tensors)
    if graph.macs > MOST_MACS or size > MOST_BYTES:
        report.outcomes["used: too large to run"] += 1
        return
    steps = {
        "planned": lambda: plan(graph),
        "generated": lambda: generate(graph),
        "written": lambda: _structure(read(write(graph), fold=False)),
        "run": lambda: graph.run(
            *(np.zeros(graph.tensors[i].shape, graph.tensors[i].numpy_dtype) for i in graph.inputs)
        ),
    }
    for name, step in steps.items():
        try:
            with _limit(RUNNING_LIMIT), np.errstate(all="ignore"):
                step()
            report.outcomes[f"used: {name}"] += 1
        except TinykitError:
            report.outcomes[f"used: {name}, refused"] += 1
        except _TooSlow:
            report.failures.append(f"{label}: hangs when {name}")
        except Exception as error:
            report.failures.append(f"{label}: {error!r} when {name}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    start = time.perf_counter()
    report = fuzz(arguments.count, arguments.seed)
    print(f"{arguments.count} files in {time.perf_counter() - start:.0f} s\n{report}")
    sys.exit(bool(report.failures))


if __name__ == "__main__":
    main()

"""The main job: one network in several compressed forms, each taken all the way to a chip.

Every form becomes a Graph, a ``.tflite`` file, a run in TFLite Micro over the test examples (its
accuracy is measured there), and C on an emulated core (flash, SRAM and instructions are counted
there). All of them are compared with TFLite Micro, bit for bit where they are integers.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import tinykit as tk
from tinykit.graph.errors import MissingToolError, TinykitError
from tinykit.graph.ir import Graph
from tinykit.targets.boards import load as load_board
from tinykit.targets.compare import Comparison, compare
from tinykit.targets.profile import Column, Profile

log = logging.getLogger(__name__)

#: share of the weights that the pruned forms lose, in whole channels
PRUNED = 0.7
#: test examples that TFLite Micro classifies, at most
TESTED = 1000
#: inputs on which every backend is compared with TFLite Micro
VERIFIED = 6

ACCURACY = "accuracy"
FILE = "file_bytes"
DIFFER = "mismatches"


@dataclass(frozen=True)
class Row:
    """One form of the network and what it costs."""

    name: str
    graph: Graph
    profile: Profile
    accuracy: float
    file: Path
    mismatches: int
    seconds: float


@dataclass
class DemoResult:
    """Everything the main job found; the report is made of it."""

    dataset: str
    model: str
    target: str
    tested: int
    rows: list[Row] = field(default_factory=list)
    seconds: float = 0.0
    training: list[str] = field(default_factory=list)

    def __getitem__(self, name: str) -> Row:
        for row in self.rows:
            if row.name == name:
                return row
        raise KeyError(name)

    def comparison(self) -> Comparison:
        """The table: forms by costs, with units and provenance."""
        table = compare({r.name: r.profile for r in self.rows}, load_board(self.target))
        table = table.with_column(
            Column(
                FILE, "B", "counted", "size of the .tflite file, with names and quantization tables"
            ),
            {r.name: r.file.stat().st_size for r in self.rows},
        )
        table = table.with_column(
            Column(
                DIFFER,
                "outputs",
                "counted",
                f"output elements in which the reference interpreter, the C on this machine or the "
                f"C on the emulated core differ from TFLite Micro, on {VERIFIED} inputs (floats: "
                "beyond rounding)",
            ),
            {r.name: r.mismatches for r in self.rows},
        )
        return table.with_column(
            Column(
                ACCURACY,
                "%",
                "measured",
                f"share of {self.tested} test examples that TFLite Micro classifies correctly",
            ),
            {r.name: round(100 * r.accuracy, 2) for r in self.rows},
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "dataset": self.dataset,
            "model": self.model,
            "target": self.target,
            "seconds": round(self.seconds, 2),
            "table": self.comparison().to_dict(),
            "profiles": {r.name: r.profile.to_dict() for r in self.rows},
        }


def run_demo(
    dataset: str | None = None,
    out: Path = Path("report"),
    target: str = "stm32f446",
    seed: int = 0,
    say: Callable[[str], None] | None = print,
    epochs: int | None = None,
) -> DemoResult:
    """Do the main job, write the report into `out`, and return what was found.

    Parameters
    ----------
    dataset : "digits" (the default: it ships) or "fashion_mnist" (minutes rather than seconds)
    target : a board's name
    say : what gets each line for people; None for silence
    epochs : of the float training; None lets the data decide

    Raises
    ------
    DataError, MissingToolError, UnknownTargetError
    """
    tell = say or (lambda _: None)
    if "torch" not in sys.modules and dataset != "fashion_mnist":
        # networks this small train no faster on two threads, and far slower on a busy machine
        os.environ.setdefault("OMP_NUM_THREADS", "1")
    board = load_board(target)
    started = time.perf_counter()
    step = Steps(tell, total=7)
    name = dataset or "digits"
    with step(f"load {name}"):
        data = tk.data.load(name)
    tell(
        f"  {len(data.train):,} training, {len(data.test):,} test images of "
        f"{' x '.join(map(str, data.spec.shape))}, {data.spec.num_classes} classes"
    )
    out.mkdir(parents=True, exist_ok=True)
    test = data.test.take(TESTED, seed=seed)
    result = DemoResult(name, "ResNet-8", board.name, len(test))
    for form, graph in _forms(data, seed, epochs, step, result):
        with_cost = time.perf_counter()
        file = out / f"{_file_name(name, form)}.tflite"
        graph.save(str(file))
        result.rows.append(
            Row(
                form,
                graph,
                board.profile(graph, form),
                tflm_accuracy(graph, file.read_bytes(), test.x, test.y),
                file,
                _mismatches(file),
                time.perf_counter() - with_cost,
            )
        )
        row = result.rows[-1]
        tell(
            f"  {form}: {row.accuracy:.2%} in TFLite Micro, {row.profile.flash_bytes:,} B flash, "
            f"{row.profile.instructions:,} instructions ({row.seconds:.1f} s)"
        )
    result.seconds = time.perf_counter() - started
    from tinykit.demo.report import write_report

    with step("report"):
        page = write_report(result, out)
        (out / "demo.json").write_text(json.dumps(result.to_dict(), indent=1), encoding="utf-8")
    tell("")
    tell(str(result.comparison()))
    tell("")
    for line in findings(result):
        tell(line)
    tell(f"\nreport: {page} ({time.perf_counter() - started:.0f} s in all)")
    return result


def _forms(
    data: Any, seed: int, epochs: int | None, step: Steps, result: DemoResult
) -> Iterator[tuple[str, Graph]]:
    with step("train a float network"):
        model = tk.zoo.resnet8(data.spec, seed=seed)
        history = tk.fit(model, data, epochs, seed=seed)
        result.training.append(f"float network: {history!r}")
    yield "float32", tk.to_graph(model)
    with step("int8, post-training quantization"):
        graph = tk.to_graph(model, calibrate=data)
    yield "int8 PTQ", graph
    with step(f"prune {PRUNED:.0%} of the weights, in whole channels; fine-tune"):
        pruned = tk.compress(model, data, tk.Prune(PRUNED), seed=seed)
    yield "pruned", tk.to_graph(pruned)
    # what compress makes of Prune + Quantize, with the pruning done above
    with step("quantize the pruned network to int8, with rounding in the training"):
        both = tk.compress(pruned, data, tk.Quantize(bits=8, method="qat"), seed=seed)
        graph = tk.to_graph(both, calibrate=data)
    yield "pruned + int8 QAT", graph
    with step("quantize the pruned network's weights to 4 bits, likewise"):
        fewer = tk.compress(pruned, data, tk.Quantize(bits=4, method="qat"), seed=seed)
        graph = tk.to_graph(fewer, calibrate=data, bits=4)
    yield "pruned + int4 weights QAT", graph


def findings(result: DemoResult) -> list[str]:
    """What the table says, in words, computed from it."""
    base = result["float32"]
    lines = []
    for row in result.rows[1:]:
        lost = 100 * (base.accuracy - row.accuracy)
        smaller = (base.profile.flash_bytes or 0) / (row.profile.flash_bytes or 1)
        fewer = (base.profile.instructions or 0) / (row.profile.instructions or 1)
        change = "the accuracy of float32"
        if abs(lost) >= 0.005:
            images = round(abs(lost) * result.tested / 100)
            change = (
                f"{abs(lost):.2f} points {'below' if lost > 0 else 'above'} float32 "
                f"({images} of {result.tested} test images)"
            )
        lines.append(
            f"{row.name}: {change}, flash is {smaller:.1f}x smaller, "
            f"instructions {fewer:.1f}x fewer"
        )
    return lines


def tflm_accuracy(graph: Graph, blob: bytes, x: np.ndarray, y: np.ndarray) -> float:
    """Share of NHWC images `x` that TFLite Micro classifies as `y`; the C on this machine instead
    where TFLite Micro has no package (verification shows that both say the same)."""
    from tinykit.targets import tflm

    stored = [graph.input.stored(image[None]) for image in x]
    try:
        outputs = [o[0] for o in tflm.run(blob, [[s] for s in stored]).outputs]
    except MissingToolError as error:
        log.warning("%s; accuracy is of the generated C on this machine", error)
        from tinykit.engine import HostLibrary

        outputs = list(HostLibrary(graph).predict(np.concatenate(stored)))
    guesses = np.array([np.argmax(o) for o in outputs])
    return float((guesses == y).mean())


def _mismatches(file: Path) -> int:
    from tinykit.targets.verify import verify

    report = verify(file, samples=VERIFIED, extras=False)
    if broken := [c for c in report.checks if c.required and c.mismatches is None]:
        raise TinykitError(f"{file.name}: {broken[0].title} could not run: {broken[0].why_not}")
    return sum(c.mismatches or 0 for c in report.checks)


def _file_name(dataset: str, form: str) -> str:
    return f"{dataset}_" + "_".join("".join(c if c.isalnum() else " " for c in form).split())


class Steps:
    """Numbered headings with the time that each step took."""

    def __init__(self, say: Callable[[str], None], total: int) -> None:
        self.say, self.total, self.number = say, total, 0

    @contextmanager
    def __call__(self, what: str) -> Iterator[None]:
        self.number += 1
        started = time.perf_counter()
        yield
        spent = time.perf_counter() - started
        self.say(f"[{self.number}/{self.total}] {what}: {spent:.1f} s")

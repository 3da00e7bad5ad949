"""Verification: the same inputs through every backend, each compared with TFLite Micro."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tinykit.engine.errors import TooBigError
from tinykit.graph.errors import (
    MissingToolError,
    ModelFormatError,
    TinykitError,
    UnsupportedOpError,
)
from tinykit.graph.ir import Graph
from tinykit.targets.checks import ATOL, RTOL, Check, Outputs, VerifyReport, compare
from tinykit.targets.source import ModelLike, as_graph, model_name
from tinykit.targets.stimuli import stimuli

__all__ = ["EXTRA_SAMPLES", "VerifyReport", "verify"]

#: samples that the further toolchains and emulators get; the default path gets all
EXTRA_SAMPLES = 8

#: (done, total, what) while verification runs
Progress = Callable[[int, int, str], None]
#: yields the outputs of one sample after the other
Backend = Callable[[Sequence[Outputs]], Iterator[Outputs]]


def verify(
    model: ModelLike,
    samples: int = 100,
    seed: int = 0,
    progress: Progress | None = None,
    extras: bool = True,
) -> VerifyReport:
    """Run `samples` inputs through every backend and compare each with TFLite Micro.

    Parameters
    ----------
    model : a Graph, or the path of a ``.tflite`` file (whose own bytes TFLite Micro then gets)
    samples : boundary inputs first, then random ones; see `tinykit.targets.stimuli`
    progress : called with (done, total, what)
    extras : also run, where installed and on at most `EXTRA_SAMPLES` samples, gcc and QEMU; and
        show LiteRT's difference, which is information and never a failure

    Raises
    ------
    TflmError
        TFLite Micro refuses the model, so that there is nothing to compare with.
    UnsupportedOpError
        An op that is not in the opset: no backend but TFLite Micro could run it.
    """
    if samples < 1:
        raise TinykitError(f"verification needs at least one sample, got {samples}")
    if seed < 0:
        raise TinykitError(f"a seed is 0 or more, got {seed}")
    graph = as_graph(model)
    for position, op in graph.unsupported:
        why = "it is not in the opset; `tinykit profile` shows what the other ops cost"
        raise UnsupportedOpError(op.kind, position, "verification", why)
    named = list(stimuli(graph, samples, seed))
    inputs = [values for _, values in named]
    blob = _bytes_of(model, graph)
    plans = [p for p in _backends(graph, blob) if extras or (p.required and p.everything)]
    total = samples * (1 + sum(1 for p in plans if p.everything))
    total += sum(min(samples, EXTRA_SAMPLES) for p in plans if not p.everything)
    tick = _Ticker(progress, total)

    tick("TFLite Micro", 0)
    expected, oracle, missing = _oracle(graph, blob, inputs)
    tick(oracle, samples)
    exact = all(t.dtype != "float32" for t in (graph.tensors[i] for i in graph.outputs))
    report = VerifyReport(
        model_name(model), samples, seed, oracle,
        "bit for bit" if exact else
        f"float outputs within {RTOL:g} of the largest magnitude, plus {ATOL:g}; integers equal",
    )  # fmt: skip
    for plan in plans:
        check = Check(plan.name, plan.title, plan.required)
        report.checks.append(check)
        if plan.name == "reference" and missing:
            check.required, check.why_not = False, missing
            continue
        count = samples if plan.everything else min(samples, EXTRA_SAMPLES)
        started = time.perf_counter()
        try:
            for number, got in enumerate(plan.run(inputs[:count])):
                compare(check, graph, number, named[number][0], expected[number], got)
                tick(plan.title, 1)
        except TinykitError as error:
            check.why_not, check.mismatches = str(error), None
            if isinstance(error, TooBigError):
                check.required = False
            if isinstance(error, MissingToolError) and not plan.everything:
                report.checks.remove(check)
        check.seconds = time.perf_counter() - started
    return report


@dataclass(frozen=True)
class _Plan:
    name: str
    title: str
    run: Backend
    required: bool = True
    everything: bool = True  # all samples, or only a few


def _backends(graph: Graph, blob: bytes) -> list[_Plan]:
    def reference(inputs: Sequence[Outputs]) -> Iterator[Outputs]:
        for values in inputs:
            yield graph.run(*values)

    def host(inputs: Sequence[Outputs]) -> Iterator[Outputs]:
        from tinykit.engine import HostLibrary

        library = HostLibrary(graph)
        for values in inputs:
            yield library.run(*values)

    def emulated(toolchain: str, emulator: str) -> Backend:
        def run(inputs: Sequence[Outputs]) -> Iterator[Outputs]:
            from tinykit.engine import emulate

            step = 10 if emulator == "unicorn" else len(inputs)
            for at in range(0, len(inputs), step):
                chunk = inputs[at : at + step]
                yield from emulate(
                    graph, chunk, core="cortex-m4", toolchain=toolchain, emulator=emulator
                ).outputs

        return run

    def litert(inputs: Sequence[Outputs]) -> Iterator[Outputs]:
        from tinykit.targets import litert as runtime

        yield from runtime.run(blob, inputs).outputs

    plans = [
        _Plan("reference", "reference interpreter (numpy)", reference),
        _Plan("host", "generated C on this machine", host),
        _Plan("emulator", "generated C on an emulated Cortex-M4", emulated("zig", "unicorn")),
    ]
    gcc, qemu = shutil.which("arm-none-eabi-gcc"), shutil.which("qemu-system-arm")
    if gcc:
        run = emulated("gcc", "unicorn")
        plans.append(_Plan("gcc", "the same, built by gcc", run, everything=False))
    if qemu:
        run = emulated("zig", "qemu")
        plans.append(_Plan("qemu", "the same, under QEMU", run, everything=False))
    plans.append(_Plan("litert", "LiteRT", litert, required=False))
    return plans


def _oracle(graph: Graph, blob: bytes, inputs: list[Outputs]) -> tuple[list[Outputs], str, str]:
    """The outputs to compare with, who made them, and why it was not TFLite Micro (or "")."""
    from tinykit.targets import tflm

    try:
        return tflm.run(blob, inputs).outputs, "TFLite Micro", ""
    except MissingToolError as error:
        outputs = [graph.run(*values) for values in inputs]
        return outputs, "the reference interpreter (no TFLite Micro here)", str(error)


def _bytes_of(model: ModelLike, graph: Graph) -> bytes:
    """The file itself, or what the kit writes when it is no file that TFLite Micro can take.

    An open batch size leaves shape arithmetic in a file; TFLite Micro lacks some of its ops, and
    takes the placeholders that stand for open shapes at their word.
    """
    from tinykit.formats import tflite

    if not isinstance(model, Graph) and os.fspath(model).lower().endswith(".tflite"):
        data = Path(model).read_bytes()
        try:
            as_it_is = tflite.read(data, fold=False)
        except ModelFormatError:
            as_it_is = None
        if as_it_is is not None and [o.kind for o in as_it_is.ops] == [o.kind for o in graph.ops]:
            return data
    return tflite.write(graph)


class _Ticker:
    def __init__(self, progress: Progress | None, total: int) -> None:
        self.progress, self.total, self.done = progress, total, 0

    def __call__(self, what: str, step: int) -> None:
        self.done += step
        if self.progress is not None:
            self.progress(self.done, self.total, what)

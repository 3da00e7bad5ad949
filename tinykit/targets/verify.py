"""Verification: the same inputs through every backend, each compared with TFLite Micro.

For integers the contract is equality, bit for bit. For float32 the order of a sum differs between
backends, so values may differ by ``RTOL`` of the largest magnitude in the oracle's output plus
``ATOL``.
"""

from __future__ import annotations

import math
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tinykit.graph.errors import MissingToolError, TinykitError
from tinykit.graph.ir import Graph
from tinykit.targets.source import ModelLike, as_graph, model_name
from tinykit.targets.stimuli import stimuli

RTOL = 1e-4
ATOL = 1e-6
#: samples that the further toolchains and emulators get; the default path gets all
EXTRA_SAMPLES = 8

Outputs = list[np.ndarray]
#: (done, total, what) while verification runs
Progress = Callable[[int, int, str], None]
#: yields the outputs of one sample after the other
Backend = Callable[[Sequence[Outputs]], Iterator[Outputs]]


@dataclass(frozen=True)
class Mismatch:
    """The first difference of a backend: where, and what both sides said (stored values)."""

    sample: int
    stimulus: str
    output: str
    index: tuple[int, ...]
    expected: float
    got: float

    def __str__(self) -> str:
        at = ", ".join(map(str, self.index))
        return (
            f"sample {self.sample} ({self.stimulus}), output {self.output!r}[{at}]: "
            f"expected {self.expected:g}, got {self.got:g}"
        )


@dataclass
class Check:
    """One backend against the oracle.

    Attributes
    ----------
    mismatches : output elements that differ, over all samples; None when the backend could not run
    max_difference : largest difference in stored units (LSB for integers)
    required : whether a mismatch makes verification fail
    why_not : why the backend could not run
    """

    name: str
    title: str
    required: bool = True
    samples: int = 0
    elements: int = 0
    mismatches: int | None = None
    max_difference: float = 0.0
    first: Mismatch | None = None
    why_not: str = ""
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """No mismatch, or none that counts. A required backend that could not run is not ok."""
        return not self.required or self.mismatches == 0

    def to_dict(self) -> dict[str, Any]:
        first = self.first and {
            "sample": self.first.sample,
            "stimulus": self.first.stimulus,
            "output": self.first.output,
            "index": list(self.first.index),
            "expected": _plain(self.first.expected),
            "got": _plain(self.first.got),
        }
        return {
            "name": self.name,
            "title": self.title,
            "required": self.required,
            "samples": self.samples,
            "elements": self.elements,
            "mismatches": self.mismatches,
            "max_difference": _plain(self.max_difference),
            "first": first,
            "why_not": self.why_not,
            "seconds": round(self.seconds, 3),
        }


@dataclass
class VerifyReport:
    """What verification found; `ok` when every required backend equals the oracle."""

    model: str
    samples: int
    seed: int
    oracle: str
    tolerance: str
    checks: list[Check] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return all(c.ok for c in self.checks)

    def __bool__(self) -> bool:
        return self.ok

    def __getitem__(self, name: str) -> Check:
        for check in self.checks:
            if check.name == name:
                return check
        raise KeyError(name)

    def to_dict(self) -> dict[str, Any]:
        """Plain values; ``NAME_mismatches`` count output elements."""
        counts = {f"{c.name}_mismatches": c.mismatches for c in self.checks}
        return {
            "model": self.model,
            "samples": self.samples,
            **counts,
            "ok": self.ok,
            "counts": "output elements that differ from the oracle, over all samples",
            "oracle": self.oracle,
            "tolerance": self.tolerance,
            "seed": self.seed,
            "checks": [c.to_dict() for c in self.checks],
        }

    def __str__(self) -> str:
        from tinykit.targets.render import table

        rows: list[list[str] | None] = [
            ["backend", "samples", "elements", "differ", "largest difference", "seconds"],
            None,
        ]
        for c in self.checks:
            differ = "could not run" if c.mismatches is None else f"{c.mismatches:,}"
            name = c.title if c.required else f"{c.title} (information)"
            rows.append(
                [
                    name,
                    f"{c.samples:,}",
                    f"{c.elements:,}",
                    differ,
                    "–" if c.mismatches is None else f"{c.max_difference:g}",
                    f"{c.seconds:.1f}",
                ]
            )
        lines = [f"{self.model}: {self.samples} samples against {self.oracle}", *table(rows)]
        lines.append(f"compared: {self.tolerance}")
        lines += [f"{c.title}: first difference at {c.first}" for c in self.checks if c.first]
        lines += [f"{c.title}: {c.why_not}" for c in self.checks if c.why_not]
        lines.append("verified" if self.ok else "NOT verified")
        return "\n".join(lines)


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
    """
    if samples < 1:
        raise TinykitError(f"verification needs at least one sample, got {samples}")
    graph = as_graph(model)
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
            if isinstance(error, MissingToolError) and not plan.everything:
                report.checks.remove(check)
        check.seconds = time.perf_counter() - started
    return report


def compare(
    check: Check, graph: Graph, sample: int, stimulus: str, expected: Outputs, got: Outputs
) -> None:
    """Add one sample's outputs to `check`."""
    check.samples += 1
    check.mismatches = check.mismatches or 0
    for index, want, have in zip(graph.outputs, expected, got, strict=True):
        name = graph.tensors[index].name
        want, have = np.asarray(want), np.asarray(have)
        check.elements += want.size
        if want.shape != have.shape or want.dtype != have.dtype:
            raise TinykitError(
                f"output {name!r} is {have.dtype} {have.shape}, the oracle's is "
                f"{want.dtype} {want.shape}"
            )
        same = want == have
        if want.dtype.kind == "f":
            same |= np.isnan(want) & np.isnan(have)
        with np.errstate(invalid="ignore"):  # infinity less infinity; those are the same
            difference = np.abs(want.astype(np.float64) - have.astype(np.float64))
        difference = np.where(same, 0.0, np.nan_to_num(difference, nan=np.inf, posinf=np.inf))
        allowed = 0.0
        if want.dtype.kind == "f":
            allowed = ATOL + RTOL * float(np.abs(want[np.isfinite(want)]).max(initial=0.0))
        wrong = difference > allowed
        check.max_difference = max(check.max_difference, float(difference.max(initial=0.0)))
        check.mismatches += int(wrong.sum())
        if check.first is None and wrong.any():
            at = tuple(int(i) for i in np.argwhere(wrong)[0])
            check.first = Mismatch(sample, stimulus, name, at, float(want[at]), float(have[at]))


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
    if not isinstance(model, Graph) and os.fspath(model).lower().endswith(".tflite"):
        return Path(model).read_bytes()
    from tinykit.formats import tflite

    return tflite.write(graph)


def _plain(value: float) -> float | str:
    """JSON has no infinity and no NaN: those become words."""
    return value if math.isfinite(value) else str(value)


class _Ticker:
    def __init__(self, progress: Progress | None, total: int) -> None:
        self.progress, self.total, self.done = progress, total, 0

    def __call__(self, what: str, step: int) -> None:
        self.done += step
        if self.progress is not None:
            self.progress(self.done, self.total, what)

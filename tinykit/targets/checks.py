"""What verification finds: one backend's outputs against the oracle's, and the report of all.

For integers the contract is equality, bit for bit. For float32 the order of a sum differs between
backends, so values may differ by `RTOL` of the largest magnitude in the oracle's output plus
`ATOL`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinykit.graph.errors import TinykitError
from tinykit.graph.ir import Graph

RTOL = 1e-4
ATOL = 1e-6

Outputs = list[np.ndarray]


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
        lines.append(f"{'' if self.ok else 'NOT '}verified against {self.oracle}")
        return "\n".join(lines)


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


def _plain(value: float) -> float | str:
    """JSON has no infinity and no NaN: those become words."""
    return value if math.isfinite(value) else str(value)

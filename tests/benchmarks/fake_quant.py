"""Fake quantization against torch's own kernels: random cases, no bit may differ."""

from __future__ import annotations

from tests.benchmarks import Figure, at_least, at_most, plain
from tests.quant.fake_cases import cases

COUNT = 2_000


def run() -> list[Figure]:
    made = list(cases(COUNT, seed=1))
    return [
        at_least("fake quantization against torch's kernels", len(made), "cases", 1_000),
        plain("of them per channel", sum(c.axis is not None for c in made), "cases"),
        plain("values in them", sum(c.x.numel() for c in made), "values"),
        plain("of them exactly between two levels", sum(c.ties() for c in made), "values"),
        at_most("values that differ in any bit", sum(c.differing() for c in made), "values", 0),
    ]

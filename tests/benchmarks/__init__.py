"""Every figure that the project states, measured: ``python -m tests.benchmarks NAME [--json]``.

A benchmark is a module in this folder with ``run() -> list[Figure]``; its file name is its name.
A package is one too: its ``run`` is that of its modules, each of which can be run alone
(``federated.speed``). Files that begin with an underscore are helpers.
"""

from __future__ import annotations

from tests.benchmarks._figure import Figure, at_least, at_most, plain

__all__ = ["Figure", "at_least", "at_most", "plain"]

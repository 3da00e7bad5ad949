"""The errors a user of graphs can meet. Each message says what is wrong, where, and what to do."""

from __future__ import annotations


class TinykitError(Exception):
    """Base of every error that a foreseeable mistake raises; its text is meant for people."""


class GraphError(TinykitError, ValueError):
    """A graph that contradicts itself."""


class ModelFormatError(TinykitError, ValueError):
    """A model file that is damaged, truncated, or not what it says it is."""


class UnsupportedOpError(TinykitError, NotImplementedError):
    """A backend lacks an op (or a variant of it). Names the op, its position and the backend."""

    def __init__(self, kind: str, position: int | None, backend: str, why: str = "") -> None:
        self.kind, self.position, self.backend, self.why = kind, position, backend, why
        where = "" if position is None else f" (op number {position})"
        super().__init__(f"{backend} does not support {kind}{where}" + (f": {why}" if why else ""))


class MissingToolError(TinykitError, RuntimeError):
    """A program, package or dataset is not installed; the text says how to get it."""

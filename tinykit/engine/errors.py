"""What can go wrong between generated C and its result."""

from __future__ import annotations

from tinykit.graph.errors import TinykitError


class BuildError(TinykitError, RuntimeError):
    """The compiler refused the generated code (a bug here), or could not run."""


class TooBigError(TinykitError):
    """The model does not fit what a machine that is optional here can hold; nothing is wrong."""


class EmulationError(TinykitError, RuntimeError):
    """The emulated program did something that a real core would not survive, and where."""

"""LiteRT, the runtime of phones and single-board computers (once called TensorFlow Lite).

Not an oracle: with XNNPACK it differs from TFLite Micro by some least significant bits, and its
reference kernels agree for convolutional networks but not for every fully connected one. It is
shown beside the others as information. It runs in a child process, because it may abort.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinykit.graph.errors import MissingToolError, TinykitError
from tinykit.targets._child import Child, ChildDied

#: resolver name → which kernels LiteRT takes
RESOLVERS = {
    "auto": "XNNPACK where it can, else optimized kernels (what an app gets)",
    "builtin": "optimized kernels and default delegates",
    "builtin_ref": "reference kernels",
    "builtin_without_default_delegates": "optimized kernels, no XNNPACK",
}


class LitertError(TinykitError, RuntimeError):
    """LiteRT refused a model, or died on it. `said` holds what it printed."""

    def __init__(self, text: str, said: str = "") -> None:
        self.said = said
        super().__init__(text)


@dataclass(frozen=True)
class LitertRun:
    """`outputs` as in `TflmRun`; `package` is the one that ran: ai_edge_litert or a predecessor."""

    outputs: list[Any]
    package: str


class LitertSession:
    """LiteRT in a child process that stays up between models; usable from several threads.

    Parameters
    ----------
    timeout : seconds that one call may take before LiteRT is taken to hang
    """

    def __init__(self, timeout: float = 120.0) -> None:
        self._child = Child("tinykit.targets._litert_worker", timeout)

    def run(
        self,
        model: bytes,
        inputs: Sequence[np.ndarray] | Sequence[Sequence[np.ndarray]],
        resolver: str = "auto",
    ) -> LitertRun:
        """Run `model`, the bytes of a `.tflite` file, on stored (quantized) values.

        Parameters
        ----------
        inputs : one array per model input; or a list of such lists, one a sample
        resolver : which kernels to take, a key of `RESOLVERS`

        Raises
        ------
        LitertError
            LiteRT lacks an op, finds the model or an input invalid, aborts or hangs.
        MissingToolError
            None of the packages that hold it is installed and works.
        ValueError
            An unknown resolver.
        """
        if resolver not in RESOLVERS:
            raise ValueError(f"resolver {resolver!r} is not one of {', '.join(RESOLVERS)}")
        many = bool(inputs) and not isinstance(inputs[0], np.ndarray)
        samples = [list(sample) for sample in inputs] if many else [list(inputs)]
        try:
            reply, said = self._child.request((bytes(model), resolver, samples))
        except ChildDied as death:
            raise LitertError(f"LiteRT died on this model: {death}", death.said) from None
        if reply[0] == "error":
            _, kind, text = reply
            if kind == "missing":
                raise MissingToolError(
                    f"LiteRT is not available ({text}): pip install ai-edge-litert"
                )
            raise LitertError(f"LiteRT: {text}", said)
        package, results = reply[1]
        return LitertRun(results if many else results[0], package)

    def close(self) -> None:
        """End the child process; a later call starts another."""
        self._child.close()

    def __enter__(self) -> LitertSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@functools.cache
def session() -> LitertSession:
    """The session that this process shares; it ends with the process."""
    return LitertSession()


def run(
    model: bytes,
    inputs: Sequence[np.ndarray] | Sequence[Sequence[np.ndarray]],
    resolver: str = "auto",
) -> LitertRun:
    """`LitertSession.run` in the shared session."""
    return session().run(model, inputs, resolver)

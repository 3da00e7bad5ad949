"""TFLite Micro itself, from Google's own `tflite-micro` package: the oracle for integer numerics.

TFLite Micro aborts the process on some models, so it runs in a child process that is kept between
calls and replaced when it dies; its own last words then stand in the error.

The arena it reports is that of this machine. Pointers are 8 bytes wide here, so its bookkeeping
(tensor structs, node tables) is larger than on a 32-bit microcontroller: for small models the
host's arena overstates the device's by 1 to 3 KB. Tensors themselves (the "head") take the same
space.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinykit.graph.errors import MissingToolError, TinykitError
from tinykit.targets._child import Child, ChildDied

#: bytes of arena tried, one after the other, when the caller names none. Untouched pages of an
#: arena cost nothing; a model that needs more than the last is refused.
_ARENAS = (1 << 24, 1 << 28)
#: ops of the opset that TFLite Micro's resolver does not know
LACKS = frozenset({"relu_n1_to_1"})
_NO_ROOM = re.compile(r"missing: \d+|arena size|Failed to (re)?size|Arena size is too small")
_ALLOCATION = re.compile(r"Arena allocation (total|head|tail) (\d+) bytes")


class TflmError(TinykitError, RuntimeError):
    """TFLite Micro refused a model, or died on it. `said` holds its own words."""

    def __init__(self, text: str, said: str = "") -> None:
        self.said = said
        super().__init__(text)


@dataclass(frozen=True)
class TflmRun:
    """What TFLite Micro made of a model.

    Attributes
    ----------
    outputs : list of arrays, or one such list a sample when several samples were given
    arena_bytes : measured: what the interpreter took from its arena on this machine (see the
        module's note on 32-bit targets)
    head_bytes : the part that holds tensors and scratch buffers
    tail_bytes : the part that holds the interpreter's own structures
    """

    outputs: list[Any]
    arena_bytes: int
    head_bytes: int
    tail_bytes: int


class TflmSession:
    """TFLite Micro in a child process that stays up between models; usable from several threads.

    Parameters
    ----------
    timeout : seconds that one call may take before TFLite Micro is taken to hang

    >>> with TflmSession() as tflm:  # doctest: +SKIP
    ...     tflm.run(model, [image]).outputs[0]
    """

    def __init__(self, timeout: float = 120.0) -> None:
        self._child = Child("tinykit.targets._tflm_worker", timeout)

    def run(
        self,
        model: bytes,
        inputs: Sequence[np.ndarray] | Sequence[Sequence[np.ndarray]],
        arena_bytes: int | None = None,
    ) -> TflmRun:
        """Run `model`, the bytes of a `.tflite` file, on stored (quantized) values.

        Parameters
        ----------
        inputs : one array per model input, of exactly its shape and dtype; or a list of such lists,
            one a sample, which a single interpreter serves in turn
        arena_bytes : size of the arena in bytes; by default whatever the model needs, up to 256 MiB

        Raises
        ------
        TflmError
            TFLite Micro lacks an op, finds the model invalid, runs out of arena, aborts or hangs.
        MissingToolError
            The package `tflite-micro` is not installed.
        """
        many = bool(inputs) and not isinstance(inputs[0], np.ndarray)
        samples = [list(sample) for sample in inputs] if many else [list(inputs)]
        sizes = _ARENAS if arena_bytes is None else (arena_bytes,)
        for size in sizes:
            last = size == sizes[-1]
            try:
                return self._run(bytes(model), samples, size, many)
            except TflmError as error:
                if last or not _NO_ROOM.search(error.said):
                    raise
        raise AssertionError("unreachable")

    def smallest_arena(self, model: bytes, inputs: Sequence[np.ndarray]) -> int:
        """Bytes of the smallest arena in which `model` loads and runs on this machine.

        This is at least `TflmRun.arena_bytes`: while a model is being prepared, TFLite Micro
        needs temporary room on top of what it keeps. Found by bisection to TFLite Micro's
        alignment of 16 bytes.
        """
        low = (self.run(model, inputs).arena_bytes - 1) // 16  # too small, in units of 16 bytes
        high = low + 1
        while not self._fits(model, inputs, 16 * high):
            low, high = high, high + max(16, high // 2)
        while high - low > 1:
            middle = (low + high) // 2
            if self._fits(model, inputs, 16 * middle):
                high = middle
            else:
                low = middle
        return 16 * high

    def close(self) -> None:
        """End the child process; a later call starts another."""
        self._child.close()

    def __enter__(self) -> TflmSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _fits(self, model: bytes, inputs: Sequence[np.ndarray], arena_bytes: int) -> bool:
        try:
            self.run(model, inputs, arena_bytes)
        except TflmError:
            return False
        return True

    def _run(self, model: bytes, samples: list[Any], arena_bytes: int, many: bool) -> TflmRun:
        try:
            reply, said = self._child.request((model, arena_bytes, samples))
        except ChildDied as death:
            raise TflmError(f"TFLite Micro died on this model: {death}", death.said) from None
        if reply[0] == "error":
            _, kind, text = reply
            if kind == "missing":
                raise MissingToolError(
                    f"TFLite Micro is not available ({text}): pip install tflite-micro "
                    "(it has wheels for Linux on x86-64 only)"
                )
            words = " · ".join(line for line in said.splitlines() if line.strip())
            raise TflmError(f"TFLite Micro: {text}" + (f" ({words})" if words else ""), said)
        found = {part: int(count) for part, count in _ALLOCATION.findall(said)}
        if "total" not in found:
            raise TflmError(f"TFLite Micro did not tell its arena's size; it said: {said!r}", said)
        outputs = reply[1] if many else reply[1][0]
        return TflmRun(outputs, found["total"], found.get("head", 0), found.get("tail", 0))


@functools.cache
def session() -> TflmSession:
    """The session that this process shares; it ends with the process."""
    return TflmSession()


def run(
    model: bytes,
    inputs: Sequence[np.ndarray] | Sequence[Sequence[np.ndarray]],
    arena_bytes: int | None = None,
) -> TflmRun:
    """`TflmSession.run` in the shared session."""
    return session().run(model, inputs, arena_bytes)

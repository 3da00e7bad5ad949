"""How often each instruction ran on the emulator, and which branches were taken, op by op."""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import unicorn
from unicorn import unicorn_const as const

from tinykit.engine.build import c_source, compile_host
from tinykit.engine.errors import BuildError
from tinykit.graph.errors import MissingToolError

if TYPE_CHECKING:
    from tinykit.engine.unicorn_core import UnicornCore

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trace:
    """Where one run went. Rows are ops; columns halfwords of code from `base` on.

    Attributes
    ----------
    code : the image's code
    begun, ended : blocks that began at, and ended before, each halfword
    left : those that ended there and were followed by something else, that is by a taken branch
    """

    base: int
    code: bytes
    begun: np.ndarray
    ended: np.ndarray
    left: np.ndarray

    @property
    def runs(self) -> np.ndarray:
        """How often each halfword of code ran, by op."""
        return np.cumsum(self.begun.astype(np.int64) - self.ended, axis=1)

    def pieces(self) -> Iterator[tuple[int, int]]:
        """Stretches of code that ran, as (first, end) columns."""
        ran = np.concatenate(([0], self.runs.any(axis=0).astype(np.int8), [0]))
        edges = np.flatnonzero(np.diff(ran))
        yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)


class _State(ctypes.Structure):
    _fields_ = [
        ("base", ctypes.c_uint32),
        ("bytes", ctypes.c_uint32),
        ("last", ctypes.c_uint32),
        ("row", ctypes.c_uint32),
        ("columns", ctypes.c_uint64),
        ("marks", ctypes.c_void_p),
        ("begun", ctypes.c_void_p),
        ("ended", ctypes.c_void_p),
        ("left", ctypes.c_void_p),
    ]


class Recorder:
    """Records where `machine` goes in the next run.

    Parameters
    ----------
    rows : how many functions of ops are marked
    native : whether to record in a compiled hook; Python's does where there is no compiler
    """

    def __init__(self, machine: UnicornCore, rows: int, native: bool = True) -> None:
        self._marks, self._code = machine._marks, bytes(machine._image)
        columns = len(self._code) // 2 + 1
        # zeros come from the kernel page by page: only code that runs takes memory
        self._begun, self._ended, self._left = (
            np.zeros((max(rows, 1), columns), np.uint32) for _ in range(3)
        )
        self._state = _State(
            base=machine._counter.base, bytes=len(self._code), columns=columns,
            marks=self._marks.ctypes.data, begun=self._begun.ctypes.data,
            ended=self._ended.ctypes.data, left=self._left.ctypes.data,
        )  # fmt: skip
        hook = _native_hook() if native else None
        if hook is None:
            self._handle = machine.uc.hook_add(const.UC_HOOK_BLOCK, self._on_block)
        else:
            self._handle = _add_native(machine.uc, hook, ctypes.addressof(self._state))
        self._machine = machine

    def finish(self) -> Trace:
        """Stop recording; what there is."""
        from unicorn.unicorn_py3.unicorn import uclib

        uclib.uc_hook_del(self._machine.uc._uch, ctypes.c_size_t(self._handle))
        return Trace(self._state.base, self._code, self._begun, self._ended, self._left)

    def _on_block(self, uc: unicorn.Uc, address: int, size: int, _: object) -> None:
        """The hook of c/trace_hook.c in Python."""
        s = self._state
        offset = address - s.base
        if s.last and s.last != address:
            self._left[s.row, (s.last - s.base) >> 1] += 1
        s.last = 0
        if offset < 0 or offset + size > s.bytes:
            return
        if (mark := int(self._marks[offset >> 1])) >= 0:
            s.row = mark
        self._begun[s.row, offset >> 1] += 1
        self._ended[s.row, (offset + size) >> 1] += 1
        s.last = address + size


def _add_native(uc: Any, hook: Any, state: int) -> int:
    from unicorn.unicorn_py3.unicorn import uclib

    handle = ctypes.c_size_t()
    status = uclib.uc_hook_add(
        uc._uch, ctypes.byref(handle), const.UC_HOOK_BLOCK, ctypes.cast(hook, ctypes.c_void_p),
        state, ctypes.c_uint64(1), ctypes.c_uint64(0),
    )  # fmt: skip
    if status != const.UC_ERR_OK:
        raise unicorn.UcError(status)
    return int(handle.value)


@lru_cache(maxsize=1)
def _native_hook() -> Any | None:
    """The compiled hook, or None where it cannot be built."""
    try:
        library = ctypes.CDLL(str(compile_host({"trace_hook.c": c_source("trace_hook.c")})))
    except (MissingToolError, BuildError, OSError) as error:
        log.info("recording blocks in Python, which is slow: %s", error)
        return None
    return library.tk_trace_block

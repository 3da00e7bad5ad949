"""What misses a board's flash caches, counted on the emulator; see `tinykit.engine.flash`."""

from __future__ import annotations

import ctypes
import logging
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from unicorn import unicorn_const as const

from tinykit.engine.build import c_source, compile_host
from tinykit.engine.elf import SHF_WRITE
from tinykit.engine.errors import BuildError
from tinykit.graph.errors import MissingToolError

if TYPE_CHECKING:
    from tinykit.engine.flash import FlashTiming
    from tinykit.engine.unicorn_core import UnicornCore

log = logging.getLogger(__name__)

_KINDS = 3


class _Cache(ctypes.Structure):
    _fields_ = [
        ("used", ctypes.c_void_p),
        ("kept", ctypes.c_void_p),
        ("size", ctypes.c_uint32),
        ("count", ctypes.c_uint32),
    ]


class _State(ctypes.Structure):
    _fields_ = [
        ("code", _Cache),
        ("data", _Cache),
        ("marks", ctypes.c_void_p),
        ("missed", ctypes.c_void_p),
        ("base", ctypes.c_uint32),
        ("bytes", ctypes.c_uint32),
        ("first", ctypes.c_uint32),
        ("end", ctypes.c_uint32),
        ("shift", ctypes.c_uint32),
        ("row", ctypes.c_uint32),
        ("last", ctypes.c_uint32),
        ("now", ctypes.c_uint32),
    ]


class FlashRecorder:
    """Counts in the next run of `machine` what misses the caches of `flash`, for `rows` ops.

    Raises
    ------
    MissingToolError, BuildError
        No compiler for the hooks.
    """

    def __init__(self, machine: UnicornCore, rows: int, flash: FlashTiming) -> None:
        from unicorn.unicorn_py3.unicorn import uclib

        library = _hooks()
        fixed = [s for s in machine.elf.sections if not s.flags & SHF_WRITE and s.size]
        first = min(s.address for s in fixed) // flash.read_bytes * flash.read_bytes
        end = max(s.address + s.size for s in fixed)
        units = -(-(end - first) // flash.read_bytes)
        self._missed = np.zeros((max(rows, 1), _KINDS), np.uint64)
        self._kept: list[np.ndarray] = []
        self._state = _State(
            code=self._cache(units, flash.code_bytes // flash.read_bytes),
            data=self._cache(units, flash.data_bytes // flash.read_bytes),
            marks=machine._marks.ctypes.data, missed=self._missed.ctypes.data,
            base=machine._counter.base, bytes=machine._counter.bytes, first=first, end=end,
            shift=flash.read_bytes.bit_length() - 1, last=0xFFFFFFFF,
        )  # fmt: skip
        self._uc, self._lib = machine.uc, uclib
        self._handles = [
            self._add(const.UC_HOOK_BLOCK, library.tk_flash_block, 1, 0),
            self._add(const.UC_HOOK_MEM_READ, library.tk_flash_load, first, end - 1),
        ]

    def _cache(self, units: int, size: int) -> _Cache:
        used, kept = np.zeros(units, np.uint32), np.zeros(size, np.uint32)
        self._kept += [used, kept]  # the hooks write there
        return _Cache(used.ctypes.data, kept.ctypes.data, size, 0)

    def _add(self, kind: int, hook: Any, begin: int, end: int) -> int:
        handle = ctypes.c_size_t()
        status = self._lib.uc_hook_add(
            self._uc._uch, ctypes.byref(handle), kind, ctypes.cast(hook, ctypes.c_void_p),
            ctypes.addressof(self._state), ctypes.c_uint64(begin), ctypes.c_uint64(end),
        )  # fmt: skip
        if status != const.UC_ERR_OK:
            raise MissingToolError(f"the emulator takes no hook (unicorn error {status})")
        return int(handle.value)

    def finish(self) -> np.ndarray:
        """Stop recording; misses by op, (rows, 3): code that went on, code jumped to, loads."""
        for handle in self._handles:
            self._lib.uc_hook_del(self._uc._uch, ctypes.c_size_t(handle))
        return self._missed


@lru_cache(maxsize=1)
def _hooks() -> Any:
    return ctypes.CDLL(str(compile_host({"flash_hook.c": c_source("flash_hook.c")})))


def available() -> bool:
    """Whether the hooks can be built here."""
    try:
        _hooks()
    except (MissingToolError, BuildError, OSError) as error:
        log.info("waits for flash are not modelled: %s", error)
        return False
    return True

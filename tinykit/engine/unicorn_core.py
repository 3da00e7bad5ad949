"""A Cortex-M core in Unicorn that runs one function and counts every instruction.

Counts are exact: each executed basic block is decoded once and its instructions are added whenever
it runs. An instruction that an IT block predicates away counts as one (QEMU does the same; the core
spends a cycle on it too).
"""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import unicorn
from unicorn import arm_const as arm
from unicorn import unicorn_const as const

from tinykit.engine import overrun
from tinykit.engine.build import c_source, compile_host
from tinykit.engine.cores import Core
from tinykit.engine.elf import SHF_EXECINSTR, SHF_WRITE, Elf
from tinykit.engine.errors import BuildError, EmulationError
from tinykit.graph.errors import MissingToolError

log = logging.getLogger(__name__)

PAGE = 0x1000
RETURN = 0x0FFF0000  # where the entry function returns to; only the emulator's stop is there
ARENA_TOP = 0x40000000  # the arena ends here, at an unmapped page: the first byte beyond faults
STACK_TOP = 0x48000000
PAINT = 0xA5
#: largest arena that is emulated; no Cortex-M has as much memory
ARENA_MOST = 64 << 20
#: instructions after which an inference is taken for a runaway
LIMIT = 20_000_000_000


class _Counter(ctypes.Structure):
    _fields_ = [
        ("total", ctypes.c_uint64),
        ("limit", ctypes.c_uint64),
        ("per_op", ctypes.c_void_p),
        ("image", ctypes.c_void_p),
        ("base", ctypes.c_uint32),
        ("bytes", ctypes.c_uint32),
        ("marks", ctypes.c_void_p),
        ("known", ctypes.c_void_p),
        ("current", ctypes.c_uint64),
        ("stop", ctypes.c_void_p),
        ("exceeded", ctypes.c_uint32),
        ("stray", ctypes.c_uint32),
        ("end", ctypes.c_uint32),
    ]


class UnicornCore:
    """One core with the image of `elf` in its memory.

    Parameters
    ----------
    entry : function that is called with the arena's address
    marks : names of the functions of the ops, in order
    arena_bytes : size of the arena, a multiple of 16
    limit : instructions after which a run is stopped with an error
    stack_bytes : what an inference may use of stack; more is an error
    native : whether to count in a compiled hook (30 to 100 times faster than in Python); falls
        back to Python where there is no compiler
    """

    def __init__(
        self,
        elf: Elf,
        core: Core,
        entry: str,
        marks: Sequence[str],
        arena_bytes: int,
        limit: int = LIMIT,
        native: bool = True,
        stack_bytes: int = overrun.STACK_BYTES,
    ) -> None:
        if core.unicorn is None:
            raise EmulationError(f"Unicorn has no {core.name}; take the emulator qemu")
        if arena_bytes > ARENA_MOST:
            raise EmulationError(
                f"the activations need {arena_bytes:,} bytes at once; at most {ARENA_MOST:,} are "
                "emulated. Make the input or the network smaller"
            )
        self.elf, self.core, self.limit = elf, core, limit
        self.stack_limit = stack_bytes
        self._stack_mapped = -(-stack_bytes // PAGE) * PAGE
        self.entry = elf.functions[entry][0]
        self.arena_bytes, self.arena = arena_bytes, ARENA_TOP - arena_bytes
        make: Any = unicorn.Uc  # its stubs lack the third parameter
        self.uc = make(
            const.UC_ARCH_ARM,
            const.UC_MODE_THUMB | const.UC_MODE_MCLASS,
            getattr(arm, core.unicorn),
        )
        self._map()
        self._prepare_counting(marks)
        self.fault: str | None = None
        self._advice = ""  # what to do about the fault
        self.uc.hook_add(const.UC_HOOK_MEM_INVALID, self._on_fault)
        self.uc.hook_add(const.UC_HOOK_INTR, self._on_exception)
        hook = _native_hook() if native else None
        if hook is None:
            self.uc.hook_add(const.UC_HOOK_BLOCK, self._on_block)
        else:
            self._add_native(hook)

    # -- memory ---------------------------------------------------------------------------------

    def _map(self) -> None:
        for section in self.elf.sections:
            start = section.address // PAGE * PAGE
            end = -(-(section.address + section.size) // PAGE) * PAGE
            writable = section.flags & SHF_WRITE
            rights = const.UC_PROT_READ | (const.UC_PROT_WRITE if writable else const.UC_PROT_EXEC)
            mapped = {page for a, b, _ in self.uc.mem_regions() for page in range(a, b + 1, PAGE)}
            for page in range(start, end, PAGE):
                if page not in mapped:
                    self.uc.mem_map(page, PAGE, rights)
            self.uc.mem_write(section.address, section.data or bytes(section.size))
        pages = -(-self.arena_bytes // PAGE) * PAGE
        if pages:
            self.uc.mem_map(ARENA_TOP - pages, pages, const.UC_PROT_READ | const.UC_PROT_WRITE)
        self._margin = pages - self.arena_bytes  # mapped bytes below the arena: checked after runs
        self.uc.mem_map(
            STACK_TOP - self._stack_mapped,
            self._stack_mapped,
            const.UC_PROT_READ | const.UC_PROT_WRITE,
        )
        self.uc.mem_map(RETURN, PAGE, const.UC_PROT_ALL)

    def write(self, offset: int, raw: bytes) -> None:
        if not 0 <= offset <= self.arena_bytes - len(raw):
            raise EmulationError(
                f"{len(raw):,} bytes at {offset:,} lie outside the arena of {self.arena_bytes:,} "
                f"bytes. What to do: {overrun.PLAN_ADVICE}"
            )
        self.uc.mem_write(self.arena + offset, raw)

    def read(self, offset: int, count: int) -> bytes:
        return bytes(self.uc.mem_read(self.arena + offset, count))

    def paint(self) -> None:
        """Fill arena and stack with a pattern; call before writing inputs."""
        self.uc.mem_write(
            self.arena - self._margin, bytes([PAINT]) * (self._margin + self.arena_bytes)
        )
        self.uc.mem_write(STACK_TOP - self._stack_mapped, bytes([PAINT]) * self._stack_mapped)
        for section in self.elf.sections:
            if section.flags & SHF_WRITE:
                self.uc.mem_write(section.address, section.data or bytes(section.size))

    # -- counting -------------------------------------------------------------------------------

    def _prepare_counting(self, marks: Sequence[str]) -> None:
        code = [s for s in self.elf.sections if s.flags & SHF_EXECINSTR]
        base = min(s.address for s in code)
        size = max(s.address + s.size for s in code) - base
        image = bytearray(size)
        for section in code:
            at = section.address - base
            image[at : at + section.size] = section.data
        self._image = np.frombuffer(bytes(image), np.uint8)
        self._marks = np.full(size // 2 + 1, -1, np.int32)
        for position, name in enumerate(marks):
            if name in self.elf.functions:  # a function of no effect may have been dropped
                self._marks[(self.elf.functions[name][0] - base) // 2] = position
        self._known = np.zeros(size // 2 + 1, np.uint32)
        self.per_op = np.zeros(max(len(marks), 1), np.uint64)
        self._counter = _Counter(
            per_op=self.per_op.ctypes.data, image=self._image.ctypes.data, base=base, bytes=size,
            marks=self._marks.ctypes.data, known=self._known.ctypes.data, limit=self.limit,
            end=RETURN,
        )  # fmt: skip

    def _add_native(self, hook: Any) -> None:
        from unicorn.unicorn_py3.unicorn import uclib

        self._counter.stop = ctypes.cast(uclib.uc_emu_stop, ctypes.c_void_p).value
        handle = ctypes.c_size_t()
        status = uclib.uc_hook_add(
            self.uc._uch, ctypes.byref(handle), const.UC_HOOK_BLOCK,
            ctypes.cast(hook, ctypes.c_void_p), ctypes.addressof(self._counter),
            ctypes.c_uint64(1), ctypes.c_uint64(0),
        )  # fmt: skip
        if status != const.UC_ERR_OK:
            raise unicorn.UcError(status)

    def _on_block(self, uc: unicorn.Uc, address: int, size: int, _: object) -> None:
        """The hook of c/block_hook.c in Python."""
        c = self._counter
        offset = address - c.base
        if address == c.end:
            return
        if not (offset >= 0 and offset + size <= c.bytes):
            c.stray = address
            uc.emu_stop()
            return
        found = int(self._known[offset >> 1])
        if found >> 16 != size:
            at = count = 0
            while at < size:
                at += 4 if self._image[offset + at + 1] >= 0xE8 else 2
                count += 1
            found = size << 16 | count
            self._known[offset >> 1] = found
        if (mark := int(self._marks[offset >> 1])) >= 0:
            c.current = mark
        c.total += found & 0xFFFF
        self.per_op[c.current] += np.uint64(found & 0xFFFF)
        if c.total > c.limit:
            c.exceeded = 1
            uc.emu_stop()

    # -- running --------------------------------------------------------------------------------

    def run(self) -> int:
        """Call the entry function once; the number of instructions.

        Raises
        ------
        EmulationError
            Access outside the program's memory (a tensor written past the arena, a stack that
            overflows, constants written, a null pointer), an undefined instruction, or too many
            instructions. Names the function, and what to do.
        """
        counter = self._counter
        counter.total = counter.current = counter.exceeded = counter.stray = 0
        self.per_op[:] = 0
        self.fault = None
        self._advice = ""
        before = self.read(0, self.arena_bytes)
        error = self._start()
        pc = self.uc.reg_read(arm.UC_ARM_REG_PC)
        if counter.exceeded:
            raise EmulationError(
                f"stopped after {counter.limit:,} instructions in {self._where(pc)}: the code "
                "does not come to an end"
            )
        if counter.stray:
            raise EmulationError(f"jumped to 0x{counter.stray:08x}, where no code is")
        if self.fault or error:
            what = f"{self.fault or error} in {self._where(pc)}"
            raise EmulationError(overrun.sentence(what, None, self._advice))
        if pc & ~1 != RETURN:
            raise EmulationError(f"stopped before the end in {self._where(pc)}")
        self._look_for_overruns(before)
        return int(counter.total)

    def _start(self) -> str:
        """Call the entry function; what Unicorn says went wrong."""
        if self.core.fpu:
            self.uc.reg_write(arm.UC_ARM_REG_FPEXC, 1 << 30)
        self.uc.reg_write(arm.UC_ARM_REG_SP, STACK_TOP)
        self.uc.reg_write(arm.UC_ARM_REG_LR, RETURN | 1)
        self.uc.reg_write(arm.UC_ARM_REG_R0, self.arena)
        try:
            self.uc.emu_start(self.entry | 1, RETURN)
        except unicorn.UcError as caught:
            return str(caught)
        return ""

    # -- overruns -------------------------------------------------------------------------------

    def _look_for_overruns(self, before: bytes) -> None:
        """Memory is protected by pages: what lies between a page's edge and the arena, or the end
        of the stack, is painted, and looked at here. `before` is the arena as the run found it."""
        below = bytes(self.uc.mem_read(self.arena - self._margin, self._margin))
        written = len(below.lstrip(bytes([PAINT])))
        if written:
            what, advice = overrun.below(written, self.arena_bytes)
            edges = (self.arena - self._margin, self.arena)
        elif self.stack_bytes > self.stack_limit:
            what, advice = overrun.deep(self.stack_bytes, self.stack_limit)
            edges = (STACK_TOP - self._stack_mapped, STACK_TOP - self.stack_limit)
        else:
            return
        raise EmulationError(overrun.sentence(what, self._who_writes(*edges, before), advice))

    def _who_writes(self, first: int, end: int, before: bytes) -> str | None:
        """The function that writes there: the run is made once more, with all writes watched."""
        self.paint()
        self.write(0, before)
        found: list[int] = []

        def watch(uc: unicorn.Uc, _: int, address: int, size: int, value: int, __: object) -> None:
            if address < end and address + size > first and not found:
                found.append(uc.reg_read(arm.UC_ARM_REG_PC))
                uc.emu_stop()

        handle = self.uc.hook_add(const.UC_HOOK_MEM_WRITE, watch)
        self._start()
        self.uc.hook_del(handle)
        return self._where(found[0]) if found else None

    @property
    def stack_bytes(self) -> int:
        """Stack used since `paint`, from the deepest byte that lost its paint."""
        stack = np.frombuffer(
            self.uc.mem_read(STACK_TOP - self._stack_mapped, self._stack_mapped), np.uint8
        )
        changed = np.flatnonzero(stack != PAINT)
        return self._stack_mapped - int(changed[0]) if changed.size else 0

    def _where(self, pc: int) -> str:
        name = self.elf.function_at(pc & ~1)
        return f"{name} (0x{pc:08x})" if name else f"0x{pc:08x}"

    def _on_fault(
        self, uc: unicorn.Uc, access: int, address: int, size: int, value: int, _: object
    ) -> bool:
        kind = {
            const.UC_MEM_WRITE_UNMAPPED: "wrote",
            const.UC_MEM_WRITE_PROT: "wrote",
            const.UC_MEM_READ_UNMAPPED: "read",
            const.UC_MEM_READ_PROT: "read",
        }.get(access, "fetched code from")
        where, self._advice = overrun.place(
            address, self.arena, self.arena_bytes, STACK_TOP, self.stack_limit
        )
        if any(x.address <= address < x.address + x.size for x in self.elf.sections):
            where, self._advice = "memory that may not be written", overrun.CONSTANT_ADVICE
        self.fault = f"{kind} {size} bytes at 0x{address:08x}, {where},"
        return False

    def _on_exception(self, uc: unicorn.Uc, number: int, _: object) -> None:
        self.fault = self.fault or f"raised exception {number}"
        uc.emu_stop()


@lru_cache(maxsize=1)
def _native_hook() -> Any | None:
    """The compiled hook, or None where it cannot be built."""
    try:
        library = ctypes.CDLL(str(compile_host({"block_hook.c": c_source("block_hook.c")})))
    except (MissingToolError, BuildError, OSError) as error:
        log.info("counting instructions in Python, which is slow: %s", error)
        return None
    return library.tk_on_block

"""Modelled time on a Cortex-M4: cycles that Arm publishes for each instruction, times how often.

The numbers are those of the Cortex-M4 Technical Reference Manual (ARM DDI 0439), table 3-1 and
section 3.3.3 "Load/store timings", for memory without wait states:

- most instructions, all multiplications and SIMD among them, take 1 cycle;
- a load takes 2; 1 right after another load unless its address needs that one's result. A store
  takes 1 with an immediate offset, and 2 with a register's, but 1 after a load. Nothing is
  pipelined after a store;
- LDM, STM, LDRD, PUSH and their kind take 1 + N for N words, and are pipelined with nothing;
- an address made by the data processing instruction just before costs 1 more;
- a taken branch costs P more to refill the pipeline, 1 to 3 by the target's alignment and width;
- a division takes 2 to 12, by its operands.

Where the manual gives a range, the middle is taken and the ends make `low` and `high`: P = 2
(1 to 3), division 7 (2 to 12), IT folded into the instruction before (0) or not (1, the middle), a
literal load one cycle later for contention with the fetch unit or not (the middle). An instruction
that an IT block skips is taken for executed; the core would spend 1 cycle.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tinykit.graph.errors import MissingToolError

if TYPE_CHECKING:
    from tinykit.engine.trace import Trace

#: cores whose published timings are here
CORES = frozenset({"cortex-m4"})
#: cycles to refill the pipeline after a taken branch: low, middle, high
REFILL = (1.0, 2.0, 3.0)

_LOADS = frozenset({"ldr", "ldrb", "ldrh", "ldrsb", "ldrsh", "ldrt", "ldrex", "strex", "vldr"})
_STORES = frozenset({"str", "strb", "strh", "vstr"})
_PAIRS = frozenset({"ldrd", "strd"})
_BLOCKS = frozenset({
    "ldm", "ldmdb", "stm", "stmdb", "push", "pop",
    "vldmia", "vldmdb", "vstmia", "vstmdb", "vpush", "vpop",
})  # fmt: skip
_THREE = frozenset({
    "vmla", "vmls", "vnmla", "vnmls", "vfma", "vfms", "vfnma", "vfnms",
})  # fmt: skip
_FOURTEEN = frozenset({"vdiv", "vsqrt"})


@dataclass(frozen=True)
class Cycles:
    """Modelled cycles, with the ends of the range that the manual leaves open."""

    middle: float
    low: float
    high: float

    def __add__(self, other: Cycles) -> Cycles:
        return Cycles(self.middle + other.middle, self.low + other.low, self.high + other.high)


NOTHING = Cycles(0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Timing:
    """What one instruction takes, taken branches apart.

    Attributes
    ----------
    low, middle, high : cycles on its own
    kind : "load" or "store" of a single register, "" for all else
    saved : cycles fewer right after a load whose result its address does not need
    address : registers that its address is made of
    writes : registers that it writes
    data : whether it is a data processing instruction
    """

    low: float
    middle: float
    high: float
    kind: str = ""
    saved: float = 0
    address: frozenset[str] = frozenset()
    writes: frozenset[str] = frozenset()
    data: bool = False

    def after(self, before: Timing | None) -> tuple[float, float, float]:
        """Cycles (low, middle, high) right after `before` (None: after a jump)."""
        add = 0.0
        if before is not None and self.address:
            needs = bool(self.address & before.writes)
            if before.kind == "load" and not needs:
                add = -self.saved
            elif before.data and needs:
                add = 1.0
        return (self.low + add, self.middle + add, self.high + add)


def timing(insn: Any) -> Timing:
    """The `Timing` of a Thumb instruction that capstone decoded with details."""
    name = insn.insn_name()
    # capstone takes ssat's operand for no register read; only address and results matter here
    writes = frozenset(insn.reg_name(r) for r in insn.regs_access()[1])
    if name in _PAIRS:
        return Timing(3, 3, 3, writes=writes)
    if name in _BLOCKS:
        words = 1 + _words(insn, name)
        return Timing(words, words, words, writes=writes)
    if name in _LOADS or name in _STORES:
        return _single(insn, name, writes)
    if name in ("sdiv", "udiv"):
        return Timing(2, 7, 12, writes=writes, data=True)
    if name in _FOURTEEN:
        return Timing(14, 14, 14, writes=writes)
    if name in _THREE:
        return Timing(3, 3, 3, writes=writes)
    if name in ("tbb", "tbh"):
        return Timing(3, 3, 3)
    if name == "it":
        return Timing(0, 1, 1)
    if name in ("mrs", "msr"):
        return Timing(1, 2, 2, writes=writes)
    if name == "vmov" and sum(1 for o in insn.operands if o.type == _REG) > 2:
        return Timing(2, 2, 2, writes=writes)  # two core registers at once
    return Timing(1, 1, 1, writes=writes, data=not name.startswith(("v", "b", "cb")))


def _single(insn: Any, name: str, writes: frozenset[str]) -> Timing:
    memory = next((o.mem for o in insn.operands if o.type == _MEM), None)
    if memory is None:  # what capstone does not say is not assumed to be fast
        return Timing(2, 2, 2, writes=writes)
    registers = {insn.reg_name(r) for r in (memory.base, memory.index) if r}
    address = frozenset(registers - {"pc"})
    if name in _STORES:
        if memory.index == 0 and name != "vstr":
            return Timing(1, 1, 1, "store", 0, address, writes)
        return Timing(2, 2, 2, "store", 1, address, writes)
    literal = 1 if "pc" in registers else 0
    # a literal's address is never made by the instruction before, but it can follow a load
    return Timing(2, 2, 2 + literal, "load", 1, address or frozenset({"pc"}), writes)


def _words(insn: Any, name: str) -> int:
    registers = [o for o in insn.operands if o.type == _REG]
    listed = registers if name in ("push", "pop", "vpush", "vpop") else registers[1:]
    return sum(2 if insn.reg_name(o.reg).startswith("d") else 1 for o in listed)


def cycles(trace: Trace) -> list[Cycles]:
    """Modelled cycles of each op of a run, callees included.

    Raises
    ------
    MissingToolError
        The disassembler capstone is not installed.
    """
    runs, left = trace.runs, trace.left
    total = np.zeros((3, len(runs)))
    for first, end in trace.pieces():
        before, at_before = None, -1
        for column, timed, size in _decoded(trace, first, end):
            count = runs[:, column]
            follow = column + size // 2
            alone = np.array(timed.after(None))
            if before is None:
                total += np.outer(alone, count)
            else:  # some come from the instruction before, some by a jump
                flowing = runs[:, at_before] - left[:, column]
                paired = np.array(timed.after(before))
                total += np.outer(paired, flowing) + np.outer(alone, count - flowing)
            total += np.outer(REFILL, left[:, follow])
            before, at_before = timed, column
    low, middle, high = total.tolist()
    return [Cycles(m, lo, hi) for lo, m, hi in zip(low, middle, high, strict=True)]


def _decoded(trace: Trace, first: int, end: int) -> Iterator[tuple[int, Timing, int]]:
    """(column, timing, bytes) of each instruction of a piece of code that ran."""
    engine = _engine()
    at, stop = 2 * first, 2 * end
    while at < stop:
        for insn in engine.disasm(trace.code[at:stop], trace.base + at):
            yield at // 2, timing(insn), insn.size
            at += insn.size
        if at < stop:  # an instruction that capstone does not know
            size = 4 if trace.code[at + 1] >= 0xE8 else 2
            yield at // 2, Timing(1, 1, 1), size
            at += size


def _engine() -> Any:
    engine = _capstone().Cs(_capstone().CS_ARCH_ARM, _MODE)
    engine.detail = True
    return engine


def _capstone() -> Any:
    try:
        import capstone
    except ImportError as error:
        raise MissingToolError(
            f"the disassembler capstone is missing or does not load ({error}): pip install capstone"
        ) from None
    return capstone


#: capstone's constants (CS_MODE_THUMB | CS_MODE_MCLASS, ARM_OP_REG, ARM_OP_MEM)
_MODE, _REG, _MEM = (1 << 4) | (1 << 5), 1, 3

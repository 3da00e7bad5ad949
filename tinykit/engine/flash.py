"""Modelled waits for flash memory: reads that miss a board's small caches, times its wait states.

A microcontroller's flash is slower than its core: a read takes `wait_states` cycles more and brings
`read_bytes`. Accelerators such as ST's ART keep the units that were used last, some for code and
some for constants, and read the next unit of code ahead. What misses is counted exactly on the
emulator, under the assumption of fully associative caches that drop what was used longest ago (ST,
RM0390, 3.4.2); what a miss costs is the model:

- a load that misses, and a jump to code that is not kept, wait `wait_states` cycles;
- code that goes on into a unit that is not kept was read ahead meanwhile: it waits for what is left
  of the read when the core has used up the unit before, at 4 bytes a cycle (`middle`) or 2 (`low`);
  or all of it (`high`), when loads kept the flash busy.
"""

from __future__ import annotations

from dataclasses import dataclass

from tinykit.engine.cycles import Cycles


@dataclass(frozen=True)
class FlashTiming:
    """How fast a board reads its flash at its clock.

    Attributes
    ----------
    wait_states : cycles that a read takes beyond the first
    read_bytes : bytes that a read brings, a power of two
    code_bytes, data_bytes : what is kept of code and of constants; at least one unit each
    """

    wait_states: int
    read_bytes: int
    code_bytes: int
    data_bytes: int

    def __post_init__(self) -> None:
        if self.read_bytes < 4 or self.read_bytes & (self.read_bytes - 1):
            raise ValueError(f"a read brings a power of two of bytes, not {self.read_bytes}")
        if self.wait_states < 0 or min(self.code_bytes, self.data_bytes) < self.read_bytes:
            raise ValueError(f"no flash is like this: {self}")

    def waits(self, sequential: int, jumped: int, loaded: int) -> Cycles:
        """Cycles of waiting for reads that missed, by kind."""
        full = self.wait_states
        certain = float(full * (jumped + loaded))
        left = [max(0.0, full + 1 - self.read_bytes / speed) for speed in (4, 2)]
        middle, low = (min(float(full), wait) for wait in left)
        return Cycles(
            certain + middle * sequential, certain + low * sequential, certain + full * sequential
        )

"""The Cortex-M cores that code is built and emulated for."""

from __future__ import annotations

from dataclasses import dataclass

from tinykit.graph.errors import TinykitError


@dataclass(frozen=True)
class Core:
    """How each tool names one core.

    Attributes
    ----------
    fpu : whether single-precision floats run in hardware (and are passed in registers)
    zig_cpu, gcc_flags : what the compilers want
    unicorn : name of the Unicorn CPU model constant, None where Unicorn lacks the core's
        instructions. Unicorn has no M0+; its M0 has the same instruction set (Armv6-M).
    qemu : machine of qemu-system-arm, None where Debian's QEMU 7.2 has none
    ram : where that machine has its 4 MB of RAM
    flash : where that machine has the memory that code runs from; page 0 of it is left alone
    v8m : whether the core is an Armv8-M, whose memory protection unit and stack limits differ
    mve : whether the core has Helium, the M-profile vector extension
    """

    name: str
    fpu: bool
    zig_cpu: str
    gcc_flags: tuple[str, ...]
    unicorn: str | None
    qemu: str | None
    ram: int = 0x20000000
    flash: int = 0
    v8m: bool = False
    mve: bool = False

    @property
    def emulator(self) -> str:
        """The emulator that is used unless another is asked for."""
        return "qemu" if self.unicorn is None else "unicorn"

    @property
    def zig_target(self) -> str:
        return "thumb-freestanding-eabi" + ("hf" if self.fpu else "")


_HARD = ("-mfloat-abi=hard",)
_SOFT = ("-mfloat-abi=soft",)

CORES: dict[str, Core] = {
    core.name: core
    for core in (
        Core("cortex-m0plus", False, "cortex_m0plus", ("-mcpu=cortex-m0plus", *_SOFT),
             "UC_CPU_ARM_CORTEX_M0", None),
        Core("cortex-m3", False, "cortex_m3", ("-mcpu=cortex-m3", *_SOFT),
             "UC_CPU_ARM_CORTEX_M3", "mps2-an385"),
        Core("cortex-m4", True, "cortex_m4+vfp4d16sp",
             ("-mcpu=cortex-m4", "-mfpu=fpv4-sp-d16", *_HARD),
             "UC_CPU_ARM_CORTEX_M4", "mps2-an386"),
        Core("cortex-m7", True, "cortex_m7+fp_armv8d16sp",
             ("-mcpu=cortex-m7", "-mfpu=fpv5-sp-d16", *_HARD),
             "UC_CPU_ARM_CORTEX_M7", "mps2-an500"),
        Core("cortex-m33", True, "cortex_m33+dsp+fp_armv8d16sp",
             ("-mcpu=cortex-m33", "-mfpu=fpv5-sp-d16", *_HARD), "UC_CPU_ARM_CORTEX_M33",
             None, v8m=True),
        # Unicorn runs no Helium. The board's 4 MB behind 0x21000000 are used, not its small TCM.
        Core("cortex-m55", True, "cortex_m55+mve_fp+fp_armv8d16",
             ("-mcpu=cortex-m55", *_HARD), None, "mps3-an547",
             ram=0x21000000, flash=0x01000000, v8m=True, mve=True),
    )
}  # fmt: skip


def find_core(name: str) -> Core:
    """The core called `name` ("cortex-m4"; "m4" and "M0+" will do).

    Raises
    ------
    TinykitError
        An unknown core; the text lists the known ones.
    """
    wanted = name.lower().replace("+", "plus").removeprefix("cortex-")
    for core in CORES.values():
        if core.name.removeprefix("cortex-") == wanted:
            return core
    raise TinykitError(f"no core is called {name!r}; known are {', '.join(CORES)}")

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
    unicorn : name of the Unicorn CPU model constant. Unicorn has no M0+; its M0 has the same
        instruction set (Armv6-M).
    qemu : (machine, cpu) of qemu-system-arm, None where Debian's QEMU 7.2 has none
    """

    name: str
    fpu: bool
    zig_cpu: str
    gcc_flags: tuple[str, ...]
    unicorn: str
    qemu: str | None

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
             None),
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

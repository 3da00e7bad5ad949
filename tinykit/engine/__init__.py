"""Graph → C99: memory plan, code generator, builds for this machine and for emulated Cortex-Ms."""

from tinykit.engine.codegen import Sources, codegen, generate
from tinykit.engine.cores import CORES
from tinykit.engine.emulator import Emulation, Flash, Ram, emulate, emulate_many
from tinykit.engine.errors import BuildError, EmulationError
from tinykit.engine.host import HostLibrary
from tinykit.engine.plan import MemoryPlan, plan

__all__ = [
    "CORES",
    "BuildError",
    "Emulation",
    "EmulationError",
    "Flash",
    "HostLibrary",
    "MemoryPlan",
    "Ram",
    "Sources",
    "codegen",
    "emulate",
    "emulate_many",
    "generate",
    "plan",
]

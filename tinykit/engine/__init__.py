"""Graph → C99: memory plan, code generator, builds for this machine and for emulated Cortex-Ms."""

from tinykit.engine.arrange import Program, arrange
from tinykit.engine.codegen import Sources, codegen, generate
from tinykit.engine.cores import CORES
from tinykit.engine.emulator import Emulation, Flash, Ram, emulate, emulate_many
from tinykit.engine.errors import BuildError, EmulationError
from tinykit.engine.host import HostLibrary
from tinykit.engine.options import PLAIN, Options
from tinykit.engine.plan import MemoryPlan, plan
from tinykit.engine.schedule import Schedule

__all__ = [
    "CORES",
    "PLAIN",
    "BuildError",
    "Emulation",
    "EmulationError",
    "Flash",
    "HostLibrary",
    "MemoryPlan",
    "Options",
    "Program",
    "Ram",
    "Schedule",
    "Sources",
    "arrange",
    "codegen",
    "emulate",
    "emulate_many",
    "generate",
    "plan",
]

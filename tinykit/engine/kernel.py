"""What a specialised kernel is: a generator of C for layers of some kind on some cores.

A kernel says for a layer which schedules it has, what memory each needs, and writes the C. The
engine picks one for each layer (`tinykit.engine.arrange`); ops that no kernel serves call the plain
kernels of ``tinykit/engine/kernels``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tinykit.engine.cores import Core
from tinykit.engine.layer import Layer
from tinykit.engine.schedule import Schedule

if TYPE_CHECKING:
    from tinykit.engine.codegen import OpContext
    from tinykit.engine.options import Options

#: an op, or a chain of ops of which each is the only reader of the one before
Layers = Sequence[Layer]


@dataclass(frozen=True)
class Needs:
    """Memory of a kernel beside its inputs and outputs.

    Attributes
    ----------
    scratch : bytes of the arena that it works in, aligned to 16
    lead : by number of an activation input: the output may lie over that input as long as it starts
        at least this many bytes before it (``address(input) - address(output) >= lead``; 0: in
        place or anywhere before; negative: it may start later as well). Inputs that are not named
        must not share memory with the output. With more than one output none may be named.
    grain : where output and input share memory, their distance must be a multiple of this many
        bytes. (A kernel that goes channel by channel writes bytes of the same channel only if
        whole pixels lie between the two.)
    """

    scratch: int = 0
    lead: dict[int, int] = field(default_factory=dict)
    grain: int = 1


class Kernel:
    """Base of the specialised kernels; an instance is made and registered by `register`.

    Attributes
    ----------
    name : unique; schedules name the kernel by it
    kinds : the op kinds it serves, one set of names for each op of the chain
    priority : among kernels that serve a layer, the highest is taken where no table says otherwise
    """

    name: str = ""
    kinds: tuple[frozenset[str], ...] = ()
    priority: int = 0

    def schedules(self, layers: Layers, core: Core | None, options: Options) -> list[Schedule]:
        """Every schedule by which this kernel can compute these layers exactly, the best guess
        first; none where it cannot. `core` None is this machine. Must heed `options.simd` and
        `options.unroll`."""
        raise NotImplementedError

    def needs(self, layers: Layers, schedule: Schedule) -> Needs:
        """Memory beside inputs and outputs."""
        return Needs()

    def write(self, layers: Layers, schedule: Schedule, ctx: OpContext) -> str:
        """The body of a C function with parameters ``in`` (``in1``, ``in2`` ... for further
        activation inputs; those of a chain's later ops follow), ``out`` (``out1`` ...), pointers to
        elements, and ``scratch``, a ``uint8_t *`` where `needs` asks for some. Steps with equal
        bodies share one function. Must not mention offsets in the arena."""
        raise NotImplementedError


#: name -> kernel
KERNELS: dict[str, Kernel] = {}


def register(kernel: type[Kernel]) -> type[Kernel]:
    """Class decorator: adds the kernel to `KERNELS`."""
    made = kernel()
    if made.name in KERNELS:
        raise ValueError(f"two kernels are called {made.name}")
    KERNELS[made.name] = made
    return kernel

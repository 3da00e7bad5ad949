"""Which of the engine's techniques are used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tinykit.engine.schedule import Schedule


@dataclass(frozen=True)
class Options:
    """The engine's techniques, each of which can be turned off. None changes an output bit.

    Attributes
    ----------
    specialise : a kernel generated for each layer's shape; without it every op calls a kernel
        shared by all shapes, and the other techniques of code have nothing to work on
    simd : the core's SIMD instructions (SMLAD and friends, Helium), where it has them
    unroll : loops over a filter's taps, channels and blocks written out
    fuse : chains of ops (depthwise and pointwise convolution) in one pass
    in_place : outputs may lie over inputs that are read for the last time
    schedules : schedule by `Layer.key`, before the table that the engine ships with; one that no
        kernel offers for the layer is passed over
    use_table : whether that table is looked into at all (a schedule search starts without)
    """

    specialise: bool = True
    simd: bool = True
    unroll: bool = True
    fuse: bool = True
    in_place: bool = True
    schedules: Mapping[str, Schedule] = field(default_factory=dict)
    use_table: bool = True


#: what the engine did before it specialised anything: the line that every technique is compared to
PLAIN = Options(specialise=False, simd=False, unroll=False, fuse=False, in_place=False)

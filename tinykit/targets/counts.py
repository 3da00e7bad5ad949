"""What the generated C of a graph costs on a core, counted on the emulator."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from tinykit.engine.cycles import NOTHING, Cycles
from tinykit.engine.flash import FlashTiming
from tinykit.graph.ir import Graph, integer_range
from tinykit.targets.partial import runnable_part

if TYPE_CHECKING:
    from tinykit.engine.emulator import Emulation

log = logging.getLogger(__name__)

#: graphs of more `work` than this are not emulated: it would take minutes
MOST_WORK = 2_000_000_000


@dataclass(frozen=True)
class Counts:
    """What the generated C of a graph costs on one core: exact, from the emulator.

    `per_op` holds None for ops that were left out, `missing` why. `cycles` are modelled, by op,
    those in which the core waits for flash (`waits`) included; None where the core's are not. Bytes
    are those of the image that ran: flash = code + constants + initialised data, SRAM = arena +
    stack + static data.
    """

    instructions: int | None
    per_op: tuple[int | None, ...]
    code_bytes: int | None
    constant_bytes: int | None
    data_bytes: int | None
    arena_bytes: int | None
    stack_bytes: int | None
    static_bytes: int | None
    live_bytes: tuple[int | None, ...]
    missing: dict[int, str]
    note: str = ""  # why nothing was counted, when the whole graph could not be run
    cycles: tuple[Cycles | None, ...] | None = None
    waits: Cycles | None = None

    @property
    def flash_bytes(self) -> int | None:
        return _sum(self.code_bytes, self.constant_bytes, self.data_bytes)

    @property
    def sram_bytes(self) -> int | None:
        return _sum(self.arena_bytes, self.stack_bytes, self.static_bytes)


_Key = tuple[str, FlashTiming | None]
_counts: weakref.WeakKeyDictionary[Graph, dict[_Key, Counts]] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def count(graph: Graph, core: str, flash: FlashTiming | None = None) -> Counts:
    """Generate C for `graph`, build it for `core`, run one inference on the emulator and count.

    The input is random (seeded). Ops that the C generator lacks are left out and named in
    `missing`; their constants are counted all the same. `flash` is what a Cortex-M4 is modelled to
    wait for. Results are kept as long as the graph lives.
    """
    key = (core, flash)
    with _lock:
        known = _counts.setdefault(graph, {})
        found = known.get(key)
    if found is None:
        found = _count(graph, core, flash)  # outside the lock: other graphs need not wait
        with _lock:
            known[key] = found
    return found


def _count(graph: Graph, core: str, flash: FlashTiming | None) -> Counts:
    from tinykit.engine import arrange, emulate, generate
    from tinykit.engine.errors import BuildError, EmulationError

    size = len(graph.ops)
    part = runnable_part(graph, generate)
    layout = arrange(graph, core).plan
    nothing = Counts(
        None, (None,) * size, None, None, None, layout.arena_bytes, None, None,
        tuple(layout.live_bytes), part.missing,
    )  # fmt: skip
    if part.graph is None:
        return nothing
    if (load := work(part.graph)) > MOST_WORK:
        return replace(
            nothing,
            note=f"not run on the emulator, which would take minutes ({graph.macs:,} MACs, "
            f"work {load:,} of at most {MOST_WORK:,}): flash and SRAM are lower bounds",
        )
    try:
        result = emulate(
            part.graph, [sample_inputs(part.graph)], core=core, timing=True, board_flash=flash
        )
    except (BuildError, EmulationError) as error:
        log.info("emulating %s: %s", graph.name, error)
        return replace(nothing, note=f"not run on the emulator: {error}")
    per_op: list[int | None] = [None] * size
    for position, instructions in zip(part.positions, result.per_op or (), strict=True):
        per_op[position] = instructions
    return Counts(
        instructions=result.instructions,
        per_op=tuple(per_op),
        code_bytes=result.flash.code,
        # and so must the constants that only the missing ops read
        constant_bytes=result.flash.constants + graph.weight_bytes - part.graph.weight_bytes,
        data_bytes=result.flash.data,
        # the arena of the whole graph: what the missing ops make must be kept too
        arena_bytes=max(layout.arena_bytes, result.ram.arena),
        stack_bytes=result.ram.stack,
        static_bytes=result.ram.static,
        live_bytes=tuple(layout.live_bytes),
        missing=part.missing,
        cycles=_cycles(result, part.positions, size),
        waits=None if result.waits is None else sum(result.waits, NOTHING),
    )


def _cycles(
    result: Emulation, positions: Sequence[int], size: int
) -> tuple[Cycles | None, ...] | None:
    """Modelled cycles by op of the whole graph, waits included."""
    if result.cycles is None:
        return None
    waits = result.waits or [NOTHING] * len(result.cycles)
    per_op: list[Cycles | None] = [None] * size
    for position, own, waiting in zip(positions, result.cycles, waits, strict=True):
        per_op[position] = own + waiting
    return tuple(per_op)


def work(graph: Graph) -> int:
    """How much an emulator would have to do: MACs, and thirty more for each element made."""
    made = sum(t.size for op in graph.ops for t in graph.outs(op))
    return graph.macs + 30 * made


def sample_inputs(graph: Graph, seed: int = 0) -> list[np.ndarray]:
    """One random stored value for each input of `graph`: the whole range of integers, N(0, 1)."""
    rng = np.random.default_rng(seed)
    values: list[np.ndarray] = []
    for index in graph.inputs:
        tensor = graph.tensors[index]
        if tensor.dtype == "float32":
            values.append(rng.standard_normal(tensor.shape).astype(np.float32))
        elif tensor.dtype == "bool":
            values.append(rng.random(tensor.shape) < 0.5)
        else:
            low, high = integer_range(tensor.dtype)
            values.append(
                rng.integers(low, high, tensor.shape, dtype=np.int64, endpoint=True).astype(
                    tensor.numpy_dtype
                )
            )
    return values


def constant_bytes_by_op(graph: Graph) -> list[int]:
    """Bytes of the constants that each op is the first to read."""
    seen: set[int] = set()
    sizes = []
    for op in graph.ops:
        fresh = {i for i in op.inputs if i is not None and graph.tensors[i].is_const} - seen
        seen |= fresh
        sizes.append(sum(graph.tensors[i].nbytes for i in fresh))
    return sizes


def _sum(*parts: int | None) -> int | None:
    known = [p for p in parts if p is not None]
    return sum(known) if len(known) == len(parts) else None

"""Profiles of microcontrollers: an emulated core counts, TFLite Micro is measured."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from tinykit.engine.cycles import CORES as TIMED
from tinykit.engine.cycles import NOTHING, Cycles
from tinykit.engine.flash import FlashTiming
from tinykit.graph.errors import TinykitError
from tinykit.graph.ir import Graph, integer_range
from tinykit.targets.boards import Board
from tinykit.targets.partial import runnable_part
from tinykit.targets.profile import Budget, Column, Cost, Fit, Layer, Profile

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
_arenas: weakref.WeakKeyDictionary[Graph, tuple[int | None, str]] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def profile_on(board: Board, graph: Graph, model: str | None = None) -> Profile:
    """What `graph` costs on `board`; see `tinykit.targets.profile`."""
    counts = count(graph, board.core.name, board.flash_timing)
    arena, arena_note = tflm_arena(graph)
    flash = constant_bytes_by_op(graph)
    unknown = {i for i, _ in graph.unsupported}
    layers = []
    for i, op in enumerate(graph.ops):
        instructions = counts.per_op[i]
        layers.append(
            Layer(
                graph.op_name(i),
                op.kind,
                {
                    "macs": None if i in unknown else graph.op_macs(i),
                    "flash_bytes": flash[i],
                    "sram_bytes": counts.live_bytes[i],
                    "instructions": instructions,
                    "estimated_ms": _middle(_time(board, counts, i)),
                },
                counts.missing.get(i, ""),
            )
        )
    time = _time(board, counts)
    ranges = {} if time is None else {"estimated_ms": time[1:]}
    notes = [note for note in (counts.note, arena_note, _pace(counts)) if note]
    if counts.missing:
        notes.append(
            f"{len(counts.missing)} of {len(graph.ops)} ops could not be profiled (see their "
            "rows): MACs, flash, SRAM, instructions and time are lower bounds"
        )
    if board.note:
        notes.append(f"{board.title}: {board.note}")
    totals: dict[str, Cost] = {
        "macs": graph.macs,
        "flash_bytes": counts.flash_bytes,
        "sram_bytes": counts.sram_bytes,
        "tflm_arena_bytes": arena,
        "instructions": counts.instructions,
        "estimated_ms": _middle(time),
    }
    return Profile(
        model=model or graph.name,
        target=board.name,
        columns=columns(board),
        totals=totals,
        layers=tuple(layers),
        fit=_fit(board, graph, counts, flash),
        ranges=ranges,
        notes=tuple(notes),
        complete=not counts.missing and counts.instructions is not None,
        about=board.about,
    )


def columns(board: Board) -> tuple[Column, ...]:
    """What each number of a microcontroller's profile is."""
    core = board.core
    return (
        Column("macs", "MAC", "counted", "multiply-accumulates of one inference, from the shapes"),
        Column(
            "flash_bytes",
            "B",
            "counted",
            "code + constants + initialised data of the linked image of tinykit's generated C for "
            f"{core.title}; a layer's figure is its constants, each counted at its first reader",
        ),
        Column(
            "sram_bytes",
            "B",
            "counted",
            "planned arena + deepest stack seen on the emulator + static data of the generated C; "
            "a layer's figure is the arena bytes alive while it runs",
        ),
        Column(
            "tflm_arena_bytes",
            "B",
            "measured",
            "what TFLite Micro took from its arena on this 64-bit machine; a 32-bit "
            "microcontroller needs 1 to 3 KB less",
        ),
        Column(
            "instructions",
            "instructions",
            "counted",
            f"instructions of one inference of the generated C on an emulated {core.title}",
        ),
        Column(
            "estimated_ms",
            "ms",
            "modelled",
            _how_long(board),
        ),
    )


def _how_long(board: Board) -> str:
    """How the column of time is made, and what its error is."""
    core, flash = board.core, board.flash_timing
    if core.name not in TIMED:
        return (
            f"instructions x {core.cpi:g} cycles per instruction (range {core.cpi_low:g} to "
            f"{core.cpi_high:g}) / {board.mhz:g} MHz; {core.model}"
        )
    waits = (
        "no waits for flash, which this catalogue does not know: real time is longer"
        if flash is None
        else f"plus waits for flash: reads that miss caches of {flash.code_bytes} B (code) and "
        f"{flash.data_bytes} B (constants), {flash.wait_states} wait states each"
    )
    return (
        f"cycles / {board.mhz:g} MHz: Arm's published cycles of each instruction (DDI 0439) times "
        f"how often it ran on the emulator, {waits}. The range is what Arm and the flash leave "
        "open. Error: no board has run this very code. On NUCLEO-L4R5ZI the model gives the kit's "
        "kernels that are not specialised 1.55 to 1.71 cycles an instruction; stacks of CMSIS-NN's "
        "class took 1.5 to 1.77 there (MLPerf Tiny results, other kernels): expect an error of a "
        "tenth or more"
    )


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


def tflm_arena(graph: Graph) -> tuple[int | None, str]:
    """Bytes that TFLite Micro takes from its arena on this machine; None and why not."""
    with _lock:
        known = _arenas.get(graph)
    if known is None:
        known = _tflm_arena(graph)
        with _lock:
            _arenas[graph] = known
    return known


def _tflm_arena(graph: Graph) -> tuple[int | None, str]:
    from tinykit.formats import tflite
    from tinykit.targets import tflm

    try:
        run = tflm.run(tflite.write(graph), sample_inputs(graph))
    except TinykitError as error:
        return None, f"no tflm_arena_bytes: {error}"
    return run.arena_bytes, ""


def constant_bytes_by_op(graph: Graph) -> list[int]:
    """Bytes of the constants that each op is the first to read."""
    seen: set[int] = set()
    sizes = []
    for op in graph.ops:
        fresh = {i for i in op.inputs if i is not None and graph.tensors[i].is_const} - seen
        seen |= fresh
        sizes.append(sum(graph.tensors[i].nbytes for i in fresh))
    return sizes


def _time(board: Board, counts: Counts, op: int | None = None) -> tuple[float, float, float] | None:
    """Milliseconds (middle, low, high) of one op, or of all; None where nothing was counted."""
    instructions = counts.instructions if op is None else counts.per_op[op]
    if counts.cycles is None:
        return None if instructions is None else board.milliseconds(instructions)
    modelled = counts.cycles if op is None else (counts.cycles[op],)
    known = [c for c in modelled if c is not None]
    if not known:
        return None
    total = sum(known, NOTHING)
    cycle = 1e-3 / board.mhz
    return total.middle * cycle, total.low * cycle, total.high * cycle


def _middle(time: tuple[float, float, float] | None) -> float | None:
    return None if time is None else time[0]


def _pace(counts: Counts) -> str:
    """The modelled cycles of an instruction, in words; "" where they are not modelled."""
    if not counts.cycles or not counts.instructions:
        return ""
    total = sum((c for c in counts.cycles if c is not None), NOTHING).middle
    pace = f"modelled {total / counts.instructions:.2f} cycles an instruction"
    if counts.waits is None:
        return f"{pace}, without waits for flash"
    return f"{pace}, {counts.waits.middle / counts.instructions:.2f} of them waits for flash"


def _fit(board: Board, graph: Graph, counts: Counts, flash: list[int]) -> Fit | None:
    budgets = []
    live = [b or 0 for b in counts.live_bytes]
    partial = bool(counts.missing) or counts.instructions is None
    image = counts.flash_bytes if counts.flash_bytes is not None else sum(flash)
    for memory, need, have, by_op in (
        ("flash", image, board.flash_bytes, flash),
        ("sram", counts.sram_bytes or counts.arena_bytes, board.sram_bytes, live),
    ):
        if need is None or not by_op:
            continue
        peak = max(range(len(by_op)), key=by_op.__getitem__)
        budgets.append(
            Budget(memory, need, have, graph.op_name(peak), by_op[peak], at_least=partial)
        )
    return Fit(board.title, tuple(budgets))


def _sum(*parts: int | None) -> int | None:
    known = [p for p in parts if p is not None]
    return sum(known) if len(known) == len(parts) else None

"""Profiles of microcontrollers: an emulated core counts, TFLite Micro is measured."""

from __future__ import annotations

import threading
import weakref

from tinykit.engine.cycles import CORES as TIMED
from tinykit.engine.cycles import NOTHING
from tinykit.graph.errors import TinykitError
from tinykit.graph.ir import Graph
from tinykit.targets.boards import Board
from tinykit.targets.counts import Counts, constant_bytes_by_op, count, sample_inputs
from tinykit.targets.profile import Budget, Column, Cost, Fit, Layer, Profile

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

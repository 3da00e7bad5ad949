"""A network on a board: what the figures and the readout of "Compress and deploy" speak of.

Built from a row of the shipped table or from a fresh `Profile`; either way the numbers are those of
tinykit's generated C on an emulated core.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tinykit.plots.memory import Life, lives
from tinykit.targets.profile import Budget, Fit

if TYPE_CHECKING:
    from tinykit.explore._table import Net
    from tinykit.graph.ir import Graph
    from tinykit.targets.boards import Board


@dataclass(frozen=True)
class Deployment:
    """Costs of one network on one board; None where a cost could not be had.

    Attributes
    ----------
    layers, macs, instructions, live_bytes : one entry a layer, in execution order
    tensors : the arena's plan
    flash_bytes : code + constants + initialised data; counted
    sram_bytes : arena + stack + static data; counted
    total_instructions : of one inference; counted
    milliseconds : (middle, low, high); modelled
    notes : what a reader must know
    """

    name: str
    layers: tuple[str, ...]
    macs: tuple[int | None, ...]
    instructions: tuple[int | None, ...]
    live_bytes: tuple[int | None, ...]
    tensors: tuple[Life, ...]
    arena_bytes: int
    flash_bytes: int | None
    sram_bytes: int | None
    total_instructions: int | None
    milliseconds: tuple[float, float, float] | None
    fit: Fit | None
    notes: tuple[str, ...] = ()
    complete: bool = True

    @property
    def fits(self) -> bool:
        return self.fit is None or self.fit.fits

    @property
    def extra_bytes(self) -> int:
        """SRAM besides the arena: stack and static data."""
        return max((self.sram_bytes or 0) - self.arena_bytes, 0)


def numbered(names: Sequence[str], kinds: Sequence[str]) -> tuple[str, ...]:
    """Layer names short enough for an axis: position and op kind."""
    return tuple(f"{i}:{kind}" for i, kind in enumerate(kinds))


def from_table(net: Net, board: Board) -> Deployment:
    """A network of the table on `board`: look-ups and a few products."""
    cost = net.cores[board.core.name]
    return Deployment(
        name=net.label,
        layers=net.layers,
        macs=net.macs,
        instructions=cost.per_op,
        live_bytes=cost.live_bytes,
        tensors=cost.tensors,
        arena_bytes=cost.arena_bytes,
        flash_bytes=cost.flash_bytes,
        sram_bytes=cost.sram_bytes,
        total_instructions=cost.instructions,
        milliseconds=cost.milliseconds(board),
        fit=fit_on(net, board),
    )


def fit_on(net: Net, board: Board) -> Fit:
    """Whether a network of the table fits `board`, by how much, and which layer is the peak."""
    cost = net.cores[board.core.name]
    budgets = []
    for memory, need, have, by_op in (
        ("flash", cost.flash_bytes, board.flash_bytes, net.constant_bytes),
        ("sram", cost.sram_bytes, board.sram_bytes, cost.live_bytes),
    ):
        peak = max(range(len(by_op)), key=by_op.__getitem__)
        budgets.append(Budget(memory, need, have, net.layers[peak], by_op[peak]))
    return Fit(board.title, tuple(budgets))


def from_graph(graph: Graph, board: Board, name: str) -> Deployment:
    """Any graph on `board`: generates C, builds it and runs it on the emulated core (slow)."""
    from tinykit.engine import arrange

    profile = board.profile(graph, name)
    middle = profile.estimated_ms
    program = arrange(graph, board.core.name)
    low, high = profile.ranges.get("estimated_ms", (0.0, 0.0))
    layers = numbered([row.name for row in profile.layers], [row.op for row in profile.layers])
    return Deployment(
        name=name,
        layers=layers,
        macs=tuple(_int(row.macs) for row in profile.layers),
        instructions=tuple(_int(row.instructions) for row in profile.layers),
        live_bytes=tuple(_int(row.sram_bytes) for row in profile.layers),
        tensors=tuple(lives(program)),
        arena_bytes=program.plan.arena_bytes,
        flash_bytes=_int(profile.flash_bytes),
        sram_bytes=_int(profile.sram_bytes),
        total_instructions=_int(profile.instructions),
        milliseconds=None if middle is None else (float(middle), low, high),
        fit=profile.fit,
        notes=tuple(dict.fromkeys([*(r.note for r in profile.layers if r.note), *profile.notes])),
        complete=profile.complete,
    )


def _int(value: float | int | None) -> int | None:
    return None if value is None else int(value)

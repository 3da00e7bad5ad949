"""The shipped table of "Compress and deploy": many small trained networks and what each costs.

Made by `tinykit.explore.sweep.compress_digits`; every number in it was measured or counted there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from tinykit.explore._shipped import check_format, stored
from tinykit.plots.memory import Life

if TYPE_CHECKING:
    from tinykit.targets.boards import Board

#: raised when the shape of the file changes
FORMAT = 3


@dataclass(frozen=True)
class CoreCost:
    """What the generated C of a network costs on one core: instructions and bytes, counted.

    The arena is the core's own too: kernels differ in the memory they work in.

    Attributes
    ----------
    cycles : of one inference (middle, low, high), modelled, by how a board reads its flash
        (`flash_key`); lacks what could not be modelled
    """

    instructions: int
    per_op: tuple[int, ...]
    code: int
    constants: int
    data: int
    stack: int
    static: int
    live_bytes: tuple[int, ...]
    tensors: tuple[Life, ...]
    arena_bytes: int
    cycles: Mapping[str, tuple[float, float, float]]

    @property
    def flash_bytes(self) -> int:
        return self.code + self.constants + self.data

    @property
    def sram_bytes(self) -> int:
        return self.arena_bytes + self.stack + self.static

    def milliseconds(self, board: Board) -> tuple[float, float, float]:
        """Middle, low and high end of the time of one inference on a board; modelled, from cycles
        or, without those, from the instructions and a mean."""
        known = self.cycles.get(flash_key(board))
        if known is None:
            return board.milliseconds(self.instructions)
        cycle, (middle, low, high) = 1e-3 / board.mhz, known
        return middle * cycle, low * cycle, high * cycle


@dataclass(frozen=True)
class Net:
    """One network of the sweep.

    Attributes
    ----------
    width, pruning : multiplier of the channels; share that was pruned away
    bits, method : of the weights, 32 is float; "ptq", "qat", or "" for float
    accuracies : on the test set in [0, 1], one for each seed; measured
    layers, macs, constant_bytes : one entry a layer (of the first seed's network)
    """

    width: float
    pruning: float
    bits: int
    method: str
    accuracies: tuple[float, ...]
    layers: tuple[str, ...]
    macs: tuple[int, ...]
    constant_bytes: tuple[int, ...]
    cores: Mapping[str, CoreCost]

    @property
    def key(self) -> tuple[float, float, int, str]:
        return self.width, self.pruning, self.bits, self.method

    @property
    def accuracy(self) -> float:
        return sum(self.accuracies) / len(self.accuracies)

    @property
    def kind(self) -> str:
        """Number format of the weights, for people."""
        return "float32" if self.bits == 32 else f"int{self.bits} {self.method.upper()}"

    @property
    def label(self) -> str:
        pruned = f"{self.pruning:.0%} pruned" if self.pruning else "not pruned"
        return f"width {self.width:g}, {pruned}, {self.kind}"


@dataclass(frozen=True)
class Table:
    """The networks by key, and `about`: data, training, seeds, versions."""

    about: Mapping[str, Any]
    nets: Mapping[tuple[float, float, int, str], Net]

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(self.about["seeds"])

    def values(self, knob: str) -> list[Any]:
        return sorted({getattr(net, knob) for net in self.nets.values()})


def parse(raw: Mapping[str, Any]) -> Table:
    """The table from its JSON.

    Raises
    ------
    TableError
    """
    check_format(raw, FORMAT)
    nets = {}
    for row in raw["nets"]:
        net = Net(
            width=row["width"],
            pruning=row["pruning"],
            bits=row["bits"],
            method=row["method"],
            accuracies=tuple(row["accuracies"]),
            layers=tuple(row["layers"]),
            macs=tuple(row["macs"]),
            constant_bytes=tuple(row["constant_bytes"]),
            cores={core: _cost(cost) for core, cost in row["cores"].items()},
        )
        nets[net.key] = net
    return Table(raw["about"], nets)


def _cost(raw: Mapping[str, Any]) -> CoreCost:
    lists: dict[str, Any] = {name: tuple(raw[name]) for name in ("per_op", "live_bytes")}
    lists["tensors"] = tuple(Life(*t) for t in raw["tensors"])
    lists["cycles"] = {key: tuple(ends) for key, ends in raw["cycles"].items()}
    return CoreCost(**{**raw, **lists})


def flash_key(board: Board) -> str:
    """How `board` reads its flash; "" where that is not known and not modelled."""
    timing = board.flash_timing
    return "" if timing is None else "/".join(str(value) for value in asdict(timing).values())


@cache
def load(name: str = "compress_digits") -> Table:
    """The table that ships under `name`.

    Raises
    ------
    TableError
    """
    return parse(stored(name))

"""A Profile: one table, layer by cost, in which every column says where its numbers come from.

Three provenances, shown wherever a number is shown:

- **measured**: a real runtime said so;
- **counted**: exact, e.g. instructions on an emulator, multiply-accumulates, bytes;
- **modelled**: an estimate; the column's `how` names the model and its error.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    from tinykit.graph.ir import Graph

Provenance = Literal["measured", "counted", "modelled"]
PROVENANCES: tuple[Provenance, ...] = ("measured", "counted", "modelled")
#: a cost that could not be had is None; the layer's or the profile's notes say why
Cost = int | float | None


@dataclass(frozen=True)
class Column:
    """What one cost is: its unit, where its numbers come from, and how they were got."""

    name: str
    unit: str
    provenance: Provenance
    how: str

    def __post_init__(self) -> None:
        if self.provenance not in PROVENANCES:
            raise ValueError(f"provenance is one of {PROVENANCES}, got {self.provenance!r}")


@dataclass(frozen=True)
class Layer:
    """One row: an op of the graph and its costs by column name (None where it has none)."""

    name: str
    op: str
    costs: Mapping[str, Cost]
    note: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "costs", MappingProxyType(dict(self.costs)))

    def __getitem__(self, column: str) -> Cost:
        return self.costs.get(column)

    @property
    def macs(self) -> Cost:
        return self["macs"]

    @property
    def instructions(self) -> Cost:
        return self["instructions"]

    @property
    def sram_bytes(self) -> Cost:
        return self["sram_bytes"]

    @property
    def flash_bytes(self) -> Cost:
        return self["flash_bytes"]

    @property
    def estimated_ms(self) -> Cost:
        return self["estimated_ms"]


@dataclass(frozen=True)
class Budget:
    """What a model needs of one memory against what the device has, in bytes.

    `peak_layer` is the layer that needs most of it, `peak_bytes` how much that layer takes.
    """

    memory: str  # "flash" or "sram"
    need: int
    have: int
    peak_layer: str
    peak_bytes: int
    at_least: bool = False  # `need` leaves out something that could not be profiled

    @property
    def over(self) -> int:
        """Bytes too many; negative when there is room."""
        return self.need - self.have

    @property
    def fits(self) -> bool:
        return self.need <= self.have

    def __str__(self) -> str:
        least = "at least " if self.at_least else ""
        head = f"{self.memory}: needs {least}{self.need:,} B of {self.have:,} B, "
        room = f"{-self.over:,} B to spare" if self.fits else f"{self.over:,} B too many"
        return f"{head}{room}; the peak is layer {self.peak_layer!r} ({self.peak_bytes:,} B)"


@dataclass(frozen=True)
class Fit:
    """Does a model fit a device, and by how much."""

    device: str
    budgets: tuple[Budget, ...]

    @property
    def fits(self) -> bool:
        return all(b.fits for b in self.budgets)

    def __str__(self) -> str:
        verdict = "fits" if self.fits else "does NOT fit"
        if self.fits and any(b.at_least for b in self.budgets):
            verdict = "as far as it could be profiled, fits"
        verdict = f"{verdict} {self.device}"
        return "\n".join([verdict, *(f"  {b}" for b in self.budgets)])


@dataclass(frozen=True)
class Profile:
    """What a graph costs on a target: totals, and a row for each layer.

    Attributes
    ----------
    model, target : names
    columns : what each cost is; `totals` and the layers' `costs` are keyed by their names
    totals : cost of one inference (time, instructions, MACs) or of the whole model (bytes)
    layers : one row for each op, in execution order
    fit : does it fit the device's memories; None where the target has no such limits
    ranges : low and high end of modelled totals, by column name
    notes : what a reader must know to read the numbers right
    complete : False when some op could not be profiled (its row says why)
    """

    model: str
    target: str
    columns: tuple[Column, ...]
    totals: Mapping[str, Cost]
    layers: tuple[Layer, ...]
    fit: Fit | None = None
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    complete: bool = True
    about: str = ""  # the target in a line: core, clock, memories

    def __post_init__(self) -> None:
        object.__setattr__(self, "totals", MappingProxyType(dict(self.totals)))
        object.__setattr__(self, "ranges", MappingProxyType(dict(self.ranges)))
        known = {c.name for c in self.columns}
        used = {*self.totals, *self.ranges, *(n for row in self.layers for n in row.costs)}
        if unknown := sorted(used - known):
            raise ValueError(f"numbers without a column that explains them: {', '.join(unknown)}")

    def __getitem__(self, column: str) -> Cost:
        return self.totals.get(column)

    def column(self, name: str) -> Column:
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)

    @property
    def fits(self) -> bool:
        """True when nothing says that the model is too big for the device."""
        return self.fit is None or self.fit.fits

    @property
    def macs(self) -> Cost:
        return self["macs"]

    @property
    def flash_bytes(self) -> Cost:
        return self["flash_bytes"]

    @property
    def sram_bytes(self) -> Cost:
        return self["sram_bytes"]

    @property
    def tflm_arena_bytes(self) -> Cost:
        return self["tflm_arena_bytes"]

    @property
    def instructions(self) -> Cost:
        return self["instructions"]

    @property
    def estimated_ms(self) -> Cost:
        return self["estimated_ms"]

    def to_dict(self) -> dict[str, Any]:
        """Plain values: totals at the top level, `layers`, `provenance` and units by column."""
        names = [c.name for c in self.columns]
        fit = (
            None
            if self.fit is None
            else {
                "fits": self.fit.fits,
                "device": self.fit.device,
                "memories": {
                    b.memory: {
                        "need_bytes": b.need,
                        "have_bytes": b.have,
                        "over_bytes": b.over,
                        "peak_layer": b.peak_layer,
                        "peak_bytes": b.peak_bytes,
                        "at_least": b.at_least,
                    }
                    for b in self.fit.budgets
                },
            }
        )
        return {
            "model": self.model,
            "target": self.target,
            "about": self.about,
            **{n: self.totals.get(n) for n in names},
            "ranges": {n: list(r) for n, r in self.ranges.items()},
            "fits": self.fits,
            "fit": fit,
            "complete": self.complete,
            "layers": [
                {"name": r.name, "op": r.op, **{n: r[n] for n in names}, "note": r.note}
                for r in self.layers
            ],
            "provenance": {c.name: c.provenance for c in self.columns},
            "columns": [
                {"name": c.name, "unit": c.unit, "provenance": c.provenance, "how": c.how}
                for c in self.columns
            ],
            "notes": list(self.notes),
        }

    def to_json(self, indent: int | None = 2) -> str:
        """The text of `to_dict` as JSON."""
        return json.dumps(self.to_dict(), indent=indent)

    def __str__(self) -> str:
        from tinykit.targets.render import profile_text

        return profile_text(self)

    def _repr_html_(self) -> str:
        from tinykit.targets.render import profile_html

        return profile_html(self)

    def __repr__(self) -> str:
        return f"<Profile of {self.model} on {self.target}: {len(self.layers)} layers>"


@runtime_checkable
class Target(Protocol):
    """Something that a graph costs something on: a board, an NPU, a phone, the host."""

    @property
    def name(self) -> str: ...

    def profile(self, graph: Graph, model: str | None = None) -> Profile: ...

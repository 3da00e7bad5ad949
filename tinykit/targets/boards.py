"""The device catalogue: microcontroller boards, read from `boards.toml` next to this module."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from tinykit.engine.flash import FlashTiming
from tinykit.graph.errors import TinykitError

if TYPE_CHECKING:
    from tinykit.graph.ir import Graph
    from tinykit.targets.profile import Profile

#: the numbers of a board, each of which has a source
NUMBERS = ("core", "mhz", "flash_bytes", "sram_bytes", "sram_total_bytes", "fpu")
#: what a row may leave out; it needs a source as well
OPTIONAL = ("flash_timing",)


class UnknownTargetError(TinykitError, LookupError):
    """No target of that name; the text names the closest."""


@dataclass(frozen=True)
class Core:
    """A processor core and the model by which instructions become time.

    `cpi` (cycles per instruction) with its range is an estimate: `model` says where it comes from,
    `calibrated` whether any board with this core was ever compared with it.
    """

    name: str
    title: str
    cpi: float
    cpi_low: float
    cpi_high: float
    calibrated: bool
    model: str


@dataclass(frozen=True)
class Board:
    """A microcontroller board; a `Target`.

    Attributes
    ----------
    name : what `load` finds it by
    core : the processor core and its time model
    mhz : highest rated clock, MHz
    flash_bytes : program memory, bytes
    sram_bytes : SRAM that one model may use (the largest contiguous region), bytes
    sram_total_bytes : all on-chip SRAM, bytes
    fpu : "none", "single" or "double"
    flash_timing : how its flash is read at `mhz`; None where the catalogue does not know
    sources : where each of `NUMBERS` and `OPTIONAL` comes from
    unchecked : which of them were not looked up again in the source that they name
    """

    name: str
    title: str
    core: Core
    mhz: float
    flash_bytes: int
    sram_bytes: int
    sram_total_bytes: int
    fpu: str
    flash_timing: FlashTiming | None = None
    note: str = ""
    sources: Mapping[str, str] = field(default_factory=dict)
    unchecked: tuple[str, ...] = ()

    @property
    def about(self) -> str:
        return (
            f"{self.title}, {self.core.title} at {self.mhz:g} MHz, "
            f"{kib(self.flash_bytes)} flash, {kib(self.sram_bytes)} SRAM"
        )

    def milliseconds(self, instructions: float) -> tuple[float, float, float]:
        """Estimated time of `instructions` in ms: (middle, low, high). Modelled, see `Core`.

        For figures of which only the instructions are known, and for cores whose cycles are not
        modelled; a profile on a Cortex-M4 models the cycles (`tinykit.engine.cycles`).
        """
        cycle = 1e-3 / self.mhz
        core = self.core
        return (
            instructions * core.cpi * cycle,
            instructions * core.cpi_low * cycle,
            instructions * core.cpi_high * cycle,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values; `core` is the core's name."""
        return {
            "name": self.name,
            "title": self.title,
            **{n: getattr(self, n) for n in NUMBERS},
            "core": self.core.name,
            "flash_timing": None if self.flash_timing is None else asdict(self.flash_timing),
            "note": self.note,
            "sources": dict(self.sources),
            "unchecked": list(self.unchecked),
        }

    def profile(self, graph: Graph, model: str | None = None) -> Profile:
        """What `graph` costs on this board; see `tinykit.targets.profile`."""
        from tinykit.targets.microcontroller import profile_on

        return profile_on(self, graph, model)


def kib(count: int) -> str:
    return f"{count / 1024:,.0f} KiB"


def load(name: str) -> Board:
    """The board called `name`; case, spaces, ``-`` and ``_`` do not matter.

    Raises
    ------
    UnknownTargetError
        With the closest names, or all of them where none is close.
    """
    catalogue = _catalogue()
    keys = {_plain(key): key for key in catalogue}
    if (key := keys.get(_plain(name))) is not None:
        return catalogue[key]
    titles = {_plain(b.title): key for key, b in catalogue.items()}
    if (key := titles.get(_plain(name))) is not None:
        return catalogue[key]
    near = difflib.get_close_matches(_plain(name), keys, n=3, cutoff=0.5)
    if near:
        hint = f"closest: {', '.join(keys[n] for n in near)} (`tinykit boards` lists all)"
    else:
        hint = f"there are: {', '.join(sorted(catalogue))}"
    raise UnknownTargetError(f"no target is called {name!r}; {hint}")


def names() -> list[str]:
    """Names of all boards, in the catalogue's order."""
    return list(_catalogue())


def boards() -> list[Board]:
    """All boards, in the catalogue's order."""
    return list(_catalogue().values())


def _plain(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalnum())


@cache
def _catalogue() -> dict[str, Board]:
    text = files("tinykit.targets").joinpath("boards.toml").read_text("utf-8")
    return parse(tomllib.loads(text))


def parse(table: Mapping[str, Any]) -> dict[str, Board]:
    """Boards from the catalogue's parsed TOML; a row that lacks a number or a source is refused."""
    cores = {name: Core(name, **row) for name, row in table["cores"].items()}
    found: dict[str, Board] = {}
    for name, row in table["boards"].items():
        row = dict(row)
        sources = dict(row.pop("sources", {}))
        default = sources.pop("default", "")
        row.setdefault("sram_total_bytes", row.get("sram_bytes"))
        resolved = {n: sources.get(n, default) for n in NUMBERS}
        if missing := [n for n in NUMBERS if not row.get(n) or not resolved[n]]:
            raise ValueError(f"board {name!r} lacks {', '.join(missing)} or a source for it")
        if row["core"] not in cores:
            raise ValueError(f"board {name!r}: no core {row['core']!r} in [cores]")
        row["core"] = cores[row["core"]]
        if "flash_timing" in row:
            if "flash_timing" not in sources:
                raise ValueError(f"board {name!r} lacks a source for flash_timing")
            row["flash_timing"] = FlashTiming(**row["flash_timing"])
            resolved["flash_timing"] = sources["flash_timing"]
        row["unchecked"] = tuple(row.pop("unchecked", ()))
        found[name] = Board(name=name, sources=MappingProxyType(resolved), **row)
    return found

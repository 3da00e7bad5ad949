"""What a quantizer is: a module that rounds, whose mode is said and never guessed.

docs/quantizers.md shows how to write one.
"""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from tinykit.graph.errors import TinykitError
from tinykit.quant import functional as fq


class Mode(StrEnum):
    """What a quantizer does with what passes through it.

    OFF : nothing
    OBSERVE : watches and passes it on as it is; leaving this mode sets the range
    QUANTIZE : rounds
    FOLLOW : rounds, and in training (`Module.train`) lets its range follow what it sees
    """

    OFF = "off"
    OBSERVE = "observe"
    QUANTIZE = "quantize"
    FOLLOW = "follow"


@dataclass(frozen=True)
class Grid:
    """Which integers there are, and which numbers share a scale.

    Parameters
    ----------
    bits : 1 to 16
    symmetric : zero point 0; False lets the range lie anywhere around 0
    narrow : the most negative integer is left out
    axis : one scale for each index along it; None: one in all
    group : so many neighbours along axis 1 share a scale (then `axis` is 0)
    """

    bits: int = 8
    symmetric: bool = True
    narrow: bool = True
    axis: int | None = None
    group: int | None = None

    def __post_init__(self) -> None:
        fq.levels(self.bits, self.narrow and self.bits > 1)

    @property
    def low(self) -> int:
        """The smallest integer."""
        return fq.levels(self.bits, self.narrow and self.bits > 1)[0]

    @property
    def high(self) -> int:
        """The largest integer."""
        return fq.levels(self.bits)[1]


class NotExportable(TinykitError):
    """A quantizer whose numbers TFLite has no way to store."""


class Quantizer(nn.Module, ABC):
    """Rounds what passes; a subclass says to what, and how gradients get through.

    ``class Mine(Quantizer, name="mine")`` is known as "mine" from then on. It defines `fake`, and
    whichever of these it needs: `watch`, to learn from what it observes; `settle`, to set its
    parameters from that; `follow`; `whole`, by which it can be exported.

    Parameters
    ----------
    grid : the integers there are. A kind that has levels of its own says so in `own_bits`.
    """

    registry: ClassVar[dict[str, type[Quantizer]]] = {}
    name: ClassVar[str] = ""
    #: bits that this kind takes whatever the grid says
    own_bits: ClassVar[int | None] = None
    #: represents nothing below 0: of use behind a ReLU alone
    one_sided: ClassVar[bool] = False

    def __init_subclass__(cls, name: str = "", **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if name:
            cls.name = name
            Quantizer.registry[name] = cls

    def __init__(self, grid: Grid | None = None) -> None:
        super().__init__()
        self.grid = grid or Grid()
        self._mode = Mode.OBSERVE
        self.ready = False
        self.seen = False

    # -- what a kind defines -----------------------------------------------------------------------

    @abstractmethod
    def fake(self, x: Tensor) -> Tensor:
        """`x` rounded, in real numbers, with a gradient."""

    def watch(self, x: Tensor) -> None:
        """Learn from `x` (mode "observe"); by default nothing."""

    def settle(self) -> None:
        """Set parameters from what was watched; by default nothing."""

    def follow(self, x: Tensor) -> None:
        """Move the range towards `x` (mode "follow", in training); by default nothing."""

    def whole(self, x: Tensor) -> tuple[Tensor, int, int]:
        """(scale, low, high): `fake(x)` is a whole multiple, low..high, of scale (along the axis).

        Raises
        ------
        NotExportable
            By default: nothing is known of the levels.
        """
        raise NotExportable(f"the levels of quantizer {self.name!r} are no multiples of a step")

    # -- what every kind does ----------------------------------------------------------------------

    @property
    def mode(self) -> Mode:
        """What it does with what passes; settable, also by name ("quantize")."""
        return self._mode

    @mode.setter
    def mode(self, mode: Mode | str) -> None:
        try:
            mode = Mode(mode)
        except ValueError:
            raise TinykitError(
                f"mode is {mode!r}; a quantizer's mode is one of {', '.join(Mode)}"
            ) from None
        if self.seen:
            self.settle()
            self.ready = True
        if mode in (Mode.QUANTIZE, Mode.FOLLOW) and not self.ready:
            raise TinykitError(
                f"quantizer {self.name!r} has seen no values: run examples through it in mode "
                f"'observe' first"
            )
        self.seen = False
        self._mode = mode

    def forward(self, x: Tensor, observe: bool = True) -> Tensor:
        """`x` by the mode; with `observe` False nothing is learned from it."""
        if self._mode == Mode.OFF:
            return x
        if self._mode == Mode.OBSERVE:
            if observe and not torch.compiler.is_exporting():
                self.look(x)
            return x
        if self._mode == Mode.FOLLOW and self.training and observe:
            with torch.no_grad():
                self.follow(x.detach())
        return self.exported(x) if torch.compiler.is_exporting() else self.fake(x)

    @torch.no_grad()
    def look(self, x: Tensor) -> None:
        """Watch `x`, after making sure that there is something to see."""
        if not x.numel():
            raise TinykitError(f"nothing to quantize: a tensor of shape {tuple(x.shape)} is empty")
        if not bool(torch.isfinite(x).all()):
            raise TinykitError("what is to be quantized holds NaN or infinity")
        self.watch(x.detach())
        self.seen = True

    def start(self, x: Tensor) -> Quantizer:
        """Observe `x` alone, then quantize; returns itself."""
        self.mode = Mode.OBSERVE
        self.look(x)
        self.mode = Mode.QUANTIZE
        return self

    def exported(self, x: Tensor) -> Tensor:
        """The same numbers as `fake`, by an operator that the exporter knows."""
        scale, low, high = self.whole(x)
        zero = torch.zeros(scale.shape, dtype=torch.int32)
        axis = self.grid.axis if scale.numel() > 1 else None
        return fq.kernel(self.fake(x).detach(), scale.detach(), zero, low, high, axis)

    def get_extra_state(self) -> dict[str, Any]:
        return {"mode": str(self._mode), "ready": self.ready}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self._mode, self.ready, self.seen = Mode(state["mode"]), state["ready"], False

    def extra_repr(self) -> str:
        return f"{self.name or type(self).__name__}, {self._mode}, {self.grid}"


#: a kind of quantizer: its name, its class, or anything that makes one of a Grid
Kind = str | type[Quantizer] | Callable[[Grid], Quantizer]


def quantizers() -> dict[str, type[Quantizer]]:
    """Every kind that has a name: those in `tinykit/quant/quantizers/`, and those defined since."""
    package = importlib.import_module("tinykit.quant.quantizers")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
    return Quantizer.registry


def kind_class(kind: Kind) -> type[Quantizer] | None:
    """The class that `kind` names or is; None for a function that makes quantizers."""
    if isinstance(kind, str):
        there = quantizers()
        if kind not in there:
            raise TinykitError(f"no quantizer {kind!r}; there are: {', '.join(sorted(there))}")
        return there[kind]
    if isinstance(kind, type) and issubclass(kind, Quantizer):
        return kind
    inner = getattr(kind, "func", None)  # a functools.partial of a class
    if inner is not None:
        return kind_class(inner)
    if not callable(kind):
        raise TinykitError(f"a quantizer is given by its name or class, not {kind!r}")
    return None


def quantizer(kind: Kind, grid: Grid | None = None) -> Quantizer:
    """A fresh quantizer by name, by class, or by a function of a Grid.

    Raises
    ------
    TinykitError
        A name that does not exist; what is made is no Quantizer.
    """
    cls = kind_class(kind)
    made = cls(grid) if cls is not None and not hasattr(kind, "func") else kind(grid or Grid())  # type: ignore[operator]
    if not isinstance(made, Quantizer):
        raise TinykitError(f"{kind!r} made {type(made).__name__}, which is no Quantizer")
    return made

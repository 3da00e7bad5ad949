"""One measured figure, its limit, and whether it holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Number = int | float


@dataclass(frozen=True)
class Figure:
    """A figure that was measured now.

    Attributes
    ----------
    value : None when it could not be measured (the figure's name says why)
    limit : what was promised; None where nothing was
    sense : "<=" or ">=", how value and limit compare
    peer : what something else did in the same run, as {"name", "value"}; None where there is none
    """

    figure: str
    value: Number | None
    unit: str
    limit: Number | None = None
    sense: str = "<="
    peer: dict[str, Any] | None = None

    @property
    def holds(self) -> bool | None:
        """None when there is no limit, False also when there is no value."""
        if self.limit is None:
            return None
        if self.value is None:
            return False
        return self.value <= self.limit if self.sense == "<=" else self.value >= self.limit

    def to_dict(self) -> dict[str, Any]:
        return {
            "figure": self.figure,
            "value": self.value,
            "unit": self.unit,
            "limit": self.limit,
            "holds": self.holds,
            "peer": self.peer,
        }


def at_most(
    figure: str, value: Number | None, unit: str, limit: Number, peer: dict[str, Any] | None = None
) -> Figure:
    return Figure(figure, value, unit, limit, "<=", peer)


def at_least(
    figure: str, value: Number | None, unit: str, limit: Number, peer: dict[str, Any] | None = None
) -> Figure:
    return Figure(figure, value, unit, limit, ">=", peer)


def plain(
    figure: str, value: Number | None, unit: str, peer: dict[str, Any] | None = None
) -> Figure:
    """A figure without a limit."""
    return Figure(figure, value, unit, None, "<=", peer)

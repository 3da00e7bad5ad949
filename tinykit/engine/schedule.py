"""A schedule: which kernel computes a layer, and with which loop order, blocking and unrolling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tinykit.graph.errors import TinykitError


@dataclass(frozen=True)
class Schedule:
    """A kernel's name and the values of its knobs.

    Written ``kernel:knob=value,knob=value``, knobs in alphabetical order; values are integers.
    """

    kernel: str
    knobs: tuple[tuple[str, int], ...] = ()

    @classmethod
    def of(cls, kernel: str, **knobs: int) -> Schedule:
        return cls(kernel, tuple(sorted((k, int(v)) for k, v in knobs.items())))

    @classmethod
    def parse(cls, text: str) -> Schedule:
        """The schedule that ``str`` wrote; TinykitError on anything else."""
        kernel, _, rest = text.partition(":")
        try:
            pairs = [item.split("=") for item in rest.split(",") if item]
            return cls.of(kernel, **{k: int(v) for k, v in pairs})
        except ValueError:
            raise TinykitError(
                f"{text!r} is no schedule; one reads kernel:knob=1,other=2"
            ) from None

    def __str__(self) -> str:
        knobs = ",".join(f"{k}={v}" for k, v in self.knobs)
        return f"{self.kernel}:{knobs}" if knobs else self.kernel

    def __getitem__(self, knob: str) -> int:
        return dict(self.knobs)[knob]

    def get(self, knob: str, default: Any = None) -> Any:
        return dict(self.knobs).get(knob, default)


#: in a table or in `Options.schedules`: no specialised kernel; an op by its plain kernel, the ops
#: of a chain apart
NONE = Schedule("none")

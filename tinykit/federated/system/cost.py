"""What one round cost: seconds and joules of each device by phase, with where they come from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

#: the phases of a round, in the order in which a device passes through them
PHASES = ("overhead", "download", "compute", "upload", "wait")


@dataclass(frozen=True)
class Label:
    """What a quantity is: its unit, its provenance, how it was got."""

    unit: str
    provenance: Literal["measured", "counted", "modelled"]
    how: str


@dataclass(frozen=True)
class RoundCost:
    """What one round cost the devices that took part. Arrays have one entry a device.

    Attributes
    ----------
    devices : int64 (n,), numbers of the devices in the fleet
    kinds : names of their classes
    seconds : phase -> float64 (n,), s; `PHASES`
    joules : phase -> float64 (n,), J
    asked, done : int64 (n,), minibatch steps that were asked for, and done before the cut-off
    dropped : bool (n,), came after the deadline, so that the server goes on without them
    cutoff_s, deadline_s : as asked; None where there was none
    labels : quantity -> its unit, provenance and how it was got
    """

    devices: NDArray[np.int64]
    kinds: tuple[str, ...]
    seconds: Mapping[str, NDArray[np.float64]]
    joules: Mapping[str, NDArray[np.float64]]
    asked: NDArray[np.int64]
    done: NDArray[np.int64]
    dropped: NDArray[np.bool_]
    cutoff_s: float | None
    deadline_s: float | None
    labels: Mapping[str, Label]

    def __post_init__(self) -> None:
        for name in ("seconds", "joules", "labels"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    @property
    def finish_s(self) -> NDArray[np.float64]:
        """When each device was ready, or was told to stop, s after the round began; (n,)."""
        return sum((self.seconds[p] for p in PHASES[:-1]), np.zeros(len(self.devices)))

    @property
    def round_seconds(self) -> float:
        """How long the round took: as long as its slowest device, or the deadline, s."""
        total = self.finish_s + self.seconds["wait"]
        return float(total.max(initial=0.0))

    @property
    def device_joules(self) -> NDArray[np.float64]:
        """Energy of each device over the whole round, waiting included, J; (n,)."""
        return sum((self.joules[p] for p in PHASES), np.zeros(len(self.devices)))

    @property
    def total_joules(self) -> float:
        """Energy of all devices together, J."""
        return float(self.device_joules.sum())

    @property
    def returned(self) -> NDArray[np.bool_]:
        """Which devices sent something new in time; (n,)."""
        return (self.done > 0) & ~self.dropped

    @property
    def partial(self) -> NDArray[np.bool_]:
        """Which devices did fewer steps than they were asked for; (n,)."""
        return self.done < self.asked

    def stragglers(self, factor: float = 1.5) -> NDArray[np.int64]:
        """Numbers of the devices that took more than `factor` times the cohort's median."""
        if not len(self.devices):
            return self.devices
        finish = self.finish_s
        return self.devices[finish > factor * np.median(finish)]

    def by_kind(self) -> list[dict[str, Any]]:
        """One row a device class: devices, mean seconds and joules by phase, joules in all."""
        kinds = np.array(self.kinds, dtype=object)
        rows = []
        for kind in dict.fromkeys(self.kinds):
            of = kinds == kind
            row: dict[str, Any] = {"class": kind, "devices": int(of.sum())}
            row |= {f"{p} [s]": float(self.seconds[p][of].mean()) for p in PHASES}
            row |= {f"{p} [J]": float(self.joules[p][of].mean()) for p in PHASES}
            row |= {
                "steps done": float(self.done[of].mean()),
                "returned": int(self.returned[of].sum()),
                "joules [J]": float(self.device_joules[of].sum()),
            }
            rows.append(row)
        return rows

    def to_dict(self) -> dict[str, Any]:
        """Plain values; units and provenance under ``labels``."""
        return {
            "round_seconds": self.round_seconds,
            "total_joules": self.total_joules,
            "devices": self.devices.tolist(),
            "classes": list(self.kinds),
            "seconds": {p: self.seconds[p].tolist() for p in PHASES},
            "joules": {p: self.joules[p].tolist() for p in PHASES},
            "steps_asked": self.asked.tolist(),
            "steps_done": self.done.tolist(),
            "dropped": self.dropped.tolist(),
            "cutoff_s": self.cutoff_s,
            "deadline_s": self.deadline_s,
            "labels": {n: vars(label) for n, label in self.labels.items()},
        }

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=1)

    def __str__(self) -> str:
        """A table of classes, and what the numbers rest on."""
        head = (
            f"round: {self.round_seconds:.3g} s, {self.total_joules:.3g} J over "
            f"{len(self.devices)} devices ({self.labels['seconds'].provenance}); "
            f"{int(self.returned.sum())} returned, {int(self.partial.sum())} stopped early, "
            f"{int(self.dropped.sum())} came too late"
        )
        width = max((len(k) for k in self.kinds), default=5)
        lines = [head, "mean seconds by phase, joules of all:"] if self.kinds else [head]
        for row in self.by_kind():
            spent = "  ".join(f"{p} {row[f'{p} [s]']:.3g}" for p in PHASES)
            lines.append(
                f"  {row['class']:<{width}}  x{row['devices']:<6} {spent}  "
                f"{row['joules [J]']:.3g} J"
            )
        return "\n".join([*lines, *(f"{n}: {x.how}" for n, x in self.labels.items())])

"""Random fleets and rounds, and what they cost by a loop over devices."""

from __future__ import annotations

from dataclasses import dataclass
from math import floor

import numpy as np
from hypothesis import strategies as st

from tinykit.federated.system import Fleet, Work, names

MODELS = st.floats(1e3, 1e8)
CLASSES = st.sampled_from(names())


@dataclass(frozen=True)
class Round:
    """What `Fleet.cost` is asked."""

    fleet: Fleet
    devices: np.ndarray
    steps: np.ndarray
    batch: int
    bytes_down: float
    bytes_up: float
    cutoff_s: float | None
    deadline_s: float | None

    def cost(self, **changed):
        asked = {
            name: getattr(self, name)
            for name in ("devices", "steps", "batch", "bytes_down", "bytes_up", "cutoff_s",
                         "deadline_s")
        }  # fmt: skip
        return self.fleet.cost(**{**asked, **changed})


@st.composite
def rounds(draw: st.DrawFn) -> Round:
    kinds = draw(st.lists(CLASSES, min_size=1, max_size=8))
    speed = draw(st.lists(st.floats(0.1, 10), min_size=len(kinds), max_size=len(kinds)))
    fleet = Fleet(kinds, Work.from_macs(draw(MODELS)), speed=speed)
    devices = draw(st.lists(st.integers(0, len(kinds) - 1), unique=True))
    steps = draw(st.lists(st.integers(0, 200), min_size=len(devices), max_size=len(devices)))
    limit = st.none() | st.floats(0, 100)
    return Round(
        fleet,
        np.array(devices, np.int64),
        np.array(steps, np.int64),
        draw(st.integers(1, 64)),
        draw(st.floats(0, 1e7)),
        draw(st.floats(0, 1e7)),
        draw(limit),
        draw(limit),
    )


def one_by_one(asked: Round) -> tuple[list[dict[str, float]], list[dict[str, float]], list[int]]:
    """Seconds and joules by phase and steps done of each device, in plain Python."""
    spent, done = [], []
    fleet = asked.fleet
    for device, steps in zip(asked.devices.tolist(), asked.steps.tolist(), strict=True):
        kind, link = fleet.classes[fleet.kind[device]], fleet.links[fleet.kind[device]]
        rate = kind.training_macs_per_s.value * fleet.speed[device]
        step = asked.batch * 3 * fleet.work.macs / rate
        can = steps if asked.cutoff_s is None else min(steps, floor(asked.cutoff_s / step))
        done.append(can)
        phases = {
            "overhead": kind.overhead_s.value,
            "download": asked.bytes_down * 8 / (link.down_mbps.value * 1e6),
            "compute": can * step,
            "upload": asked.bytes_up * 8 / (link.up_mbps.value * 1e6) if can else 0.0,
        }
        if asked.deadline_s is not None:
            left = asked.deadline_s
            for phase, seconds in phases.items():
                phases[phase] = min(seconds, left)
                left -= phases[phase]
        spent.append(phases)
    whole = max((sum(p.values()) for p in spent), default=0.0)
    energy = []
    for device, phases in zip(asked.devices.tolist(), spent, strict=True):
        kind, link = fleet.classes[fleet.kind[device]], fleet.links[fleet.kind[device]]
        phases["wait"] = whole - sum(phases.values())
        idle = kind.idle_w.value
        watts = {
            "overhead": idle,
            "download": idle + link.receive_w.value,
            "compute": kind.compute_w.value,
            "upload": idle + link.send_w.value,
            "wait": idle,
        }
        energy.append({phase: watts[phase] * phases[phase] for phase in phases})
    return spent, energy, done

"""Where the numbers of a round come from, and which of them nobody measured."""

from __future__ import annotations

from collections.abc import Sequence

from tinykit.federated.system.catalogue import DeviceClass, Link
from tinykit.federated.system.cost import Label
from tinykit.federated.system.work import Work

TIMES = ("training_macs_per_s", "overhead_s", "down_mbps", "up_mbps")
POWERS = ("idle_w", "compute_w", "receive_w", "send_w")


def labels_of(
    devices: Sequence[DeviceClass], links: Sequence[Link], work: Work
) -> dict[str, Label]:
    """Unit, provenance and origin of what a round costs on `devices` over `links`."""
    rates = "; ".join(f"{d.name}: {work.how(d)}" for d in devices) or "no devices"
    model = "t = overhead + down/bw + min(E n s, tau) + up/bw (Mathur et al. 2021)"
    measured = {d.name for d in devices if work.provenance(d) == "measured"}
    things: list[DeviceClass | Link] = [*devices, *dict.fromkeys(links)]
    times = _assumed(things, TIMES, measured)
    powers = _assumed(things, POWERS, measured)
    return {
        "seconds": Label("s", "modelled", f"{model}. {rates}{times}"),
        "joules": Label("J", "modelled", f"power by phase x seconds, waiting included{powers}"),
        "steps": Label("steps", "modelled", "whole steps that fit in the cut-off"),
    }


def _assumed(
    things: Sequence[DeviceClass | Link], numbers: Sequence[str], measured: set[str]
) -> str:
    """What nobody measured of `numbers`; rates that were measured need none from the catalogue."""
    said = []
    for thing in things:
        own = [
            name
            for name in numbers
            if (number := getattr(thing, name, None)) is not None and number.origin == "assumed"
            if not (name == "training_macs_per_s" and thing.name in measured)
        ]
        if own:
            said.append(f"{thing.name}: {', '.join(own)}")
    return f". Assumed, not measured: {'; '.join(said)}" if said else ""

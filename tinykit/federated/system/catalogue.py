"""Device classes that can take part in a federation, read from `devices.toml` beside this module.

A class says how fast such a device trains, how much memory it has, over which links it reaches the
server, what it draws in each phase of a round, and how often it is free to take part. Each number
is a `Number`: value, unit, provenance and source, so that nothing is shown without its origin.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from math import isfinite
from types import MappingProxyType
from typing import Any, Literal, get_args

from tinykit.federated.system.errors import CatalogueError, UnknownDeviceError

Origin = Literal["measured", "datasheet", "derived", "assumed"]
ORIGINS: tuple[Origin, ...] = get_args(Origin)

#: number -> unit; a class has them all
DEVICE_NUMBERS = {
    "training_macs_per_s": "MAC/s",
    "memory_bytes": "B",
    "overhead_s": "s",
    "idle_w": "W",
    "compute_w": "W",
    "available": "share",
}
LINK_NUMBERS = {"down_mbps": "Mbit/s", "up_mbps": "Mbit/s", "receive_w": "W", "send_w": "W"}
#: numbers that may be nought; the others have to be positive
MAY_BE_ZERO = {"overhead_s", "idle_w", "receive_w", "send_w", "available"}


@dataclass(frozen=True)
class Number:
    """A number with its origin.

    Attributes
    ----------
    origin : "measured" (somebody measured this device), "datasheet", "derived" (computed from
        figures of either kind; `source` says how) or "assumed"
    source : by whom and where, how derived, or why assumed
    checked : False where the source is quoted from memory, not looked up again
    """

    value: float
    unit: str
    origin: Origin
    source: str
    checked: bool = True

    def __str__(self) -> str:
        return f"{self.value:g} {self.unit} ({self.origin}{'' if self.checked else ', unchecked'})"


@dataclass(frozen=True)
class Link:
    """A way to the server; `receive_w` and `send_w` are what its radio draws on top of idling."""

    name: str
    title: str
    down_mbps: Number
    up_mbps: Number
    receive_w: Number
    send_w: Number


@dataclass(frozen=True)
class DeviceClass:
    """Devices of one make.

    Attributes
    ----------
    name, title, kind : `kind` is "phone", "tablet", "board" or "microcontroller"
    training_macs_per_s : effective multiply-accumulates a second while training (float32), counted
        as `tinykit.federated.system.work.TRAINING_FACTOR` times the forward pass
    memory_bytes : of the device, B
    overhead_s : to connect, (de)serialize and start training, each round, s
    idle_w, compute_w : what the whole device draws while it waits and while it trains, W
    available : share of the time in which the device is on line and free to train
    by_hour : the same for each hour of the day, from 0 h; None where it does not depend on it
    links : names of the links it can use, its usual one first
    """

    name: str
    title: str
    kind: str
    training_macs_per_s: Number
    memory_bytes: Number
    overhead_s: Number
    idle_w: Number
    compute_w: Number
    available: Number
    links: tuple[str, ...]
    by_hour: tuple[float, ...] | None = None
    note: str = ""

    @property
    def assumed(self) -> tuple[str, ...]:
        """Names of the numbers that nobody measured or specified."""
        return tuple(n for n in DEVICE_NUMBERS if getattr(self, n).origin == "assumed")


@dataclass(frozen=True)
class Catalogue:
    """Links and device classes by name."""

    links: Mapping[str, Link]
    devices: Mapping[str, DeviceClass]

    def device(self, name: str) -> DeviceClass:
        """The class called `name`; raises `UnknownDeviceError` with the closest names."""
        return self.devices[nearest(name, self.devices, "device class")]

    def link(self, name: str) -> Link:
        """The link called `name`; raises `UnknownDeviceError` with the closest names."""
        return self.links[nearest(name, self.links, "link")]


def load(name: str) -> DeviceClass:
    """The device class called `name`; case, spaces, ``-`` and ``_`` do not matter.

    Raises
    ------
    UnknownDeviceError
        With the closest names, or all of them where none is close.
    """
    return catalogue().device(name)


def names() -> list[str]:
    """Names of all device classes, in the catalogue's order."""
    return list(catalogue().devices)


@cache
def catalogue() -> Catalogue:
    """The catalogue that ships with the kit."""
    text = files("tinykit.federated.system").joinpath("devices.toml").read_text("utf-8")
    return parse(tomllib.loads(text))


def parse(table: Mapping[str, Any]) -> Catalogue:
    """A catalogue from parsed TOML; see the head of `devices.toml` for its form.

    Raises
    ------
    CatalogueError
        A row lacks a number, or a number lacks its origin or source; names the row.
    """
    links = {
        name: Link(name, _text(row, "title", name), **_numbers(row, LINK_NUMBERS, f"link {name!r}"))
        for name, row in table.get("links", {}).items()
    }
    devices = {name: _device(name, row, links) for name, row in table.get("devices", {}).items()}
    return Catalogue(MappingProxyType(links), MappingProxyType(devices))


def nearest(name: str, known: Collection[str], what: str) -> str:
    """The key of `known` that `name` means; raises `UnknownDeviceError` where there is none."""
    keys = {_plain(key): key for key in known}
    if (key := keys.get(_plain(name))) is not None:
        return key
    near = difflib.get_close_matches(_plain(name), keys, n=3, cutoff=0.5)
    hint = f"closest: {', '.join(keys[n] for n in near)}" if near else f"there are: {_list(known)}"
    raise UnknownDeviceError(f"no {what} is called {name!r}; {hint}")


def _device(name: str, row: Mapping[str, Any], links: Mapping[str, Link]) -> DeviceClass:
    where = f"device {name!r}"
    numbers = _numbers(row, DEVICE_NUMBERS, where)
    own = tuple(row.get("links", ()))
    if not own or (unknown := [n for n in own if n not in links]):
        wrong = f"no link {unknown[0]!r}" if own else "no links"
        raise CatalogueError(f"{where} has {wrong}; there are: {_list(links)}")
    if not 0 <= numbers["available"].value <= 1:
        raise CatalogueError(f"{where}: available is a share from 0 to 1")
    hours = row.get("by_hour")
    if hours is not None and (len(hours) != 24 or not all(0 <= h <= 1 for h in hours)):
        raise CatalogueError(f"{where}: by_hour holds 24 shares from 0 to 1, for 0 h to 23 h")
    return DeviceClass(
        name,
        _text(row, "title", name),
        _text(row, "kind", name),
        links=own,
        by_hour=None if hours is None else tuple(float(h) for h in hours),
        note=row.get("note", ""),
        **numbers,
    )


def _numbers(row: Mapping[str, Any], units: Mapping[str, str], where: str) -> dict[str, Number]:
    found = {}
    for name, unit in units.items():
        said = row.get(name)
        if not isinstance(said, Mapping) or not {"value", "origin", "source"} <= set(said):
            raise CatalogueError(
                f"{where} lacks {name} as {{ value = ..., origin = ..., source = ... }} ({unit})"
            )
        value, origin = said["value"], said["origin"]
        if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
            raise CatalogueError(f"{where}: {name} is a number in {unit}, got {value!r}")
        if value < 0 or (value == 0 and name not in MAY_BE_ZERO):
            raise CatalogueError(f"{where}: {name} = {value!r} {unit} cannot be")
        if origin not in ORIGINS or not said["source"]:
            raise CatalogueError(f"{where}: {name} needs a source and an origin of {ORIGINS}")
        checked = said.get("checked", True)
        found[name] = Number(float(value), unit, origin, said["source"], checked)
    return found


def _text(row: Mapping[str, Any], key: str, name: str) -> str:
    if not row.get(key):
        raise CatalogueError(f"{name!r} lacks {key}")
    return str(row[key])


def _plain(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalnum())


def _list(known: Collection[str]) -> str:
    return ", ".join(sorted(known)) or "none"

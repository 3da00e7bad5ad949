"""What a federated round costs on real devices: seconds, joules, stragglers. numpy only."""

from tinykit.federated.system.catalogue import (
    Catalogue,
    DeviceClass,
    Link,
    Number,
    catalogue,
    load,
    names,
    parse,
)
from tinykit.federated.system.cost import PHASES, Label, RoundCost
from tinykit.federated.system.errors import CatalogueError, FleetError, UnknownDeviceError
from tinykit.federated.system.fleet import Fleet
from tinykit.federated.system.work import TRAINING_FACTOR, Work

__all__ = [
    "PHASES",
    "TRAINING_FACTOR",
    "Catalogue",
    "CatalogueError",
    "DeviceClass",
    "Fleet",
    "FleetError",
    "Label",
    "Link",
    "Number",
    "RoundCost",
    "UnknownDeviceError",
    "Work",
    "catalogue",
    "load",
    "names",
    "parse",
]

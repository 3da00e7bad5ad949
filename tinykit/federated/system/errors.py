"""What can be wrong with a fleet or the catalogue of device classes."""

from __future__ import annotations

from tinykit.graph.errors import TinykitError


class FleetError(TinykitError, ValueError):
    """A number that no fleet, workload or round can have; the text says which and what to do."""


class UnknownDeviceError(TinykitError, LookupError):
    """No device class (or link) of that name; the text names the closest."""


class CatalogueError(TinykitError, ValueError):
    """A row of the device catalogue that lacks a number, or a number that lacks its source."""

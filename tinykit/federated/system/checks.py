"""Numbers that a fleet, a workload or a round can have; all else is told in words."""

from __future__ import annotations

from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinykit.federated.system.errors import FleetError


def whole(value: Any, what: str) -> int:
    if isinstance(value, bool) or int(value) != value or value < 0:
        raise FleetError(f"{what}: expected a whole number, 0 or more; got {value!r}")
    return int(value)


def at_least(least: float, value: float, what: str) -> None:
    if not (isfinite(value) and value >= least):
        raise FleetError(f"{what}: expected a finite number, {least:g} or more; got {value!r}")


def counts(value: ArrayLike, what: str, least: int) -> NDArray[np.int64]:
    count = np.asarray(value)
    if count.size and (not np.issubdtype(count.dtype, np.integer) or count.min() < least):
        raise FleetError(f"{what}: expected whole numbers, {least} or more; got {value!r}")
    return count.astype(np.int64)


def amounts(value: ArrayLike, what: str) -> NDArray[np.float64]:
    amount = np.asarray(value, np.float64)
    if amount.size and not np.all(np.isfinite(amount) & (amount >= 0)):
        raise FleetError(f"{what}: expected finite numbers, 0 or more; got {value!r}")
    return amount


def positive(value: Any, what: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise FleetError(f"{what}: expected a number, got {value!r}") from None
    if not isfinite(number) or number <= 0:
        raise FleetError(f"{what}: expected a positive number, got {value!r}")
    return number


def one_each(values: NDArray[Any], devices: int, what: str) -> NDArray[Any]:
    """`values` with an entry for each device; one number serves them all."""
    if values.ndim and values.shape != (devices,):
        raise FleetError(f"{what}: {values.size} numbers for {devices} devices")
    return np.broadcast_to(values, (devices,))

"""Numbers that a fleet, a workload or a round can have; all else is told in words."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinykit.data import checks
from tinykit.federated.system.errors import FleetError

whole = partial(checks.whole, error=FleetError)
real = partial(checks.real, error=FleetError)


def counts(value: ArrayLike, what: str, least: int) -> NDArray[np.int64]:
    count = np.asarray(value)
    if count.size and (not np.issubdtype(count.dtype, np.integer) or count.min() < least):
        raise FleetError(f"{what}: expected whole numbers, {least} or more; got {value!r}")
    return count.astype(np.int64)


def amounts(value: ArrayLike, what: str) -> NDArray[np.float64]:
    try:
        amount = np.asarray(value, np.float64)
        fine = bool(np.all(np.isfinite(amount) & (amount >= 0)))
    except (TypeError, ValueError):
        fine = False
    if not fine:
        raise FleetError(f"{what}: expected finite numbers, 0 or more; got {value!r}")
    return amount


def one_each(values: NDArray[Any], devices: int, what: str) -> NDArray[Any]:
    """`values` with an entry for each device; one number serves them all."""
    if values.ndim and values.shape != (devices,):
        raise FleetError(f"{what}: {values.size} numbers for {devices} devices")
    return np.broadcast_to(values, (devices,))

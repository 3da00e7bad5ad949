"""Numbers that a setting of a simulation can be; all else is a `FederatedError`."""

from __future__ import annotations

from functools import partial

from tinykit.data import checks
from tinykit.federated.errors import FederatedError

whole = partial(checks.whole, error=FederatedError)
real = partial(checks.real, error=FederatedError)

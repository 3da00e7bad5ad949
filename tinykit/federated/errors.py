"""What can go wrong in a federation, in words."""

from __future__ import annotations

from tinykit.graph.errors import TinykitError


class FederatedError(TinykitError, ValueError):
    """A simulation that cannot start or go on as it was asked for."""


class ClientError(FederatedError):
    """A client function that raised, or returned what no server can use; names device and round."""

"""What can be wrong with data."""

from __future__ import annotations

from tinykit.graph.errors import TinykitError


class DataError(TinykitError, ValueError):
    """A data file that is damaged or not what it should be, or a dataset that does not exist."""

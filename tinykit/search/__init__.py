"""Searches: for now over the schedules of the engine's kernels."""

from tinykit.search.schedules import Choice, Tuning, tune
from tinykit.search.trials import Trial

__all__ = ["Choice", "Trial", "Tuning", "tune"]

"""Searches: for now over the schedules of the engine's kernels."""

from tinykit.search.cost_model import CostModel
from tinykit.search.schedules import tune
from tinykit.search.trials import Trial
from tinykit.search.tuning import OBJECTIVES, Choice, Tuning

__all__ = ["OBJECTIVES", "Choice", "CostModel", "Trial", "Tuning", "tune"]

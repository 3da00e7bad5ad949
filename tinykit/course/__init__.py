"""Lessons: predict, explore, compare, explain, write, check.

`predict` asks before the knob and unlocks it; `check` judges an exercise and explains the mistake.
``python -m tinykit.course build`` makes the notebooks of every lesson from its source.
"""

from typing import TYPE_CHECKING, Any

from tinykit.course.exercise import CheckFailed, Exercise, Mistake, Report, check
from tinykit.course.prediction import Comparison, Prediction, predict
from tinykit.course.shipped import shipped

if TYPE_CHECKING:
    from tinykit.course.profiles import LayerExplorer

__all__ = [
    "CheckFailed",
    "Comparison",
    "Exercise",
    "LayerExplorer",
    "Mistake",
    "Prediction",
    "Report",
    "check",
    "predict",
    "shipped",
]


def __getattr__(name: str) -> Any:
    # It draws figures; the generator and the self-checks do without.
    if name == "LayerExplorer":
        from tinykit.course.profiles import LayerExplorer

        return LayerExplorer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

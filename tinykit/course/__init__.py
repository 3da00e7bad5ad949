"""Lessons: predict, explore, compare, explain, write, check.

`predict` asks before the knob and unlocks it; `check` judges an exercise and explains the mistake.
``python -m tinykit.course build`` makes the notebooks of every lesson from its source.
"""

from tinykit.course.exercise import CheckFailed, Exercise, Mistake, Report, check
from tinykit.course.prediction import Comparison, Prediction, predict

__all__ = [
    "CheckFailed",
    "Comparison",
    "Exercise",
    "Mistake",
    "Prediction",
    "Report",
    "check",
    "predict",
]

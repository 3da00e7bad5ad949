"""Lessons: predict, explore, compare, explain, write, check.

`predict` asks before the knob and unlocks it; `check` judges an exercise and explains the mistake.
``python -m tinykit.course build`` makes the notebooks of every lesson from its source.
"""

import importlib
from typing import TYPE_CHECKING, Any

from tinykit.course.exercise import CheckFailed, Exercise, Mistake, Report, check
from tinykit.course.prediction import Comparison, Prediction, predict
from tinykit.course.shipped import shipped

if TYPE_CHECKING:
    from tinykit.course.bits import BitsExplorer
    from tinykit.course.engines import EnginesExplorer
    from tinykit.course.profiles import LayerExplorer
    from tinykit.course.ranges import RangeExplorer
    from tinykit.course.uplink import UplinkExplorer

__all__ = [
    "BitsExplorer",
    "CheckFailed",
    "Comparison",
    "EnginesExplorer",
    "Exercise",
    "LayerExplorer",
    "Mistake",
    "Prediction",
    "RangeExplorer",
    "Report",
    "UplinkExplorer",
    "check",
    "predict",
    "shipped",
]


#: they draw figures; the generator and the self-checks do without
_EXPLORERS = {
    "BitsExplorer": "tinykit.course.bits",
    "LayerExplorer": "tinykit.course.profiles",
    "EnginesExplorer": "tinykit.course.engines",
    "RangeExplorer": "tinykit.course.ranges",
    "UplinkExplorer": "tinykit.course.uplink",
}


def __getattr__(name: str) -> Any:
    if name in _EXPLORERS:
        return getattr(importlib.import_module(_EXPLORERS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

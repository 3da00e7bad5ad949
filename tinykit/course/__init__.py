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
    from tinykit.course.averaging import AveragingExplorer
    from tinykit.course.bits import BitsExplorer
    from tinykit.course.drift import DriftExplorer
    from tinykit.course.engines import EnginesExplorer
    from tinykit.course.personal import PersonalExplorer
    from tinykit.course.profiles import LayerExplorer
    from tinykit.course.ranges import RangeExplorer
    from tinykit.course.uplink import UplinkExplorer

__all__ = [
    "AveragingExplorer",
    "BitsExplorer",
    "CheckFailed",
    "Comparison",
    "DriftExplorer",
    "EnginesExplorer",
    "Exercise",
    "LayerExplorer",
    "Mistake",
    "PersonalExplorer",
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
    "AveragingExplorer": "tinykit.course.averaging",
    "BitsExplorer": "tinykit.course.bits",
    "DriftExplorer": "tinykit.course.drift",
    "EnginesExplorer": "tinykit.course.engines",
    "LayerExplorer": "tinykit.course.profiles",
    "PersonalExplorer": "tinykit.course.personal",
    "RangeExplorer": "tinykit.course.ranges",
    "UplinkExplorer": "tinykit.course.uplink",
}


def __getattr__(name: str) -> Any:
    if name in _EXPLORERS:
        return getattr(importlib.import_module(_EXPLORERS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

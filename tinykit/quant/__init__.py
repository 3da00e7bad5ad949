"""Quantization: observers, calibration, fake quantization in training, torch → integer Graph."""

from __future__ import annotations

import importlib
import sys
import types
from typing import Any

#: torch is heavy and only some of these need it, so each loads when first used
_LAZY = {
    "calibrate": "tinykit.quant.calibrate",
    "to_graph": "tinykit.quant.export",
    "prepare": "tinykit.quant.prepare",
    "calibrated": "tinykit.quant.prepare",
    "freeze": "tinykit.quant.prepare",
    "ptq": "tinykit.quant.ptq",
    "MixedPlan": "tinykit.quant.mixed",
    "mixed_precision": "tinykit.quant.mixed",
    "Grid": "tinykit.quant.quantizer",
    "Mode": "tinykit.quant.quantizer",
    "NotExportable": "tinykit.quant.quantizer",
    "Quantizer": "tinykit.quant.quantizer",
    "Kind": "tinykit.quant.quantizer",
    "quantizer": "tinykit.quant.quantizer",
    "quantizers": "tinykit.quant.quantizer",
    "Uniform": "tinykit.quant.quantizers.uniform",
    "Observer": "tinykit.quant.observers",
    "observer": "tinykit.quant.observers",
    "OBSERVERS": "tinykit.quant.observers",
}

__all__ = list(_LAZY)


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'tinykit.quant' has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)


class _Room(types.ModuleType):
    """Some functions share their module's name; here it means the function, whoever imported."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _LAZY and isinstance(value, types.ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Room

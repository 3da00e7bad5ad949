"""Quantization: observers, calibration, fake quantization in training, torch → integer Graph."""

from __future__ import annotations

import importlib
from typing import Any

#: torch is heavy and only some of these need it, so each loads when first used
_LAZY = {
    "calibrate": "tinykit.quant.calibrate",
    "to_graph": "tinykit.quant.export",
    "prepare": "tinykit.quant.prepare",
    "calibrated": "tinykit.quant.prepare",
    "FakeQuant": "tinykit.quant.fake",
    "observer": "tinykit.quant.observers",
    "OBSERVERS": "tinykit.quant.observers",
}

__all__ = list(_LAZY)


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'tinykit.quant' has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)

"""The MLPerf Tiny models that others made, which the benchmarks and tests use where present."""

from __future__ import annotations

import os
from pathlib import Path

MODELS = {"kws": "kws_ref_model.tflite", "image classification": "pretrainedResnet_quant.tflite"}


def models_folder() -> Path:
    """``TINYKIT_MODELS``, else ``shared/models`` next to the checkout."""
    if named := os.environ.get("TINYKIT_MODELS"):
        return Path(named)
    return Path(__file__).resolve().parents[3] / "shared" / "models"


def find_models() -> dict[str, Path | None]:
    """Path of each model by its short name; None where the file is absent."""
    paths = {name: models_folder() / file for name, file in MODELS.items()}
    return {name: path if path.is_file() else None for name, path in paths.items()}


def absent(name: str) -> str:
    return f"{name}: {MODELS[name]} is not in {models_folder().name}/ (set TINYKIT_MODELS)"

"""The networks that figures are about: MLPerf Tiny's, where present, and two of the kit's own."""

from __future__ import annotations

import os
from pathlib import Path

from tinykit.formats import tflite
from tinykit.graph import Graph

#: made by others (mlcommons/tiny); they do not ship
MODELS = {"kws": "kws_ref_model.tflite", "image classification": "pretrainedResnet_quant.tflite"}
#: the kit's own, of the shape of MLPerf Tiny's other two; see datasets/models
OWN = {"wake-words shape": "wake_words.tflite", "anomaly shape": "anomaly.tflite"}

CHECKOUT = Path(__file__).resolve().parents[2]


def models_folder() -> Path:
    """``TINYKIT_MODELS``, else ``shared/models`` next to the checkout."""
    if named := os.environ.get("TINYKIT_MODELS"):
        return Path(named)
    return CHECKOUT.parent / "shared" / "models"


def find_models(own: bool = False) -> dict[str, Path | None]:
    """Path of each model by its short name, `own` ones after others'; None where one is absent."""
    paths = {name: models_folder() / file for name, file in MODELS.items()}
    if own:
        paths |= {name: CHECKOUT / "datasets" / "models" / file for name, file in OWN.items()}
    return {name: path if path.is_file() else None for name, path in paths.items()}


def load(name: str) -> Graph | None:
    """The graph of one of `find_models(own=True)`; None where it is absent."""
    path = find_models(own=True)[name]
    return None if path is None else tflite.read_file(path)


def absent(name: str) -> str:
    return f"{name}: {MODELS[name]} is not in {models_folder().name}/ (set TINYKIT_MODELS)"

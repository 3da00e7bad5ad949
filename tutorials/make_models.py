"""Make the models that ship for the tutorial, from the builders in the lesson itself.

``python tutorials/make_models.py`` writes ``tinykit/course/models/*.tflite`` and ``models.json``,
which records versions, seed and accuracy. Needs the ``tensorflow`` extra.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import jupytext
import numpy as np

import tinykit as tk
from tinykit.formats.keras import Converted, Job, convert_all

ROOT = Path(__file__).resolve().parent.parent
LESSON = ROOT / "tutorials" / "src" / "01_deploying_to_microcontrollers.py"
OUT = ROOT / "tinykit" / "course" / "models"
SEED = 0
MODELS = {
    "cnn_float32": ("cnn", "float32"),
    "cnn_int8": ("cnn", "int8"),
    "slim_int8": ("slim", "int8"),
}


def builders() -> str:
    """The source of the lesson's cell that is tagged ``builders``."""
    lesson = jupytext.reads(LESSON.read_text(encoding="utf-8"), fmt="py:percent")
    (cell,) = (c for c in lesson.cells if "builders" in c.metadata.get("tags", []))
    return str(cell.source)


def accuracy(converted: Converted, x: np.ndarray, y: np.ndarray) -> float:
    """Share of images that the reference interpreter classifies rightly."""
    graph = converted.graph
    hits = [
        graph.run(graph.input.stored(i[None]))[0].argmax() == n for i, n in zip(x, y, strict=True)
    ]
    return float(np.mean(hits))


def main() -> None:
    data = tk.data.load("digits")
    x, y = data.train.x, data.train.y
    text = builders()
    jobs = [
        Job(text, None if dtype == "float32" else x[:200], dtype, {"x": x, "y": y}, builder, SEED)
        for builder, dtype in MODELS.values()
    ]
    OUT.mkdir(exist_ok=True)
    record: dict[str, object] = {
        "made_by": "tutorials/make_models.py",
        "dataset": "digits",
        "seed": SEED,
        "tensorflow": version("tensorflow-cpu"),
        "keras": version("keras"),
    }
    for name, result in zip(MODELS, convert_all(jobs), strict=True):
        if not isinstance(result, Converted):
            raise result
        (OUT / f"{name}.tflite").write_bytes(result.tflite)
        record[name] = {
            "bytes": len(result.tflite),
            "test_accuracy": round(accuracy(result, data.test.x, data.test.y), 4),
        }
    (OUT / "models.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

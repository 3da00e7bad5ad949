"""Make the networks that the explorer "Inside the engine" starts with.

``python datasets/inside_engine/make.py`` trains both on the digits that ship with the kit, blown up
to a size at which a microcontroller's memory matters, and writes ``tinykit/explore/models``:
``*.tflite`` and ``models.json`` (versions, seed, accuracy). A minute or two on two cores.
"""

from __future__ import annotations

import json
import platform
from importlib.metadata import version
from pathlib import Path

import torch
from torch.nn import functional as F

import tinykit as tk
from tinykit.data import Dataset, DataSpec, Split
from tinykit.graph import Graph

OUT = Path(__file__).resolve().parents[2] / "tinykit" / "explore" / "models"
SEED, EPOCHS = 0, 8
#: file → title, builder, side of the images, width
NETWORKS = {
    "ds_cnn": ("DS-CNN, 48×48 images", tk.zoo.ds_cnn, 48, 0.5),
    "resnet8": ("ResNet-8, 32×32 images", tk.zoo.resnet8, 32, 0.5),
}


def larger(split: Split, side: int) -> Split:
    """The images at `side`×`side`, by bilinear interpolation."""
    small = torch.from_numpy(split.x).permute(0, 3, 1, 2)
    large = F.interpolate(small, (side, side), mode="bilinear", align_corners=False)
    return Split(large.permute(0, 2, 3, 1).numpy(), split.y)


def make(name: str) -> tuple[Graph, Dataset]:
    _, builder, side, width = NETWORKS[name]
    digits = tk.data.load("digits")
    spec = DataSpec(f"digits_{side}", (side, side, 1), digits.spec.classes)
    splits = [larger(digits.split(s), side) for s in ("train", "val", "test")]
    data = Dataset(spec.name, spec, *splits)
    model = builder(spec, width=width, seed=SEED)
    tk.fit(model, data, epochs=EPOCHS, seed=SEED)
    return tk.to_graph(model, calibrate=data, name=name), data


def main() -> None:
    torch.set_num_threads(1)
    OUT.mkdir(exist_ok=True)
    record: dict[str, object] = {
        "made_by": "datasets/inside_engine/make.py",
        "data": "digits",
        "seed": SEED,
        "epochs": EPOCHS,
        "torch": version("torch"),
        "python": platform.python_version(),
    }
    models = {}
    for name, (title, *_) in NETWORKS.items():
        graph, data = make(name)
        graph.save(OUT / f"{name}.tflite")
        models[name] = {
            "title": title,
            "bytes": (OUT / f"{name}.tflite").stat().st_size,
            "macs": graph.macs,
            "test_accuracy": round(float(tk.evaluate(graph, data)), 4),
        }
    record["models"] = models
    (OUT / "models.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

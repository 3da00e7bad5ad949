"""Train the networks that the explorer "Prune" starts with.

``python datasets/prune/make.py`` trains each on the digits that ship with the kit and writes
``tinykit/explore/models``: ``prune_*.npz`` and ``prune.json`` (versions, seed, accuracy). Half a
minute on two cores.
"""

from __future__ import annotations

import json
import platform
from importlib.metadata import version
from pathlib import Path

import torch

import tinykit as tk
from tinykit.compress.pruning import parameters
from tinykit.nn.weights import save_weights

OUT = Path(__file__).resolve().parents[2] / "tinykit" / "explore" / "models"
SEED = 0
#: name in the zoo → title, width
NETWORKS = {
    "lenet": ("LeNet", 1.0),
    "ds_cnn": ("DS-CNN", 0.5),
    "resnet8": ("ResNet-8", 0.5),
}


def main() -> None:
    torch.set_num_threads(1)
    data = tk.data.load("digits")
    networks = {}
    for name, (title, width) in NETWORKS.items():
        model = getattr(tk.zoo, name)(data.spec, width=width, seed=SEED)
        history = tk.fit(model, data, seed=SEED)
        save_weights(model, OUT / f"prune_{name}.npz")
        networks[name] = {
            "title": title,
            "width": width,
            "parameters": parameters(model),
            "epochs": len(history),
            "val_accuracy": round(float(tk.evaluate(model, data, split="val")), 4),
            "test_accuracy": round(float(tk.evaluate(model, data)), 4),
        }
    record = {
        "made_by": "datasets/prune/make.py",
        "data": "digits",
        "seed": SEED,
        "torch": version("torch"),
        "python": platform.python_version(),
        "networks": networks,
    }
    (OUT / "prune.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

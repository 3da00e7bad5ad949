"""Train the networks that the explorer "Quantize" starts with.

``python datasets/quantize/make.py`` trains both on the digits that ship with the kit and writes
``tinykit/explore/models``: ``quantize_*.npz`` (weights) and ``quantize.json`` (versions, seed,
accuracy). Half a minute on two cores.
"""

from __future__ import annotations

import json
import platform
from importlib.metadata import version
from pathlib import Path

import torch

import tinykit as tk
from tinykit.explore.quantize import NETWORKS, OUT
from tinykit.nn.weights import save_weights

SEED, EPOCHS = 0, 30


def main() -> None:
    torch.set_num_threads(1)
    data = tk.data.load("digits")
    networks = {}
    for name, net in NETWORKS.items():
        model = net.build(data.spec)
        tk.fit(model, data, epochs=EPOCHS, seed=SEED)
        path = Path(str(OUT)) / f"quantize_{name}.npz"
        save_weights(model, path)
        networks[name] = {
            "title": net.title,
            "bytes": path.stat().st_size,
            "parameters": sum(p.numel() for p in model.parameters()),
            "test_accuracy": round(float(tk.evaluate(model, data)), 4),
        }
    record = {
        "made_by": "datasets/quantize/make.py",
        "data": "digits",
        "seed": SEED,
        "epochs": EPOCHS,
        "torch": version("torch"),
        "python": platform.python_version(),
        "networks": networks,
    }
    (Path(str(OUT)) / "quantize.json").write_text(json.dumps(record, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()

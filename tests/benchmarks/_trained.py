"""Float networks that benchmarks quantize, trained once and kept beside other temporary files."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from torch import nn

import tinykit as tk
from tinykit.data import Dataset
from tinykit.nn.weights import load_weights, save_weights

EPOCHS = 6
MODELS = {"ds_cnn": {"width": 0.5}, "resnet8": {"width": 1.0}}


def folder() -> Path:
    """Where they are kept; TINYKIT_BENCH_CACHE moves it."""
    default = Path(tempfile.gettempdir()) / "tinykit_bench"
    return Path(os.environ.get("TINYKIT_BENCH_CACHE", default))


def trained(name: str, data: Dataset, seed: int, epochs: int = EPOCHS) -> nn.Module:
    """The zoo's `name`, fitted to `data` from `seed`; the same each time on one machine."""
    model = getattr(tk.zoo, name)(data.spec, seed=seed, **MODELS[name])
    file = folder() / f"{name}_{data.name}_{len(data.train)}_{epochs}_{seed}.npz"
    if file.exists():
        return load_weights(model, file)
    tk.fit(model, data, epochs, seed=seed, progress=False)
    save_weights(model, file)
    return model


if __name__ == "__main__":
    for which in MODELS:
        for number in range(3):
            trained(which, tk.data.load("fashion_mnist"), number)

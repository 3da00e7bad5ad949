"""Make the networks that the engine is measured on beside MLPerf Tiny's own.

``python datasets/models/make.py`` trains both on the digits that ship with the kit and writes
``*.tflite`` and ``models.json`` (versions, seed, quality) next to this file. A few minutes on two
cores. Training in floating point may end elsewhere on another machine or torch: the files are what
the figures are about.
"""

from __future__ import annotations

import itertools
import json
import platform
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import tinykit as tk
from tinykit.data import Dataset, DataSpec, Split
from tinykit.graph import Graph
from tinykit.nn.train import one_cycle

OUT = Path(__file__).parent
SEED = 0
SIDE = 96
WAKE_EPOCHS = 4
#: an example of the autoencoder: one image of each digit, 0 to 9, 64 pixels each
CODE_STEPS, CODE_BATCH, CODE_RATE = 3000, 64, 2e-3


# -- of the visual-wake-words shape ----------------------------------------------------------------


def coloured(split: Split, rng: np.random.Generator) -> Split:
    """Digits at 96×96 in a random colour before another, and whether the digit is even."""
    small = torch.from_numpy(split.x).permute(0, 3, 1, 2)
    large = F.interpolate(small, (SIDE, SIDE), mode="bilinear", align_corners=False)
    grey = large.permute(0, 2, 3, 1).numpy()
    ink = rng.uniform(0.5, 1.0, (len(grey), 1, 1, 3)).astype(np.float32)
    paper = rng.uniform(0.0, 0.4, (len(grey), 1, 1, 3)).astype(np.float32)
    noise = rng.normal(0, 0.03, (*grey.shape[:3], 3)).astype(np.float32)
    return Split(np.clip(paper + grey * (ink - paper) + noise, 0, 1), (split.y + 1) % 2)


def wake_words() -> tuple[Graph, dict[str, float]]:
    """MobileNetV1, width 0.25, 96×96×3, two classes."""
    digits, rng = tk.data.load("digits"), np.random.default_rng(SEED)
    spec = DataSpec("even_digits", (SIDE, SIDE, 3), ("odd", "even"))
    splits = [coloured(digits.split(s), rng) for s in ("train", "val", "test")]
    data = Dataset("even_digits", spec, *splits)
    model = tk.zoo.mobilenet_v1(spec, width=0.25, seed=SEED)
    tk.fit(model, data, epochs=WAKE_EPOCHS, seed=SEED, batch_size=32)
    graph = tk.to_graph(model, calibrate=data, name="wake_words")
    return graph, {"test_accuracy": round(float(tk.evaluate(graph, data)), 4)}


# -- of the anomaly-detection shape ----------------------------------------------------------------


def autoencoder() -> nn.Module:
    """640 → 4 × 128 → 8 → 4 × 128 → 640, batch norm and ReLU after all but the last."""
    widths = [640, 128, 128, 128, 128, 8, 128, 128, 128, 128]
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(128, 640))


def rows(split: Split, count: int, rng: np.random.Generator, wrong: bool = False) -> np.ndarray:
    """`count` rows of ten digits in order, float32 (count, 640); in a wrong one, one is another."""
    found = np.empty((count, 10, 64), np.float32)
    flat = split.x.reshape(len(split), 64)
    labels = np.tile(np.arange(10), (count, 1))
    if wrong:
        place = rng.integers(0, 10, count)
        labels[np.arange(count), place] = (place + rng.integers(1, 10, count)) % 10
    for digit in range(10):
        there = labels == digit
        found[there] = rng.choice(flat[split.y == digit], there.sum())
    return found.reshape(count, 640)


def anomaly() -> tuple[Graph, dict[str, float]]:
    """Learns rows of digits in order; a row with a wrong digit is rebuilt worse."""
    digits, rng = tk.data.load("digits"), np.random.default_rng(SEED)
    torch.manual_seed(SEED)
    model = autoencoder()
    optimizer = torch.optim.Adam(model.parameters(), CODE_RATE)
    for step in range(CODE_STEPS):
        batch = torch.from_numpy(rows(digits.train, CODE_BATCH, rng))
        for group in optimizer.param_groups:
            group["lr"] = CODE_RATE * one_cycle((step + 1) / CODE_STEPS)
        optimizer.zero_grad()
        F.mse_loss(model(batch), batch).backward()
        optimizer.step()
    model.eval()
    graph = tk.to_graph(
        model, calibrate=rows(digits.train, 200, rng), softmax=False, name="anomaly"
    )
    good, bad = (errors(graph, rows(digits.test, 300, rng, wrong)) for wrong in (False, True))
    return graph, {"test_auc": round(float((bad[:, None] > good[None, :]).mean()), 4)}


def errors(graph: Graph, examples: np.ndarray) -> np.ndarray:
    """Mean squared error of each row as the integer graph rebuilds it."""
    found = []
    for row in examples:
        stored = graph.run(graph.input.stored(row[None]))[0]
        found.append(np.mean((graph.output.real(stored)[0] - row) ** 2))
    return np.array(found)


def main() -> None:
    torch.set_num_threads(2)
    record: dict[str, object] = {
        "made_by": "datasets/models/make.py",
        "seed": SEED,
        "torch": version("torch"),
        "python": platform.python_version(),
    }
    for name, make in (("anomaly", anomaly), ("wake_words", wake_words)):
        graph, quality = make()
        graph.save(OUT / f"{name}.tflite")
        size = (OUT / f"{name}.tflite").stat().st_size
        record[name] = {"bytes": size, "macs": graph.macs, **quality}
        print(name, record[name])
    (OUT / "models.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""Optical recognition of handwritten digits (UCI): 1,797 grey images of 8×8, ships with the kit."""

from __future__ import annotations

import io
from importlib import resources

import numpy as np

from tinykit.data.types import Dataset, DataSpec, Split

LEVELS = 16.0  # a pixel counts the dark dots in a block of 4×4: 0 to 16


def load() -> Dataset:
    """The digits, split 1,257 / 180 / 360 with classes in proportion (see datasets/digits)."""
    raw = resources.files("tinykit.data.sets").joinpath("digits.npz").read_bytes()
    with np.load(io.BytesIO(raw), allow_pickle=False) as file:
        images, labels, part = file["images"], file["labels"], file["split"]
    x = (images[..., None] / LEVELS).astype(np.float32)
    y = labels.astype(np.int64)
    train, val, test = (Split(x[part == k], y[part == k]) for k in range(3))
    spec = DataSpec("digits", (8, 8, 1), tuple("0123456789"))
    return Dataset("digits", spec, train, val, test)

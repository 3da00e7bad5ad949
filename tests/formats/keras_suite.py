"""The models of `keras_models.py` as conversions, with what their inputs are."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np

from tinykit.formats.keras import Job

SOURCE = Path(__file__).with_name("keras_models.py")

IMAGE = [(12, 10, 3)]
#: input shapes of the builders whose input is not an IMAGE
SHAPES = {
    "conv_transpose": [(5, 4, 3)],
    "conv_transpose_relu": [(5, 4, 3)],
    "conv_1d": [(20, 4)],
    "conv_1d_dilated": [(20, 4)],
    "pool_1d": [(20, 4)],
    "separable_1d": [(20, 4)],
    "slicing_drop_axis": [(6, 8)],
    "stack": [(6, 8)],
    "mobilenet_v2": [(32, 32, 3)],
    "dense_on_sequence": [(7, 6)],
    "time_distributed": [(4, 8, 8, 2)],
    "softmax": [(11,)],
    "split": [(12, 10, 4)],
    "repeat_vector": [(6,)],
    "two_inputs": [(6,), (4,)],
    "grouped": [(8, 8, 4)],
    "ds_cnn": [(20, 10, 1)],
}


def builders() -> list[str]:
    """Names of the model builders, in the order of the file."""
    tree = ast.parse(SOURCE.read_text(encoding="utf-8"))
    names = (n.name for n in tree.body if isinstance(n, ast.FunctionDef))
    return [n for n in names if not n.startswith("_")]


def job(name: str, dtype: str) -> Job:
    """The conversion of one of the models, calibrated on a few random inputs."""
    rng = np.random.default_rng(0)
    inputs = [rng.normal(size=(4, *s)).astype(np.float32) for s in SHAPES.get(name, IMAGE)]
    return Job(SOURCE, inputs, dtype, function=name)

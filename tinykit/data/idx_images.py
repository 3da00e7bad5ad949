"""Datasets laid out as MNIST is: four IDX files, grey 28×28 images and labels, 10 classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tinykit.data import idx
from tinykit.data.errors import DataError
from tinykit.data.files import RemoteFile, content
from tinykit.data.types import Dataset, DataSpec, Split, stratified

VALIDATION = 5000


def grey_images(
    name: str,
    classes: tuple[str, ...],
    files: Mapping[str, RemoteFile],
    system: Sequence[str] = (),
) -> Dataset:
    """55,000 / 5,000 / 10,000: the authors' test set; validation drawn from their training set.

    Parameters
    ----------
    files : train_x, train_y, test_x, test_y
    system : folders where an operating system's package puts them

    Raises
    ------
    DataError
        A file is damaged, or images and labels do not fit.
    MissingToolError
        A file is neither found nor downloadable.
    """
    arrays = {key: idx.parse(content(file, name, system), file.name) for key, file in files.items()}
    for part in ("train", "test"):
        x, y = arrays[f"{part}_x"], arrays[f"{part}_y"]
        if x.shape[1:] != (28, 28) or y.shape != x.shape[:1] or y.max() > 9:
            raise DataError(f"{name}: images {x.shape} and labels {y.shape} do not fit")
    held = np.zeros(len(arrays["train_y"]), bool)
    held[stratified(arrays["train_y"], VALIDATION, np.random.default_rng(0))] = True
    return Dataset(
        name,
        DataSpec(name, (28, 28, 1), classes),
        _split(arrays["train_x"][~held], arrays["train_y"][~held]),
        _split(arrays["train_x"][held], arrays["train_y"][held]),
        _split(arrays["test_x"], arrays["test_y"]),
    )


def _split(images: np.ndarray, labels: np.ndarray) -> Split:
    # a lookup table makes float32 in one pass, without a second copy in between
    grey = (np.arange(256) / 255).astype(np.float32)
    return Split(grey[images][..., None], labels.astype(np.int64))

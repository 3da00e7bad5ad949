"""A watch on people who exercise (Burns et al. 2018): 7 exercises, 10 people; ships."""

from __future__ import annotations

import io
from importlib import resources

import numpy as np

from tinykit.data.types import Dataset, DataSpec, Split

#: the exercises and the channels (acceleration, then rate of turn), as the source calls them
CLASSES = ("PEN", "ABD", "FEL", "IR", "ER", "TRAP", "ROW")
CHANNELS = ("ax", "ay", "az", "wx", "wy", "wz")
#: what one step of the shipped integers is, by channel
STEP = np.array([1 / 64] * 3 + [1 / 32] * 3)


def load() -> Dataset:
    """Windows of 2 s, 10 values a second, six channels: `x` (N, 20, 1, 6), with their `users`.

    The people of the test split are in no other split, and so is the one of the validation split
    (see datasets/watch_imu).
    """
    raw = resources.files("tinykit.data.sets").joinpath("watch_imu.npz").read_bytes()
    with np.load(io.BytesIO(raw), allow_pickle=False) as file:
        windows, labels, users, part = (file[k] for k in ("windows", "labels", "users", "split"))
    x = (windows[:, :, None] * STEP).astype(np.float32)
    y, users = labels.astype(np.int64), users.astype(np.int64)
    train, val, test = (Split(x[part == k], y[part == k], users[part == k]) for k in range(3))
    spec = DataSpec("watch_imu", (20, 1, 6), CLASSES)
    return Dataset("watch_imu", spec, train, val, test)

"""int4 as TFLite files and kernels hold it: two values to a byte, the first in the low half."""

from __future__ import annotations

import numpy as np


def pack(values: np.ndarray) -> np.ndarray:
    """int8 values from -8 to 7, flattened and packed; shape (ceil(n / 2),) uint8.

    An odd value out leaves the last high half 0.
    """
    halves = np.asarray(values, np.int8).reshape(-1).view(np.uint8) & 0xF
    if halves.size % 2:
        halves = np.append(halves, np.uint8(0))
    return halves[0::2] | (halves[1::2] << 4)


def unpack(raw: np.ndarray) -> np.ndarray:
    """The int8 values of packed uint8 `raw`; shape (2n,): a padding half comes out as a value."""
    # Arithmetic shifts of a signed byte extend the sign of each half.
    low, high = (raw << 4).view(np.int8) >> 4, raw.view(np.int8) >> 4
    return np.stack([low, high], 1).reshape(-1)

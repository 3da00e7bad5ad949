"""Scales for weights where min-max wastes levels."""

from __future__ import annotations

import numpy as np

from tinykit.graph.ir import Quantization
from tinykit.graph.ranges import weight_range
from tinykit.quant.observers import PerRow


def least_squares_range(data: np.ndarray, axis: int | None, bits: int) -> Quantization:
    """Symmetric scales with the least squared error per channel, found by scaling min-max's down.

    With 15 levels clipping a few outliers costs less than rounding all the rest coarsely. A channel
    of zeros has the scale that min-max gives it.
    """
    widest = weight_range(data, axis, bits)
    rows = (
        data.reshape(1, -1)
        if axis is None
        else np.moveaxis(data, axis, 0).reshape(len(widest.scale), -1)
    )
    watching = PerRow("least-squares", 2**bits - 1, symmetric=True)
    watching.update(rows)
    _, high = watching.range()
    empty = high <= high.max() * 1e-6
    scale = np.where(empty, widest.scale, high / (2 ** (bits - 1) - 1))
    return Quantization(scale.astype(np.float32), widest.zero_point, axis)

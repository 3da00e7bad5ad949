"""What kernels for this machine share: which layers they take, the input made wide, the way out.

There is memory to spare here: inputs are widened to int16 with their padding around them, so that
the loops over windows have no borders, and weights are stored as int16.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinykit.engine.codegen import OpContext
from tinykit.engine.layer import Layer


def computable(layer: Layer) -> bool:
    """Whether the layer is int8 with constants that 32-bit accumulators hold."""
    data, weights, out = layer.data, layer.ins[1], layer.out
    bias = layer.ins[2] if len(layer.ins) > 2 else None
    if (
        data.dtype != "int8"
        or out.dtype != "int8"
        or data.is_const
        or weights is None
        or weights.data is None
        or weights.dtype not in ("int8", "int4")
        or weights.quant is None
        or np.any(weights.quant.zero_point)
        or (bias is not None and (bias.data is None or bias.dtype != "int32"))
        or not data.size
        or not out.size
    ):
        return False
    mantissa, shift = layer.multipliers
    # a left shift may not leave 32 bits, where the reference wraps around
    lifted = layer.reach << np.maximum(shift, 0)
    return bool(lifted.max() < 1 << 31 and mantissa.min() >= 0 and shift.min() >= -31)


def widened(layer: Layer) -> tuple[list[str], tuple[int, int, int]]:
    """C statements that make `wide`, the padded input as int16, and its shape."""
    h, w, c = layer.in_hwc
    top, bottom, left, right = layer.pads
    fill = layer.in_zero
    lines = [
        "int16_t *wide = (int16_t *)(void *)scratch;",
        f"tk_host_widen(in, wide, {h}, {w * c}, {top}, {left * c}, {right * c}, {bottom}, {fill});",
    ]
    return lines, (h + top + bottom, w + left + right, c)


def wide_bytes(layer: Layer) -> int:
    """Memory for `widened`, and for reading a pair or a vector beyond its end."""
    h, w, c = layer.in_hwc
    top, bottom, left, right = layer.pads
    return 2 * (h + top + bottom) * (w + left + right) * c + 16


def leaving(layer: Layer, ctx: OpContext, channels: Sequence[int]) -> str:
    """Name of an array of ``struct tk_host_leave`` for these output channels."""
    mantissa, shift = (values.astype(object) for values in layer.multipliers)
    rows = []
    for c in channels:
        left, right = max(shift[c], 0), max(-shift[c], 0)
        half = 1 << right >> 1
        rows.append(
            {
                "mantissa": mantissa[c] << left,
                "half": (1 << 30) + (half << 31),
                "below": 1 << 31 if right else 0,
                "shift": 31 + right,
            }
        )
    return ctx.structs("tk_host_leave", rows)

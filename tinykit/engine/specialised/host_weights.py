"""What kernels for this machine share: which layers they take, the input made wide, the way out.

There is memory to spare here: inputs are widened to int16 with their padding around them, so that
the loops over windows have no borders, and weights are stored as int16.
"""

from __future__ import annotations

import numpy as np

from tinykit.engine.codegen import OpContext
from tinykit.engine.layer import Layer

#: a shift to the right by more leaves too few of a double's 53 bits for what is before the point
MOST_RIGHT = 13


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
    return bool(lifted.max() < 1 << 31 and mantissa.min() >= 0 and shift.min() >= -MOST_RIGHT)


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


def call(ctx: OpContext, lines: list[str]) -> str:
    """The body of a kernel that does `lines` in a function in which wide vectors may be used."""
    params = "const int8_t *in, int8_t *out, uint8_t *scratch"
    function = ctx.function("host", params, "\n".join(lines) + "\n", attribute="TK_WIDE")
    return f"{function}(in, out, scratch);\n"


def wide_bytes(layer: Layer) -> int:
    """Memory for `widened`, and for reading a pair or a vector beyond its end."""
    h, w, c = layer.in_hwc
    top, bottom, left, right = layer.pads
    return 2 * (h + top + bottom) * (w + left + right) * c + 16


def leaving(layer: Layer, ctx: OpContext, count: int) -> tuple[str, str, str]:
    """Names of arrays of `count` doubles by output channel: factor, half and below of
    ``tk_host_leave``.

    With the factor ``f = m 2**(-31 - s)``, TFLite's result is the floor of ``acc f`` plus half of
    what was rounded twice, ``2**(-1 - s) + 1/2``, plus the zero point; less ``2**-s`` where acc is
    negative. All are multiples of ``2**(-31 - s)``, and s is at most 13: below 512, that is far
    beyond the limits of the output, 53 bits hold them. Larger sums may be rounded, and are beyond
    the limits all the same.
    """
    mantissa, shift = (values.astype(np.float64) for values in layer.multipliers)
    right = np.maximum(-shift, 0)
    columns = [
        mantissa * 2.0 ** (shift - 31),
        2.0 ** (-1 - right) + np.where(right > 0, 0.5, 0.0) + layer.out_zero,
        np.where(right > 0, 2.0**-right, 0.0),
    ]
    names = ("factors", "halves of the last digit", "what negative sums lack of that")
    made = [
        ctx.array(np.resize(np.broadcast_to(column, (layer.channels,)), count), "double", name)
        for column, name in zip(columns, names, strict=True)
    ]
    return made[0], made[1], made[2]

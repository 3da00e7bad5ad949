"""How far an output that is written pixel by pixel may follow the input that it is made of."""

from __future__ import annotations

from tinykit.engine.layer import Layer


def lead(layer: Layer, pixels: int, copied: bool, flat: bool = False) -> int:
    """`Needs.lead` of a convolution or pooling that goes through the pixels of a row in order.

    Parameters
    ----------
    pixels : that are computed together, the last of a row may be fewer
    copied : whether all their inputs are read (to somewhere else) before any of them is written
    flat : whether all pixels are one row (1x1 filters of stride 1)
    """
    (in_h, in_w, in_c), (out_h, out_w, out_c) = layer.in_hwc, layer.out_hwc
    top, _, left, _ = layer.pads
    stride_h, stride_w = layer.strides
    if flat:
        in_w, out_h, out_w = in_h * in_w, 1, out_h * out_w

    def first_input(row: int, column: int) -> int:
        """The first byte that this pixel, or one after it, reads."""
        own = max(row * stride_h - top, 0) * in_w + max(column * stride_w - left, 0)
        below = max((row + 1) * stride_h - top, 0) * in_w
        return in_c * (min(own, below) if row + 1 < out_h else own)

    most = -layer.data.size
    for row in range(out_h):
        for first in range(0, out_w, pixels):
            end = min(first + pixels, out_w)
            written = (row * out_w + end) * out_c
            if not copied:
                most = max(most, written - first_input(row, first))
            elif end < out_w:
                most = max(most, written - first_input(row, end))
            elif row + 1 < out_h:
                most = max(most, written - first_input(row + 1, 0))
    return most

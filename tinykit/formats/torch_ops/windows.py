"""Padding of sliding windows, torch's numbers in TFLite's two words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinykit.formats.torch_ops.tracer import Call, Tracer

Pads = tuple[int, int, int, int]


def outputs(size: int, window: int, stride: int, before: int, after: int) -> int:
    """Positions of a `window` on `size` elements, padded."""
    return (size + before + after - window) // stride + 1


def pad_for(
    t: Tracer,
    call: Call,
    index: int,
    window: Sequence[int],
    stride: Sequence[int],
    pads: Pads,
    value: float = 0.0,
) -> tuple[int, str]:
    """Padding for windows over NHWC tensor `index`: TFLite's word, or an op that pads and "valid".

    Parameters
    ----------
    window : (height, width) that one window spans, dilation included
    pads : (top, bottom, left, right)
    value : what is padded with, where it has to be an op

    Returns
    -------
    index, word : the tensor to slide over, and "same" or "valid"
    """
    n, height, width, channels = t.build.tensors[index].shape
    needed: list[int] = []
    same = True
    for size, span, step, before, after in (
        (height, window[0], stride[0], pads[0], pads[1]),
        (width, window[1], stride[1], pads[2], pads[3]),
    ):
        out = outputs(size, span, step, before, after)
        if out < 1:
            raise call.unsupported(f"a window of {span} does not fit {size} elements")
        # padding that no window reaches is left out
        after = max(0, (out - 1) * step + span - size - before)
        needed += [before, after]
        total = max(0, (out - 1) * step + span - size)
        same &= out == -(-size // step) and (before, after) == (total // 2, total - total // 2)
    if not any(needed):
        return index, "valid"
    if same:
        return index, "same"
    top, bottom, left, right = needed
    paddings = t.const(np.array([[0, 0], [top, bottom], [left, right], [0, 0]], np.int32))
    shape = (n, height + top + bottom, width + left + right, channels)
    if value:
        filler = t.const(np.array([value], np.float32))
        padded = t.op("padv2", [index, paddings, filler], shape, call)
    else:
        padded = t.op("pad", [index, paddings], shape, call)
    if index in t.activations:
        t.activations[padded] = t.activations[index]
    return padded, "valid"

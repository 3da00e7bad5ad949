"""Random networks on images, row by row from end to end, for hypothesis: what patches are made of.

Windows of any height, strides, dilation, both paddings, pads of their own, branches that meet
again, and at the end an image, a mean over it or a classifier.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from tests.growers.mac import bias, product_quant, weights
from tests.strategies import Grower
from tinykit.graph.ir import Graph

#: ops of the body
KINDS = ("conv", "depthwise", "pointwise", "pool", "residual", "pad", "activation", "join")
TAILS = ("nothing", "mean", "average pool", "classifier", "both")


@st.composite
def image_graphs(draw: Any, most: int = 6) -> Graph:
    """An int8 network of two to `most` ops of the body on images of up to 17 rows."""
    g = Grower(draw, "int8")
    rows, columns = g.integer(3, 17), g.integer(1, 6)
    x = g.builder.input("image", (1, rows, columns, g.integer(1, 5)), "int8", g.quant(scale=0.02))
    tails = []
    for _ in range(g.integer(2, most)):
        x = _BODY[g.choose(KINDS)](g, x)
        if g.integer(0, 7) == 0:
            tails.append(x)  # also read after the strips
    tail = g.choose(TAILS)
    outputs = [x] if tail in ("nothing", "both") else []
    if tail in ("mean", "both"):
        outputs.append(_mean(g, x))
    elif tail in ("average pool", "classifier"):
        outputs.append(pooled := _pool(g, x, "average_pool_2d", g.t(x).shape[1:3], (1, 1), "valid"))
        if tail == "classifier":
            outputs[-1] = _dense(g, pooled)
    return g.builder.finish(list(dict.fromkeys([*outputs, *tails])))


def _windowed(
    g: Grower, kind: str, x: int, window: tuple[int, int], depthwise: bool, stride: int
) -> int:
    _, height, width, depth = g.t(x).shape
    channels = depth if depthwise else g.integer(1, 6)
    dilation = g.choose([1, 1, 1, 2])
    reach = [(n - 1) * dilation + 1 for n in window]
    padding = "same" if reach[0] > height or reach[1] > width else g.choose(["same", "valid"])
    size = _sizes((height, width), reach, (stride, stride), padding)
    shape = (1, *window, depth) if depthwise else (channels, *window, depth)
    w = weights(g, shape, 3 if depthwise else 0)
    b = bias(g, x, w, channels)
    taps = window[0] * window[1] * (1 if depthwise else depth)
    attrs = {
        "padding": padding, "stride_h": stride, "stride_w": stride,
        "dilation_h_factor": dilation, "dilation_w_factor": dilation,
        "fused_activation_function": g.choose(["none", "relu", "relu6"]),
    }  # fmt: skip
    inputs = [x, w] if b is None else [x, w, b]
    return g.builder.op(kind, inputs, (1, *size, channels), "int8", product_quant(g, x, w, taps),
                        **attrs)  # fmt: skip


def _sizes(
    size: tuple[int, int], reach: Any, strides: tuple[int, int], padding: str
) -> tuple[int, ...]:
    if padding == "same":
        return tuple(-(-n // s) for n, s in zip(size, strides, strict=True))
    return tuple((n - r) // s + 1 for n, r, s in zip(size, reach, strides, strict=True))


def _conv(g: Grower, x: int) -> int:
    window = (g.integer(1, 5), g.integer(1, 3))
    return _windowed(g, "conv_2d", x, window, False, g.choose([1, 1, 2, 3]))


def _depthwise(g: Grower, x: int) -> int:
    window = (g.choose([1, 2, 3, 3, 5]), g.choose([1, 3]))
    return _windowed(g, "depthwise_conv_2d", x, window, True, g.choose([1, 1, 2]))


def _pointwise(g: Grower, x: int) -> int:
    return _windowed(g, "conv_2d", x, (1, 1), False, 1)


def _pool(g: Grower, x: int, kind: str, window: Any, strides: tuple[int, int], padding: str) -> int:
    _, height, width, depth = g.t(x).shape
    size = _sizes((height, width), window, strides, padding)
    attrs = {"filter_height": window[0], "filter_width": window[1], "padding": padding}
    return g.builder.op(kind, [x], (1, *size, depth), "int8", g.like(x),
                        stride_h=strides[0], stride_w=strides[1], **attrs)  # fmt: skip


def _some_pool(g: Grower, x: int) -> int:
    _, height, width, _ = g.t(x).shape
    window = (min(g.integer(1, 3), height), min(g.integer(1, 2), width))
    kind = g.choose(["average_pool_2d", "max_pool_2d"])
    return _pool(g, x, kind, window, (g.integer(1, 2), 1), g.choose(["same", "valid"]))


def _residual(g: Grower, x: int) -> int:
    """A convolution that keeps the shape, added to its own input."""
    shape = g.t(x).shape
    w = weights(g, (1, 3, 3, shape[3]), 3)
    made = g.builder.op("depthwise_conv_2d", [x, w], shape, "int8", product_quant(g, x, w, 9),
                        padding="same")  # fmt: skip
    pair = [x, made] if g.flag() else [made, x]
    return g.builder.op(g.choose(["add", "sub", "mul"]), pair, shape, "int8", g.quant(scale=0.05))


def _pad(g: Grower, x: int) -> int:
    _, height, width, depth = g.t(x).shape
    if height > 20:
        return x
    top, bottom, left, right = (g.integer(0, 2) for _ in range(4))
    amounts = g.const(np.array([[0, 0], [top, bottom], [left, right], [0, 0]], np.int32))
    shape = (1, height + top + bottom, width + left + right, depth)
    return g.builder.op("pad", [x, amounts], shape, "int8", g.like(x))


def _activation(g: Grower, x: int) -> int:
    return g.builder.op("leaky_relu", [x], g.t(x).shape, "int8", g.quant(scale=0.04), alpha=0.1)


def _join(g: Grower, x: int) -> int:
    """Two convolutions of one image, side by side."""
    parts = [_pointwise(g, x), _depthwise_like(g, x)]
    quant = g.like(parts[0])
    depth = sum(g.t(p).shape[3] for p in parts)
    rescaled = g.builder.op("quantize", [parts[1]], g.t(parts[1]).shape, "int8", quant)
    shape = (*g.t(x).shape[:3], depth)
    return g.builder.op("concatenation", [parts[0], rescaled], shape, "int8", quant, axis=3)


def _depthwise_like(g: Grower, x: int) -> int:
    shape = g.t(x).shape
    w = weights(g, (1, g.choose([1, 3, 5]), 1, shape[3]), 3)
    return g.builder.op("depthwise_conv_2d", [x, w], shape, "int8", product_quant(g, x, w, 3),
                        padding="same")  # fmt: skip


def _mean(g: Grower, x: int) -> int:
    _, _, _, depth = g.t(x).shape
    axes = g.const(np.array([1, 2], np.int32))
    keep = g.flag()
    shape = (1, 1, 1, depth) if keep else (1, depth)
    quant = g.like(x) if g.flag() else g.quant(scale=0.03)
    return g.builder.op("mean", [x, axes], shape, "int8", quant, keep_dims=keep)


def _dense(g: Grower, x: int) -> int:
    depth = g.t(x).size
    w = weights(g, (3, depth), 0)
    return g.builder.op("fully_connected", [x, w], (1, 3), "int8", product_quant(g, x, w, depth))


_BODY = {
    "conv": _conv,
    "depthwise": _depthwise,
    "pointwise": _pointwise,
    "pool": _some_pool,
    "residual": _residual,
    "pad": _pad,
    "activation": _activation,
    "join": _join,
}

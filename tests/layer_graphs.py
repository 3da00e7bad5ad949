"""Random layers as networks have them, for hypothesis: many channels, odd ones too, and chains.

`tests.strategies.graphs` covers every op and every odd shape, but small. Kernels that are written
for a shape block over pixels and channels, so their remainders need layers that are larger than
their blocks.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from tests.growers import ACTIVATIONS
from tests.growers.mac import bias, product_quant, weights
from tests.strategies import Grower
from tinykit.graph.ir import Graph, Quantization

CHANNELS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 16, 17, 20, 24, 31, 32, 33, 40, 48, 64)
#: no layer has more elements, or more weights, than this
MOST = 3000, 9000

KINDS = (
    "conv", "pointwise", "depthwise", "separable", "inverted", "dense", "residual", "pooled"
)  # fmt: skip


@st.composite
def layer_graphs(draw: Any, kind: str | None = None) -> Graph:
    """One or a few int8 layers of a `kind` of `KINDS`; any kind where none is given."""
    g = Grower(draw, "int8")
    kind = kind or draw(st.sampled_from(KINDS))
    if kind == "dense":
        x = _input(g, (g.choose([1, 1, 1, 2, 3]), g.integer(1, 150)))
        for _ in range(g.integer(1, 2)):
            x = _dense(g, x, g.choose(CHANNELS))
        return g.builder.finish([x])
    depth = g.choose((1, 3, 4, 8) if kind == "conv" else CHANNELS)
    x = _input(g, (g.choose([1, 1, 1, 1, 2]), g.integer(1, 9), g.integer(1, 9), depth))
    first, depth = x, g.t(x).shape[-1]
    if kind == "conv":
        x = _conv(g, x, g.choose(CHANNELS), (g.integer(1, 5), g.integer(1, 5)), g.integer(1, 2))
        if g.flag():
            x = _conv(g, x, g.choose(CHANNELS), (3, 3), 1)
    elif kind == "pointwise":
        x = _conv(g, x, g.choose(CHANNELS), (1, 1), g.choose([1, 1, 1, 2]))
    elif kind == "depthwise":
        x = _depthwise(g, x)
    elif kind in ("separable", "inverted"):
        if kind == "inverted":
            x = _conv(g, x, g.choose(CHANNELS), (1, 1), 1)
        x = _depthwise(g, x)
        x = _conv(g, x, g.choose(CHANNELS), (1, 1), 1)
    elif kind == "residual":
        w = weights(g, (depth, 1, 1, depth), 0)
        x = _layer(g, "conv_2d", x, w, g.t(x).shape, depth, padding="same")
        kind = g.choose(["add", "add", "mul"])
        scale = float(g.t(x).quant.scale[0]) * g.rng.uniform(0.7, 2)
        if kind == "mul":
            scale *= 100 * float(g.t(first).quant.scale[0])
        x = g.builder.op(kind, [x, first], g.t(x).shape, "int8", _quant(g, scale),
                         fused_activation_function=g.choose(ACTIVATIONS))  # fmt: skip
    else:
        _, h, w, _ = g.t(x).shape
        op = g.choose(["average_pool_2d", "max_pool_2d"])
        x = g.builder.op(op, [x], (g.t(x).shape[0], 1, 1, depth), "int8", g.like(x),
                         filter_height=h, filter_width=w, stride_h=h, stride_w=w)  # fmt: skip
        x = _dense(g, x, g.choose(CHANNELS))
    return g.builder.finish([x])


def _quant(g: Grower, scale: float) -> Quantization:
    zero = g.choose([-128, -128, 0, 127, g.integer(-128, 127)])
    return Quantization.per_tensor(float(np.float32(scale)), zero)


def _input(g: Grower, shape: tuple[int, ...]) -> int:
    while int(np.prod(shape)) > MOST[0]:
        shape = (*shape[:-1], shape[-1] // 2)
    return g.builder.input("x", shape, "int8", _quant(g, 0.02 * g.rng.uniform(0.5, 2)))


def _way_out(g: Grower, x: int, w: int, depth: int) -> dict[str, Any]:
    """Quantization and activation of a layer: half of them a relu that ends at -128, as in nets."""
    quant = product_quant(g, x, w, depth)
    assert quant is not None
    if g.flag():
        quant = Quantization.per_tensor(float(quant.scale[0]), -128)
        return {"quant": quant, "fused_activation_function": g.choose(["relu", "relu6"])}
    return {"quant": quant, "fused_activation_function": g.choose(ACTIVATIONS)}


def _layer(
    g: Grower, kind: str, x: int, w: int, shape: tuple[int, ...], depth: int, **attrs: Any
) -> int:
    b = bias(g, x, w, shape[-1])
    way = _way_out(g, x, w, depth)
    inputs = [x, w] if b is None else [x, w, b]
    return g.builder.op(kind, inputs, shape, "int8", **way, **attrs)


def _dense(g: Grower, x: int, channels: int) -> int:
    batch, depth = g.t(x).shape[0], g.t(x).size // g.t(x).shape[0]
    channels = min(channels, MOST[1] // depth or 1)
    return _layer(g, "fully_connected", x, weights(g, (channels, depth), 0), (batch, channels),
                  depth)  # fmt: skip


def _conv(g: Grower, x: int, channels: int, window: tuple[int, int], stride: int) -> int:
    batch, height, width, depth = g.t(x).shape
    size, window, padding = _windows(g, (height, width), window, stride)
    taps = window[0] * window[1] * depth
    channels = max(min(channels, MOST[1] // taps, MOST[0] // (batch * size[0] * size[1])), 1)
    w = weights(g, (channels, *window, depth), 0)
    return _layer(g, "conv_2d", x, w, (batch, *size, channels), taps,
                  padding=padding, stride_h=stride, stride_w=stride)  # fmt: skip


def _depthwise(g: Grower, x: int) -> int:
    batch, height, width, depth = g.t(x).shape
    stride = g.choose([1, 1, 2])
    size, window, padding = _windows(
        g, (height, width), g.choose([(3, 3), (3, 3), (5, 5), (1, 3), (2, 4)]), stride
    )
    w = weights(g, (1, *window, depth), 3)
    return _layer(g, "depthwise_conv_2d", x, w, (batch, *size, depth), window[0] * window[1],
                  padding=padding, stride_h=stride, stride_w=stride)  # fmt: skip


def _windows(
    g: Grower, size: tuple[int, int], window: tuple[int, int], stride: int
) -> tuple[tuple[int, int], tuple[int, int], str]:
    """Output size, window and padding; a valid window is cut to what fits."""
    if g.choose(["same", "same", "valid"]) == "same":
        return (-(-size[0] // stride), -(-size[1] // stride)), window, "same"
    window = (min(window[0], size[0]), min(window[1], size[1]))
    out = ((size[0] - window[0]) // stride + 1, (size[1] - window[1]) // stride + 1)
    return out, window, "valid"

"""Multiply-accumulate ops and pools."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tests.growers import ACTIVATIONS, grows, image
from tinykit.graph.ir import Quantization

if TYPE_CHECKING:
    from tests.strategies import Grower


def weights(g: Grower, shape: tuple[int, ...], axis: int, per_channel: bool | None = None) -> int:
    """A filter constant; integer ones get one scale, or one per slice along `axis`."""
    dtype = {"int8": "int8", "int16": "int8", "int4": "int4", "float32": "float32"}[g.weights]
    if g.dtype == "float32":
        return g.const(g.values(shape, "float32"))
    values = g.values(shape, dtype)
    base = 2.0 ** g.integer(-10, -3)
    if g.flag() if per_channel is None else per_channel:
        scales = (base * g.rng.uniform(0.05, 1.0, shape[axis])).astype(np.float32)
        quant = Quantization(scales, np.zeros(shape[axis], np.int64), axis)
    else:
        quant = Quantization.per_tensor(base * g.rng.uniform(0.5, 1.0))
    return g.const(values, quant, dtype=dtype)


def bias(g: Grower, data: int, filters: int, channels: int, narrow: bool = False) -> int | None:
    """A bias constant with the scale of the products, or none."""
    if g.integer(0, 3) == 0:
        return None
    if g.dtype == "float32":
        return g.const(g.values((channels,), "float32"))
    scale = g.t(data).quant.scale[0] * g.t(filters).quant.scale
    quant = Quantization(scale, np.zeros(scale.size, np.int64), 0 if scale.size > 1 else None)
    reach = 2 ** g.integer(2, 16)
    wide = g.dtype == "int16" and not narrow
    values = g.rng.integers(-reach, reach + 1, channels)
    return g.const(values.astype(np.int64 if wide else np.int32), quant)


def product_quant(g: Grower, data: int, filters: int, depth: int) -> Quantization | None:
    """An output quantization that keeps part of the accumulators inside the range."""
    if g.dtype == "float32":
        return None
    product = float(g.t(data).quant.scale[0]) * float(g.t(filters).quant.scale.max())
    # standard deviation of a sum of `depth` products, spread over the output range
    reach = product * np.sqrt(depth) * (5 if g.t(filters).dtype == "int4" else 70)
    reach *= 70 if g.dtype == "int8" else 19000
    scale = reach / (64 if g.dtype == "int8" else 16000) * 2.0 ** g.integer(-3, 3)
    if g.integer(0, 9) == 0:
        scale = product * 2.0 ** g.integer(-4, 14)  # left shifts, saturation
    return g.quant(scale=float(np.float32(scale)))


def window(g: Grower, shape: tuple[int, ...], dilated: bool = True) -> dict[str, Any]:
    """Attributes of a sliding window over `shape`, and its size as window_h, window_w."""
    made: dict[str, Any] = {"padding": g.choose(["same", "valid"])}
    for i, key in ((1, "h"), (2, "w")):
        made[f"stride_{key}"] = g.choose([1, 1, 2, 3])
        dilation = g.choose([1, 1, 1, 2, 3]) if dilated else 1
        most = 4 if g.integer(0, 5) else 11
        if made["padding"] == "valid":
            most = min(most, (shape[i] - 1) // dilation + 1)
        made[f"window_{key}"] = g.integer(1, most)
        if dilated:
            made[f"dilation_{key}_factor"] = dilation
    return made


@grows("conv_2d", "int8 int16 int4 float32", images=True)
def conv_2d(g: Grower, kind: str) -> bool:
    x = g.pick(image)
    if x is None:
        return False
    shape = g.t(x).shape
    attrs = window(g, shape)
    height, width = attrs.pop("window_h"), attrs.pop("window_w")
    groups = g.choose([n for n in range(1, shape[3] + 1) if shape[3] % n == 0])
    groups = groups if g.integer(0, 2) == 0 else 1
    channels, depth = groups * g.integer(1, 4), shape[3] // groups
    w = weights(g, (channels, height, width, depth), 0)
    b = bias(g, x, w, channels, narrow=g.flag())
    out = product_quant(g, x, w, height * width * depth)
    attrs["fused_activation_function"] = g.choose(ACTIVATIONS)
    return g.add(kind, [x, w] if b is None else [x, w, b], out, **attrs)


@grows("depthwise_conv_2d", "int8 int16 int4 float32", images=True)
def depthwise_conv_2d(g: Grower, kind: str) -> bool:
    x = g.pick(image)
    if x is None:
        return False
    shape = g.t(x).shape
    attrs = window(g, shape)
    height, width = attrs.pop("window_h"), attrs.pop("window_w")
    multiplier = g.choose([1, 1, 2, 3])
    w = weights(g, (1, height, width, shape[3] * multiplier), 3)
    b = bias(g, x, w, shape[3] * multiplier)
    out = product_quant(g, x, w, height * width)
    attrs |= {"fused_activation_function": g.choose(ACTIVATIONS), "depth_multiplier": multiplier}
    return g.add(kind, [x, w] if b is None else [x, w, b], out, **attrs)


@grows("transpose_conv", "int8 int16 float32", images=True)
def transpose_conv(g: Grower, kind: str) -> bool:
    x = g.pick(image, largest=120)
    if x is None:
        return False
    shape = g.t(x).shape
    padding, size, kernel, strides = g.choose(["same", "valid"]), [], [], []
    for i in (1, 2):
        stride, k = g.integer(1, 3), g.integer(1, 4)
        # every length that a convolution would shrink to shape[i]
        if padding == "same":
            long = g.integer((shape[i] - 1) * stride + 1, shape[i] * stride)
        else:
            long = g.integer((shape[i] - 1) * stride + k, shape[i] * stride + k - 1)
        size.append(long)
        kernel.append(k)
        strides.append(stride)
    channels = g.integer(1, 4)
    w = weights(g, (channels, *kernel, shape[3]), 0)
    b = bias(g, x, w, channels)
    out = product_quant(g, x, w, kernel[0] * kernel[1] * shape[3])
    inputs = [g.ints(shape[0], *size, channels), w, x]
    return g.add(
        kind,
        inputs if b is None else [*inputs, b],
        out,
        padding=padding,
        fused_activation_function=g.choose(ACTIVATIONS),
        stride_h=strides[0],
        stride_w=strides[1],
    )


@grows("fully_connected", "int8 int16 int4 float32")
def fully_connected(g: Grower, kind: str) -> bool:
    x = g.pick()
    if x is None:
        return False
    shape = g.t(x).shape
    keep = g.flag()
    depth = shape[-1] if keep or g.flag() else int(np.prod(shape[1:]))
    channels = g.integer(1, 8)
    # int4 weights have one scale here, unlike those of convolutions
    w = weights(g, (channels, depth), 0, per_channel=g.weights != "int4" and g.flag())
    b = bias(g, x, w, channels, narrow=g.flag())
    out = product_quant(g, x, w, depth)
    act = g.choose(ACTIVATIONS)
    inputs = [x, w] if b is None else [x, w, b]
    return g.add(kind, inputs, out, keep_num_dims=keep, fused_activation_function=act)


@grows("average_pool_2d max_pool_2d", "int8 int16 float32", images=True)
def pool(g: Grower, kind: str) -> bool:
    x = g.pick(image)
    if x is None:
        return False
    attrs = window(g, g.t(x).shape, dilated=False)
    attrs["filter_height"], attrs["filter_width"] = attrs.pop("window_h"), attrs.pop("window_w")
    return g.add(kind, [x], g.like(x), fused_activation_function=g.choose(ACTIVATIONS), **attrs)

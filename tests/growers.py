"""How a random graph grows by one op of each kind, within what TFLite Micro's kernels ask for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tinykit.graph.ir import Quantization

if TYPE_CHECKING:
    from tests.strategies import Grower

#: kind -> function that appends such an op; False when no live tensor suits
GROWERS: dict[str, Callable[[Grower], bool]] = {}
#: kind -> dtypes of the data that TFLite Micro has a kernel for ("int4": of the weights)
SUPPORTED: dict[str, set[str]] = {}
#: kinds whose data must have four dimensions
IMAGES: set[str] = set()
ACTIVATIONS = ("none", "relu", "relu_n1_to_1", "relu6")


def grows(kinds: str, dtypes: str, images: bool = False) -> Any:
    def join(function: Any) -> Any:
        for kind in kinds.split():
            GROWERS[kind] = lambda g, kind=kind: function(g, kind)
            SUPPORTED[kind] = set(dtypes.split())
            if images:
                IMAGES.add(kind)
        return function

    return join


def image(t: Any) -> bool:
    return len(t.shape) == 4


# -- multiply-accumulate ------------------------------------------------------------------------


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
        most = 4 if made["padding"] == "same" else min(4, (shape[i] - 1) // dilation + 1)
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
    # only int8 weights may have a scale per channel, and only for outputs of two dimensions
    several = g.weights == "int8" and (not keep or len(shape) == 2) and g.flag()
    w = weights(g, (channels, depth), 0, per_channel=several)
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


# -- shapes -------------------------------------------------------------------------------------


@grows("reshape", "int8 int16 float32")
def reshape(g: Grower, kind: str) -> bool:
    x = g.pick()
    if x is None:
        return False
    rest, shape = g.t(x).size, []
    for _ in range(g.integer(0, 3)):
        shape.append(g.choose([d for d in range(1, rest + 1) if rest % d == 0]))
        rest //= shape[-1]
    shape.append(rest)
    if g.flag():
        shape[g.integer(0, len(shape) - 1)] = -1
    if g.flag():
        return g.add(kind, [x, g.ints(*shape)], g.like(x))
    return g.add(kind, [x], g.like(x), new_shape=tuple(shape))


@grows("squeeze", "int8 int16 float32")
def squeeze(g: Grower, kind: str) -> bool:
    x = g.pick(lambda t: t.size > 1)
    if x is None:
        return False
    ones = [a for a, d in enumerate(g.t(x).shape) if d == 1]
    dims = tuple(a for a in ones if g.flag())
    return g.add(kind, [x], g.like(x), squeeze_dims=dims)


@grows("expand_dims", "int8 int16 float32")
def expand_dims(g: Grower, kind: str) -> bool:
    x = g.pick(lambda t: len(t.shape) < 4)
    if x is None:
        return False
    rank = len(g.t(x).shape)
    return g.add(kind, [x, g.ints(g.integer(-rank - 1, rank))], g.like(x))


@grows("transpose", "int8 int16 float32")
def transpose(g: Grower, kind: str) -> bool:
    x = g.pick()
    if x is None:
        return False
    order = list(range(len(g.t(x).shape)))
    for i in range(len(order) - 1):  # a shuffle that hypothesis can shrink
        j = g.integer(i, len(order) - 1)
        order[i], order[j] = order[j], order[i]
    return g.add(kind, [x, g.ints(*order)], g.like(x))


@grows("strided_slice", "int8 int16 float32")
def strided_slice(g: Grower, kind: str) -> bool:
    x = g.pick()
    if x is None:
        return False
    begin, end, strides = [], [], []
    masks = {"begin_mask": 0, "end_mask": 0, "shrink_axis_mask": 0}
    for i, size in enumerate(g.t(x).shape):
        stride = g.choose([1, 1, 2, 3, -1, -2])
        first = g.integer(0, size - 1)
        last = g.integer(first + 1, size + 2) if stride > 0 else g.integer(-1, first - 1)
        if stride < 0 and last == -1:
            last = -size - 1  # before the first element; -1 itself would mean the last
        begin.append(first - size if g.flag() else first)
        end.append(last - size if last > 0 and last < size and g.flag() else last)
        strides.append(stride)
        for mask in ("begin_mask", "end_mask"):
            masks[mask] |= g.flag() << i
        if len(g.t(x).shape) > 1 and g.integer(0, 3) == 0:
            masks["shrink_axis_mask"] |= 1 << i
            strides[-1] = 1
            masks["begin_mask"] &= ~(1 << i)
    if masks["shrink_axis_mask"] == (1 << len(begin)) - 1:
        masks["shrink_axis_mask"] &= ~1
    tables = [g.ints(*begin), g.ints(*end), g.ints(*strides)]
    return g.add(kind, [x, *tables], g.like(x), **masks)


@grows("split", "int8 int16 float32")
def split(g: Grower, kind: str) -> bool:
    x = g.pick()
    if x is None:
        return False
    shape = g.t(x).shape
    axis = g.integer(0, len(shape) - 1)
    parts = g.choose([n for n in range(1, min(shape[axis], 4) + 1) if shape[axis] % n == 0])
    axis -= len(shape) if g.flag() else 0
    return g.add(kind, [g.ints(axis), x], g.like(x), num_splits=parts)


def companions(g: Grower, x: int, fits: Any, shape: Any) -> list[int]:
    """`x` and one to three more of equal quantization: live tensors that fit, or constants."""
    found = [x]
    for _ in range(g.integer(1, 3)):
        other = g.pick(lambda t: fits(t) and (t.quant is None or t.quant.same_as(g.like(x))))
        if other is None or g.flag():
            other = g.const(g.values(shape(), g.dtype), g.like(x), dtype=g.dtype)
        found.insert(g.integer(0, len(found)), other)
    return found


@grows("pack", "int8 int16 float32")
def pack(g: Grower, kind: str) -> bool:
    x = g.pick(lambda t: len(t.shape) < 4)
    if x is None:
        return False
    shape = g.t(x).shape
    parts = companions(g, x, lambda t: t.shape == shape, lambda: shape)
    axis = g.integer(-len(shape) - 1, len(shape))
    return g.add(kind, parts, g.like(x), values_count=len(parts), axis=axis)


@grows("concatenation", "int8 int16 float32")
def concatenation(g: Grower, kind: str) -> bool:
    x = g.pick()
    if x is None:
        return False
    shape = g.t(x).shape
    axis = g.integer(0, len(shape) - 1)

    def without(s: tuple[int, ...]) -> tuple[int, ...]:
        return (len(s), *s[:axis], *s[axis + 1 :])

    def another() -> tuple[int, ...]:
        return (*shape[:axis], g.integer(1, 4), *shape[axis + 1 :])

    parts = companions(g, x, lambda t: without(t.shape) == without(shape), another)
    return g.add(kind, parts, g.like(x), axis=axis - (len(shape) if g.flag() else 0))


@grows("pad padv2", "int8 int16 float32")
def pad(g: Grower, kind: str) -> bool:
    x = g.pick(largest=200)
    if x is None:
        return False
    pads = [[g.choose([0, 0, 1, 2]) for _ in range(2)] for _ in g.t(x).shape]
    inputs = [x, g.const(np.array(pads, np.int32))]
    if kind == "padv2":
        inputs.append(g.const(g.values((1,), g.dtype), g.like(x), dtype=g.dtype))
    return g.add(kind, inputs, g.like(x))


@grows("space_to_batch_nd", "int8 float32", images=True)
def space_to_batch_nd(g: Grower, kind: str) -> bool:
    x = g.pick(image, largest=300)
    if x is None:
        return False
    # no paddings: TFLite Micro fills them with whatever lies in its arena
    block = [g.choose([b for b in (1, 2, 3) if d % b == 0]) for d in g.t(x).shape[1:3]]
    return g.add(kind, [x, g.ints(*block), g.const(np.zeros((2, 2), np.int32))], g.like(x))


@grows("batch_to_space_nd", "int8 float32", images=True)
def batch_to_space_nd(g: Grower, kind: str) -> bool:
    x = g.pick(image)
    if x is None:
        return False
    batch, *size = g.t(x).shape[:3]
    high = g.choose([b for b in (1, 2, 3, 4) if batch % b == 0])
    wide = g.choose([b for b in (1, 2, 3, 4) if batch // high % b == 0])
    crops = []
    for s, b in zip(size, (high, wide), strict=True):
        first = g.integer(0, min(2, s * b - 1))
        crops.append([first, g.integer(0, min(2, s * b - 1 - first))])
    return g.add(kind, [x, g.ints(high, wide), g.const(np.array(crops, np.int32))], g.like(x))


@grows("resize_bilinear", "int8 float32", images=True)
def resize_bilinear(g: Grower, kind: str) -> bool:
    x = g.pick(image, largest=200)
    if x is None:
        return False
    size = g.ints(g.integer(1, 9), g.integer(1, 9))
    corners = g.flag()
    centres = g.flag() and (not corners or kind == "resize_nearest_neighbor")
    return g.add(kind, [x, size], g.like(x), align_corners=corners, half_pixel_centers=centres)


grows("resize_nearest_neighbor", "int8 int16 float32", images=True)(resize_bilinear)

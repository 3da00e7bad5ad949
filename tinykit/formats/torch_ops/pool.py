"""Pooling, means and resizing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinykit.formats.torch_ops.tracer import Call, Tracer, Value, handles, pair, stored_shape
from tinykit.formats.torch_ops.windows import outputs, pad_for

LOWEST = float(np.finfo(np.float32).min)


def _pool(
    t: Tracer,
    call: Call,
    kind: str,
    x: Value,
    kernel: Any,
    stride: Any,
    padding: Any,
    ceil_mode: bool,
    value: float,
) -> Value:
    index = t.nhwc(x, call)
    (kh, kw), (sh, sw), (ph, pw) = pair(kernel), pair(stride or kernel), pair(padding)
    exact = tuple(
        outputs(size, k, s, p, p)
        for size, k, s, p in ((x.shape[2], kh, sh, ph), (x.shape[3], kw, sw, pw))
    )
    if ceil_mode and exact != tuple(call.shape[2:]):
        raise call.unsupported("ceil_mode with a last window that hangs over")
    index, word = pad_for(t, call, index, (kh, kw), (sh, sw), (ph, ph, pw, pw), value)
    made = t.op(
        kind,
        [index],
        stored_shape(call.shape, "nhwc"),
        call,
        padding=word,
        stride_h=sh,
        stride_w=sw,
        filter_height=kh,
        filter_width=kw,
    )
    return t.image(made, call.shape)


@handles("max_pool2d.default")
def max_pool2d(
    t: Tracer,
    call: Call,
    x: Value,
    kernel: Any,
    stride: Any = (),
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> Value:
    if pair(dilation) != (1, 1):
        raise call.unsupported("dilated pooling")
    return _pool(t, call, "max_pool_2d", x, kernel, stride, padding, ceil_mode, LOWEST)


@handles("avg_pool2d.default")
def avg_pool2d(
    t: Tracer,
    call: Call,
    x: Value,
    kernel: Any,
    stride: Any = (),
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Value:
    if divisor_override is not None:
        raise call.unsupported("average pooling with its own divisor")
    if pair(padding) == (0, 0):
        return _pool(t, call, "average_pool_2d", x, kernel, stride, 0, ceil_mode, 0.0)
    ph, pw = pair(padding)
    index = t.nhwc(x, call)
    if count_include_pad:
        # TFLite's SAME does not count the padding, so it has to be there
        n, h, w, c = t.build.tensors[index].shape
        paddings = t.const(np.array([[0, 0], [ph, ph], [pw, pw], [0, 0]], np.int32))
        index = t.op("pad", [index, paddings], (n, h + 2 * ph, w + 2 * pw, c), call)
        padded = t.image(index, (n, c, h + 2 * ph, w + 2 * pw))
        return _pool(t, call, "average_pool_2d", padded, kernel, stride, 0, ceil_mode, 0.0)
    before = len(t.build.ops)
    made = _pool(t, call, "average_pool_2d", x, kernel, stride, padding, ceil_mode, 0.0)
    if any(op.kind == "pad" for op in t.build.ops[before:]):
        raise call.unsupported("count_include_pad=False with a padding that is not TFLite's SAME")
    return made


@handles("adaptive_avg_pool2d.default")
def adaptive_avg_pool2d(t: Tracer, call: Call, x: Value, size: Any) -> Value:
    want = pair(size)
    if want == (1, 1):
        return mean(t, call, x, (2, 3), True)
    h, w = x.shape[2:]
    if h % want[0] or w % want[1]:
        raise call.unsupported(f"{h}×{w} cannot be cut into {want[0]}×{want[1]} equal windows")
    kernel = (h // want[0], w // want[1])
    return _pool(t, call, "average_pool_2d", x, kernel, kernel, 0, False, 0.0)


@handles("mean.dim")
def mean(
    t: Tracer,
    call: Call,
    x: Value,
    dims: Sequence[int] | None,
    keep: bool = False,
    dtype: Any = None,
) -> Value:
    rank = len(x.shape)
    axes = sorted(d % rank for d in (dims or range(rank)))
    keep = keep and not call.drop_spatial
    shape = tuple(call.shape)
    if call.drop_spatial:
        shape = tuple(d for a, d in enumerate(x.shape) if a not in axes)
    left = [a for a in range(rank) if a not in axes]
    # NHWC keeps the order of what is left when channels go, or when all but one axis do
    if x.layout == "nhwc" and (keep or 1 not in left or left in ([0, 1], [1])):
        stored = [{0: 0, 1: 3, 2: 1, 3: 2}[a] for a in axes]
        index, layout = x.index, "nhwc" if keep else "plain"
    else:
        stored, index, layout = axes, t.plain(x, call), "plain"
    out = stored_shape(shape, layout)
    made = t.op("mean", [index, t.ints(sorted(stored))], out, call, keep_dims=keep)
    return Value(made, shape, layout)


@handles("upsample_nearest2d.vec")
def upsample_nearest(
    t: Tracer, call: Call, x: Value, size: Any, factors: Sequence[float] | None
) -> Value:
    _whole(call, x, factors)
    return _resize(t, call, "resize_nearest_neighbor", x)


@handles("upsample_bilinear2d.vec")
def upsample_bilinear(
    t: Tracer,
    call: Call,
    x: Value,
    size: Any,
    align_corners: bool,
    factors: Sequence[float] | None = None,
) -> Value:
    _whole(call, x, factors)
    return _resize(
        t,
        call,
        "resize_bilinear",
        x,
        align_corners=align_corners,
        half_pixel_centers=not align_corners,
    )


def _whole(call: Call, x: Value, factors: Sequence[float] | None) -> None:
    # given a factor torch samples at 1/factor, TFLite at in/out: the same when in·factor is whole
    for size, out, factor in zip(x.shape[2:], call.shape[2:], factors or (), strict=False):
        if size * factor != out:
            raise call.unsupported(
                f"a factor {factor} that does not make {size} whole: give the size"
            )


def _resize(t: Tracer, call: Call, kind: str, x: Value, **attrs: bool) -> Value:
    made = t.op(
        kind,
        [t.nhwc(x, call), t.ints(call.shape[2:])],
        stored_shape(call.shape, "nhwc"),
        call,
        **attrs,
    )
    return t.image(made, call.shape)

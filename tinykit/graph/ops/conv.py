"""conv_2d (grouped where the filter has fewer channels than the input) and depthwise_conv_2d."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tinykit.graph.errors import GraphError
from tinykit.graph.ir import Op, Tensor
from tinykit.graph.ops.convolving import (
    centred,
    check_bias,
    check_strides,
    check_types,
    check_wide_bias,
    image,
    leave_accumulator,
    padded,
    spans,
    taps,
    window_out,
)
from tinykit.graph.registry import Shape, define_op, reference

#: about so many numbers are unrolled at a time (float64: 128 MiB)
UNROLLED = 1 << 24

ATTRS = {
    "padding": "valid",
    "stride_w": 1,
    "stride_h": 1,
    "dilation_w_factor": 1,
    "dilation_h_factor": 1,
    "fused_activation_function": "none",
}


def _macs(ins: Sequence[Tensor | None], outs: Sequence[Tensor], attrs: Mapping[str, Any]) -> int:
    _, height, width, depth = image(ins[1], "the filter")
    return outs[0].size * height * width * depth


def _depthwise_macs(
    ins: Sequence[Tensor | None], outs: Sequence[Tensor], attrs: Mapping[str, Any]
) -> int:
    _, height, width, _ = image(ins[1], "the filter")
    return outs[0].size * height * width


@define_op("conv_2d", arity=(2, 3), attrs=ATTRS, macs=_macs)
def conv_2d_shape(ins: Sequence[Tensor | None], attrs: Mapping[str, Any]) -> list[Shape]:
    shape, weights = image(ins[0], "the input"), image(ins[1], "the filter")
    check_strides(attrs)
    channels, height, width, depth = weights
    if depth == 0 or shape[3] % depth:
        raise GraphError(f"{shape[3]} input channels are no multiple of the filter's {depth}")
    if channels % (shape[3] // depth):
        raise GraphError(f"{channels} filters cannot be shared by {shape[3] // depth} groups")
    check_bias(ins[2] if len(ins) > 2 else None, channels)
    return [(shape[0], *window_out(shape, (height, width), attrs), channels)]


@define_op(
    "depthwise_conv_2d",
    arity=(2, 3),
    attrs={**ATTRS, "depth_multiplier": 1},
    macs=_depthwise_macs,
)
def depthwise_conv_2d_shape(ins: Sequence[Tensor | None], attrs: Mapping[str, Any]) -> list[Shape]:
    shape, weights = image(ins[0], "the input"), image(ins[1], "the filter")
    check_strides(attrs)
    one, height, width, channels = weights
    if one != 1 or channels != shape[3] * attrs["depth_multiplier"]:
        raise GraphError(
            f"a depthwise filter for {shape[3]} channels with depth multiplier "
            f"{attrs['depth_multiplier']} cannot have shape {weights}"
        )
    check_bias(ins[2] if len(ins) > 2 else None, channels)
    return [(shape[0], *window_out(shape, (height, width), attrs), channels)]


@reference.register("conv_2d")
def conv_2d(
    op: Op, ins: Sequence[Tensor], outs: Sequence[Tensor], args: Sequence[np.ndarray]
) -> list[np.ndarray]:
    x, weights = args[0], args[1]
    bias = args[2] if len(args) > 2 else None
    check_types(op, ins[0], ins[1], outs[0])
    batch, out_h, out_w, channels = outs[0].shape
    _, height, width, depth = weights.shape
    span = spans(x.shape, (height, width), (out_h, out_w), op.attrs)
    kernel = weights[:, span[0].kept, span[1].kept].astype(np.float64)
    seen = [view for _, _, view in taps(padded(centred(x, ins[0]), span), span)]
    groups = x.shape[3] // depth
    share = channels // groups
    acc = np.zeros(outs[0].shape)
    # some output rows at a time: the unrolled windows of all of them may not fit in memory
    rows = max(UNROLLED // max(batch * out_w * len(seen) * x.shape[3], 1), 1)
    for top in range(0, out_h, rows) if seen else ():
        block = slice(top, top + rows)
        columns = np.stack([view[:, block] for view in seen], axis=-2)
        for g in range(groups):
            own = slice(g * share, (g + 1) * share)
            windows = columns[..., g * depth : (g + 1) * depth]
            flat = windows.reshape(-1, len(seen) * depth)
            made = flat @ kernel[own].reshape(share, -1).T
            acc[:, block, :, own] = made.reshape(*columns.shape[:3], share)
    return [
        leave_accumulator(
            acc,
            bias,
            ins[0],
            ins[1],
            outs[0],
            op.attrs["fused_activation_function"],
        )
    ]


@reference.register("depthwise_conv_2d")
def depthwise_conv_2d(
    op: Op, ins: Sequence[Tensor], outs: Sequence[Tensor], args: Sequence[np.ndarray]
) -> list[np.ndarray]:
    x, weights = args[0], args[1]
    bias = args[2] if len(args) > 2 else None
    check_types(op, ins[0], ins[1], outs[0])
    check_wide_bias(op, ins[0], bias)
    _, height, width, _ = weights.shape
    span = spans(x.shape, (height, width), outs[0].shape[1:3], op.attrs)  # type: ignore[arg-type]
    image_ = padded(centred(x, ins[0]), span)
    if op.attrs["depth_multiplier"] > 1:
        image_ = np.repeat(image_, op.attrs["depth_multiplier"], axis=3)
    kernel = weights[0, span[0].kept, span[1].kept].astype(np.float64)
    acc = np.zeros(outs[0].shape)
    for y, z, view in taps(image_, span):
        acc += view * kernel[y, z]
    return [
        leave_accumulator(acc, bias, ins[0], ins[1], outs[0], op.attrs["fused_activation_function"])
    ]

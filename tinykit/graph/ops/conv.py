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
    tap,
    window_out,
)
from tinykit.graph.registry import Shape, define_op, reference

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
    batch, *size, channels = outs[0].shape
    out = (size[0], size[1])
    _, height, width, depth = weights.shape
    image_ = padded(centred(x, ins[0]), (height, width), out, op.attrs)
    kernel = weights.astype(np.float64)
    if (height, width) == (1, 1):
        columns = tap(image_, 0, 0, out, op.attrs)[..., None, :]
    else:
        taps = [(y, z) for y in range(height) for z in range(width)]
        columns = np.stack([tap(image_, y, z, out, op.attrs) for y, z in taps], axis=-2)
    groups = x.shape[3] // depth
    acc = np.empty((batch * out[0] * out[1], channels))
    share = channels // groups
    for g in range(groups):
        rows = columns[..., g * depth : (g + 1) * depth].reshape(len(acc), height * width * depth)
        block = slice(g * share, (g + 1) * share)
        acc[:, block] = rows @ kernel[block].reshape(share, -1).T
    return [
        leave_accumulator(
            acc.reshape(outs[0].shape),
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
    out = (outs[0].shape[1], outs[0].shape[2])
    _, height, width, _ = weights.shape
    image_ = padded(centred(x, ins[0]), (height, width), out, op.attrs)
    if op.attrs["depth_multiplier"] > 1:
        image_ = np.repeat(image_, op.attrs["depth_multiplier"], axis=3)
    kernel = weights.astype(np.float64)
    acc = np.zeros(outs[0].shape)
    for y in range(height):
        for z in range(width):
            acc += tap(image_, y, z, out, op.attrs) * kernel[0, y, z]
    return [
        leave_accumulator(acc, bias, ins[0], ins[1], outs[0], op.attrs["fused_activation_function"])
    ]

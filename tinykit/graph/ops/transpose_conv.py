"""transpose_conv: each input pixel scatters a filter's worth into the output."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tinykit.graph.errors import GraphError, UnsupportedOpError
from tinykit.graph.fixedpoint import out_size, pad_before
from tinykit.graph.ir import Op, Tensor
from tinykit.graph.ops.convolving import (
    centred,
    check_bias,
    check_strides,
    check_types,
    check_wide_bias,
    image,
    leave_accumulator,
)
from tinykit.graph.registry import Shape, define_op, reference


def _macs(ins: Sequence[Tensor | None], outs: Sequence[Tensor], attrs: Mapping[str, Any]) -> int:
    batch, height, width, _ = image(ins[2], "the input")
    return batch * height * width * math.prod(image(ins[1], "the filter"))


@define_op(
    "transpose_conv",
    arity=(3, 4),
    attrs={
        "padding": "valid",
        "stride_w": 1,
        "stride_h": 1,
        "fused_activation_function": "none",
    },
    macs=_macs,
)
def transpose_conv_shape(
    ins: Sequence[Tensor | None], attrs: Mapping[str, Any]
) -> list[Shape | None]:
    """Inputs: output shape, filter (OHWI), data, bias. The output shape is taken as declared."""
    weights, shape = image(ins[1], "the filter"), image(ins[2], "the input")
    check_strides(attrs)
    if weights[3] != shape[3]:
        raise GraphError(f"the filter has {weights[3]} channels, the input {shape[3]}")
    check_bias(ins[3] if len(ins) > 3 else None, weights[0])
    if ins[0] is None or ins[0].data is None:
        return [None]
    wanted = tuple(int(d) for d in ins[0].data.ravel())
    if len(wanted) != 4 or wanted[0] != shape[0] or wanted[3] != weights[0] or min(wanted) < 1:
        raise GraphError(f"output shape {wanted} fits neither {weights} filters nor {shape}")
    for i, key in ((1, "stride_h"), (2, "stride_w")):
        back = out_size(wanted[i], weights[i], attrs[key], attrs["padding"])
        if back != shape[i]:
            raise GraphError(
                f"an output of {wanted[i]} would come from {back} inputs along axis {i}, "
                f"there are {shape[i]}"
            )
    return [wanted]


@reference.register("transpose_conv")
def transpose_conv(
    op: Op, ins: Sequence[Tensor], outs: Sequence[Tensor], args: Sequence[np.ndarray]
) -> list[np.ndarray]:
    weights, x = args[1], args[2]
    bias = args[3] if len(args) > 3 else None
    data, output = ins[2], outs[0]
    check_types(op, data, ins[1], output)
    check_wide_bias(op, data, bias)
    if ins[1].dtype == "int4":
        raise UnsupportedOpError(op.kind, None, reference.name, "int4 weights")
    batch, height, width, _ = x.shape
    channels, kernel_h, kernel_w, _ = weights.shape
    stride_h, stride_w = op.attrs["stride_h"], op.attrs["stride_w"]
    top = pad_before(output.shape[1], kernel_h, stride_h, height)
    left = pad_before(output.shape[2], kernel_w, stride_w, width)
    if op.attrs["padding"] == "valid":
        top = left = 0
    full = np.zeros(
        (
            batch,
            max((height - 1) * stride_h + kernel_h, top + output.shape[1]),
            max((width - 1) * stride_w + kernel_w, left + output.shape[2]),
            channels,
        )
    )
    pixels = centred(x, data)
    kernel = weights.astype(np.float64)
    for y in range(kernel_h):
        for z in range(kernel_w):
            rows = slice(y, y + (height - 1) * stride_h + 1, stride_h)
            columns = slice(z, z + (width - 1) * stride_w + 1, stride_w)
            full[:, rows, columns] += pixels @ kernel[:, y, z].T
    acc = full[:, top : top + output.shape[1], left : left + output.shape[2]]
    return [
        leave_accumulator(acc, bias, data, ins[1], output, op.attrs["fused_activation_function"])
    ]

"""Convolutions and linear layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tinykit.formats.torch_ops.tracer import (
    Call,
    Const,
    Tracer,
    Value,
    handles,
    pair,
    stored_shape,
)
from tinykit.formats.torch_ops.windows import outputs, pad_for
from tinykit.graph.ir import Quantization


def folded(call: Call, weight: Const, bias: Const | None) -> tuple[Const, np.ndarray]:
    """Weights (outputs first) and bias with `call`'s batch norm folded in, in double precision."""
    channels = weight.data.shape[0]
    offset = np.zeros(channels) if bias is None else bias.data.astype(np.float64)
    if call.norm is None:
        return weight, offset.astype(np.float32)
    scale, shift = call.norm
    if weight.quant is not None:
        raise call.unsupported(
            "weights are fake-quantized and a batch norm follows: fold it before quantizing"
        )
    along = scale.reshape(-1, *[1] * (weight.data.ndim - 1))
    return (
        Const((weight.data * along).astype(np.float32)),
        (offset * scale + shift).astype(np.float32),
    )


def _moved(weight: Const, order: Sequence[int], shape: Sequence[int] | None = None) -> Const:
    """`weight` with its axes in `order`; the channel axis of its quantization moves along."""
    data = weight.data.transpose(order)
    quant = weight.quant
    if quant is not None and quant.axis is not None:
        quant = Quantization(quant.scale, quant.zero_point, list(order).index(quant.axis))
    return replace(weight, data=data if shape is None else data.reshape(shape), quant=quant)


def _is_const(call: Call, *tensors: object) -> None:
    if not all(t is None or isinstance(t, Const) for t in tensors):
        raise call.unsupported("weights that are computed from the input")


@handles("conv2d.default", "conv2d.padding")
def conv2d(
    t: Tracer,
    call: Call,
    x: Value,
    weight: Const,
    bias: Const | None = None,
    stride: Sequence[int] = (1, 1),
    padding: Sequence[int] | str = (0, 0),
    dilation: Sequence[int] = (1, 1),
    groups: int = 1,
) -> Value:
    _is_const(call, weight, bias)
    weight, offset = folded(call, weight, bias)
    outs, _, kh, kw = weight.data.shape
    index = t.nhwc(x, call)
    channels = x.shape[1]
    (sh, sw), (dh, dw) = pair(stride), pair(dilation)
    span = ((kh - 1) * dh + 1, (kw - 1) * dw + 1)
    pads = list(call.pads)
    if padding == "same":  # torch's "same", stride 1 only: the odd one at the end, as TFLite's
        for k in (0, 1):
            pads[2 * k] += (span[k] - 1) // 2
            pads[2 * k + 1] += span[k] - 1 - (span[k] - 1) // 2
    elif padding != "valid":
        ph, pw = pair(padding)
        pads = [pads[0] + ph, pads[1] + ph, pads[2] + pw, pads[3] + pw]
    index, word = pad_for(t, call, index, span, (sh, sw), tuple(pads))  # type: ignore[arg-type]
    attrs = {
        "padding": word,
        "stride_h": sh,
        "stride_w": sw,
        "dilation_h_factor": dh,
        "dilation_w_factor": dw,
        "fused_activation_function": call.act,
    }
    if groups == channels and channels > 1:
        kind = "depthwise_conv_2d"
        attrs["depth_multiplier"] = outs // channels
        # (C·m, 1, H, W) → 1HWO
        moved = _moved(weight, (1, 2, 3, 0))
    else:
        kind = "conv_2d"
        moved = _moved(weight, (0, 2, 3, 1))  # OIHW → OHWI
    at = [
        index,
        t.const(moved.data, f"{call.name}.weight", moved),
        t.const(offset, f"{call.name}.bias"),
    ]
    return t.image(t.op(kind, at, stored_shape(call.shape, "nhwc"), call, **attrs), call.shape)


@handles("conv_transpose2d.input")
def conv_transpose2d(
    t: Tracer,
    call: Call,
    x: Value,
    weight: Const,
    bias: Const | None = None,
    stride: Sequence[int] = (1, 1),
    padding: Sequence[int] = (0, 0),
    output_padding: Sequence[int] = (0, 0),
    groups: int = 1,
    dilation: Sequence[int] = (1, 1),
) -> Value:
    _is_const(call, weight, bias)
    if groups != 1 or pair(dilation) != (1, 1):
        raise call.unsupported("transposed convolution with groups or dilation")
    # torch keeps (inputs, outputs, H, W)
    weight, offset = folded(call, _moved(weight, (1, 0, 2, 3)), bias)
    index = t.nhwc(x, call)
    sizes, kernel = x.shape[2:], weight.data.shape[2:]
    words: set[str] = set()
    for size, k, s, p, out in zip(
        sizes, kernel, pair(stride), pair(padding), call.shape[2:], strict=True
    ):
        fits: set[str] = set()
        if p == 0 and out == (size - 1) * s + k:
            fits.add("valid")
        total = max(0, (size - 1) * s + k - out)
        if out == size * s and outputs(out, k, s, total // 2, total - total // 2) == size:
            fits |= {"same"} if p == total // 2 else set()
        words = fits if not words else words & fits
        if not words:
            raise call.unsupported(
                f"padding {pair(padding)} and output_padding {pair(output_padding)} are neither "
                f"TFLite's SAME nor VALID"
            )
    moved = _moved(weight, (0, 2, 3, 1))
    shape = stored_shape(call.shape, "nhwc")
    at = [
        t.ints(shape),
        t.const(moved.data, f"{call.name}.weight", moved),
        index,
        t.const(offset, f"{call.name}.bias"),
    ]
    sh, sw = pair(stride)
    made = t.op(
        "transpose_conv",
        at,
        shape,
        call,
        padding=sorted(words)[-1],
        stride_h=sh,
        stride_w=sw,
        fused_activation_function=call.act,
    )
    return t.image(made, call.shape)


@handles("linear.default")
def linear(t: Tracer, call: Call, x: Value, weight: Const, bias: Const | None = None) -> Value:
    _is_const(call, weight, bias)
    weight, offset = folded(call, weight, bias)
    if x.layout == "hwc" and x.chw is not None:
        # columns counted C·H·W; the input comes as H·W·C
        c, h, w = x.chw
        data = weight.data.reshape(-1, c, h, w).transpose(0, 2, 3, 1).reshape(weight.data.shape)
        weight, index = replace(weight, data=data), x.index
    elif x.layout == "nhwc":
        index = t.transpose(x.index, (0, 3, 1, 2), call)
    else:
        index = x.index
    at = [
        index,
        t.const(weight.data, f"{call.name}.weight", weight),
        t.const(offset, f"{call.name}.bias"),
    ]
    made = t.op(
        "fully_connected",
        at,
        call.shape,
        call,
        fused_activation_function=call.act,
        keep_num_dims=len(call.shape) != 2,
    )
    return Value(made, call.shape)

"""Op versions: the lowest one that has what an op uses.

A runtime refuses a version that it does not know, so a file should not ask for more than it needs.
The rules follow TensorFlow Lite's ``tools/versioning/op_version.cc``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tinykit.graph.ir import Tensor

Ins = Sequence[Tensor | None]


def op_version(kind: str, ins: Ins, outs: Sequence[Tensor], attrs: Mapping[str, Any]) -> int:
    """Version of the op for these tensors and attributes."""
    rule = _RULES.get(kind)
    if rule is not None:
        return rule(ins, outs, attrs)
    by_type = _BY_INPUT_TYPE.get(kind)
    if by_type is None or not ins or ins[0] is None:
        return 1
    return by_type.get(ins[0].dtype, 1)


_INT8_INT16 = {"int8": 2, "int16": 3}
#: kinds whose version follows from the type of the first input alone
_BY_INPUT_TYPE: dict[str, dict[str, int]] = {
    **dict.fromkeys(
        (
            *("max_pool_2d", "average_pool_2d", "softmax", "mean", "reduce_max", "reduce_min"),
            *("relu6", "tanh", "logistic", "concatenation", "pack", "mirror_pad"),
        ),
        _INT8_INT16,
    ),
    "relu": {"int8": 2, "uint8": 2, "int16": 3},
    "sum": {"int8": 2},
    "split_v": {"int8": 2},
    "depth_to_space": {"int8": 2},
    "squared_difference": {"int8": 2},
    "leaky_relu": {"int16": 2},
    "maximum": {"int8": 2, "int16": 4},
    "minimum": {"int8": 2, "int16": 4},
    "unpack": {"int8": 2, "uint8": 2, "bool": 3, "int16": 4},
    "gather": {"int8": 2, "bool": 3, "int16": 4},
    "tile": {"int8": 3},
    "exp": {"int8": 2, "int16": 2},
    "log": {"int8": 2, "int16": 2},
    "reduce_prod": {"int8": 2, "int16": 2},
    "abs": {"int8": 2, "uint8": 2, "int16": 3, "int32": 5},
}


def _at(tensors: Ins, index: int) -> Tensor | None:
    return tensors[index] if index < len(tensors) else None


def _type(tensors: Ins, index: int) -> str:
    tensor = _at(tensors, index)
    return "" if tensor is None else tensor.dtype


def _rank(tensors: Ins, index: int) -> int:
    tensor = _at(tensors, index)
    return 0 if tensor is None else len(tensor.shape)


def _per_channel(tensor: Tensor | None) -> bool:
    return tensor is not None and tensor.quant is not None and tensor.quant.scale.size > 1


def _conv_2d(ins: Ins, outs: Sequence[Tensor], attrs: Mapping[str, Any]) -> int:
    x, w = _type(ins, 0), _type(ins, 1)
    if x == "int16":
        return 8 if _type(ins, 2) == "int32" else 4
    data, filters = _at(ins, 0), _at(ins, 1)
    if data and filters and data.shape[-1:] != filters.shape[-1:]:
        return 6  # grouped
    if x == "int8":
        return 7 if w == "int4" else 3
    if x == "float32" and w == "int8":
        return 5 if _per_channel(_at(ins, 1)) else 2
    return 1


def _depthwise_conv_2d(ins: Ins, outs: Sequence[Tensor], attrs: Mapping[str, Any]) -> int:
    x, w = _type(ins, 0), _type(ins, 1)
    if x == "int16":
        return 5
    if x == "int8":
        return 7 if w == "int4" else 3
    if x == "float32" and w == "int8":
        return 6 if _per_channel(_at(ins, 1)) else 4
    dilated = attrs.get("dilation_w_factor", 1) != 1 or attrs.get("dilation_h_factor", 1) != 1
    return 2 if dilated else 1


def _fully_connected(ins: Ins, outs: Sequence[Tensor], attrs: Mapping[str, Any]) -> int:
    x, w = _type(ins, 0), _type(ins, 1)
    if x == "float32" and w == "int8" and _per_channel(_at(ins, 1)):
        return 12
    if x == "int16":
        return 11 if _type(ins, 2) == "int32" else 7
    if x == "int8" and w == "int4":
        return 10
    if len(ins) == 2:
        return 6
    if attrs.get("keep_num_dims"):
        return 5
    return 4 if x == "int8" else 3 if w == "int8" else 1


def _transpose_conv(ins: Ins, outs: Sequence[Tensor], attrs: Mapping[str, Any]) -> int:
    if _type(ins, 2) == "int16" and _type(ins, 3) == "int32":
        return 5
    if attrs.get("fused_activation_function", "none") != "none":
        return 4
    if _at(ins, 3) is not None:
        return 3
    return 2 if _type(ins, 1) == "int8" else 1


def _add(ins: Ins, outs: Sequence[Tensor], attrs: Mapping[str, Any]) -> int:
    x = _type(ins, 0)
    if x == "int16":
        data = _at(ins, 0)
        quantized = data is not None and data.quant is not None
        return 5 if not quantized else 1 if attrs.get("pot_scale_int16") else 3
    return {"int64": 4, "int8": 2}.get(x, 1)


def _sub(ins: Ins, outs: Sequence[Tensor], attrs: Mapping[str, Any]) -> int:
    x = _type(ins, 0)
    if x == "int16" and not attrs.get("pot_scale_int16"):
        return 5
    if x == "int64":
        return 4
    if _broadcasts(ins):
        return 3
    return 2 if x == "int8" else 1


def _mul(ins: Ins, outs: Sequence[Tensor], attrs: Mapping[str, Any]) -> int:
    x = _type(ins, 0)
    quants = [t.quant if t is not None else None for t in (*ins[:2], *outs[:1])]
    if x == "int16":
        return 7 if quants[0] is None else 4
    if x == "int64":
        return 5
    if len(quants) == 3 and None not in quants:
        a, b, y = (q.scale[0] for q in quants if q is not None)
        if a * b / y >= 1.0:
            return 3
    return 2 if x == "int8" else 1


def _div(ins: Ins, outs: Sequence[Tensor], attrs: Mapping[str, Any]) -> int:
    return 2 if _broadcasts(ins) else 1


def _broadcasts(ins: Ins) -> bool:
    a, b = _at(ins, 0), _at(ins, 1)
    if a is None or b is None:
        return False
    return a.shape != b.shape and max(len(a.shape), len(b.shape)) > 4


def _transpose(ins: Ins, outs: Sequence[Tensor], attrs: Mapping[str, Any]) -> int:
    if _rank(ins, 0) > 5:
        return 6
    if _type(ins, 0) == "int16":
        return 5
    if _rank(ins, 0) > 4:
        return 4
    return {"bool": 3, "int8": 2}.get(_type(ins, 0), 1)


def _split(ins: Ins, outs: Sequence[Tensor], attrs: Mapping[str, Any]) -> int:
    return {"int16": 4, "int32": 3, "int8": 2}.get(_type(ins, 1), 1)


def _strided_slice(ins: Ins, outs: Sequence[Tensor], attrs: Mapping[str, Any]) -> int:
    if attrs.get("offset"):
        return 8
    if attrs.get("ellipsis_mask") or attrs.get("new_axis_mask"):
        return 6
    if _rank(ins, 0) > 4:
        return 4
    return {"bool": 3, "int8": 2}.get(_type(ins, 0), 1)


def _slice(ins: Ins, outs: Sequence[Tensor], attrs: Mapping[str, Any]) -> int:
    return 5 if _rank(ins, 0) > 4 else {"int16": 4, "int8": 2}.get(_type(ins, 0), 1)


def _resize(ins: Ins, outs: Sequence[Tensor], attrs: Mapping[str, Any]) -> int:
    if _type(ins, 0) == "int16":
        return 4
    if attrs.get("half_pixel_centers") or attrs.get("align_corners"):
        return 3
    return 2 if _type(ins, 0) == "int8" else 1


def _space_batch(ins: Ins, outs: Sequence[Tensor], attrs: Mapping[str, Any]) -> int:
    if _type(ins, 0) == "int16":
        return 4
    if _rank(ins, 0) != 4:
        return 3
    return 2 if _type(ins, 0) == "int8" else 1


def _pad(ins: Ins, outs: Sequence[Tensor], attrs: Mapping[str, Any]) -> int:
    return 4 if _rank(ins, 0) > 4 else _INT8_INT16.get(_type(ins, 0), 1)


def _dequantize(ins: Ins, outs: Sequence[Tensor], attrs: Mapping[str, Any]) -> int:
    if _type(ins, 0) == "int8" and _per_channel(_at(ins, 0)):
        return 5
    return {"int4": 6, "int16": 3, "int8": 2}.get(_type(ins, 0), 1)


def _quantize(ins: Ins, outs: Sequence[Tensor], attrs: Mapping[str, Any]) -> int:
    if "int4" in (_type(ins, 0), _type(outs, 0)):
        return 4
    if _per_channel(_at(outs, 0)):
        return 3
    return 2 if _type(outs, 0) == "int16" else 1


def _cast(ins: Ins, outs: Sequence[Tensor], attrs: Mapping[str, Any]) -> int:
    return 3 if "int8" in (_type(ins, 0), _type(outs, 0)) else 1


_RULES: dict[str, Callable[[Ins, Sequence[Tensor], Mapping[str, Any]], int]] = {
    "conv_2d": _conv_2d,
    "depthwise_conv_2d": _depthwise_conv_2d,
    "fully_connected": _fully_connected,
    "transpose_conv": _transpose_conv,
    "add": _add,
    "sub": _sub,
    "mul": _mul,
    "div": _div,
    "transpose": _transpose,
    "split": _split,
    "strided_slice": _strided_slice,
    "slice": _slice,
    "resize_bilinear": _resize,
    "resize_nearest_neighbor": _resize,
    "space_to_batch_nd": _space_batch,
    "batch_to_space_nd": _space_batch,
    "pad": _pad,
    "padv2": _pad,
    "dequantize": _dequantize,
    "quantize": _quantize,
    "cast": _cast,
}

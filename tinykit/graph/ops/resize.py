"""resize_bilinear and resize_nearest_neighbor, with TFLite's fixed-point coordinates for int8."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tinykit.graph.errors import GraphError
from tinykit.graph.fixedpoint import round_half_away
from tinykit.graph.ir import Op, Tensor
from tinykit.graph.ops.constants import values
from tinykit.graph.ops.convolving import image
from tinykit.graph.registry import Shape, define_op, reference

ATTRS = {"align_corners": False, "half_pixel_centers": False}


@define_op("resize_bilinear", arity=(2, 2), attrs=ATTRS)
def resize_bilinear_shape(
    ins: Sequence[Tensor | None], attrs: Mapping[str, Any]
) -> Sequence[Shape | None]:
    shape = image(ins[0], "the input")
    size = values(ins[1], 2)
    if size is None:
        return [None]
    if min(size) < 1 or min(shape) < 1:
        raise GraphError(f"{shape} cannot be resized to {size}")
    if attrs["align_corners"] and attrs["half_pixel_centers"]:
        raise GraphError("align_corners and half_pixel_centers exclude each other")
    return [(shape[0], *size, shape[3])]


@define_op("resize_nearest_neighbor", arity=(2, 2), attrs=ATTRS)
def resize_nearest_neighbor_shape(
    ins: Sequence[Tensor | None], attrs: Mapping[str, Any]
) -> Sequence[Shape | None]:
    # here TFLite allows both flags at once
    return resize_bilinear_shape(ins, {**attrs, "align_corners": False})


Line = tuple[np.ndarray, np.ndarray, np.ndarray]


def _line10(size: int, out: int, attrs: Mapping[str, Any]) -> Line:
    """Lower and upper neighbour and the 10-bit position between them, for each output index."""
    scale = ((size << 10) + out // 2) // out
    if attrs["align_corners"] and out > 1:
        scale = (((size - 1) << 10) + (out - 1) // 2) // (out - 1)
    at = np.arange(out, dtype=np.int64) * scale
    if attrs["half_pixel_centers"]:
        at += scale // 2 - (1 << 9)
    # C truncates towards zero; both ends are clamped afterwards
    lower = np.maximum(np.trunc(at / 1024).astype(np.int64), 0)
    upper = np.minimum(np.trunc((at + 1023) / 1024).astype(np.int64), size - 1)
    return lower, upper, at - (lower << 10)


def _line(size: int, out: int, attrs: Mapping[str, Any]) -> Line:
    """As `_line10` in float32, the position as a fraction."""
    scale = np.float32(size) / np.float32(out)
    if attrs["align_corners"] and out > 1:
        scale = np.float32(size - 1) / np.float32(out - 1)
    at = np.arange(out, dtype=np.float32)
    half = np.float32(0.5)
    at = (at + half) * scale - half if attrs["half_pixel_centers"] else at * scale
    lower = np.maximum(np.floor(at).astype(np.int64), 0)
    upper = np.minimum(np.ceil(at).astype(np.int64), size - 1)
    return lower, upper, at - lower.astype(np.float32)


@reference.register("resize_bilinear")
def resize_bilinear(
    op: Op, ins: Sequence[Tensor], outs: Sequence[Tensor], args: Sequence[np.ndarray]
) -> list[np.ndarray]:
    x = args[0]
    _, height, width, _ = outs[0].shape
    real = outs[0].dtype == "float32"
    line, one = (_line, np.float32(1)) if real else (_line10, np.int64(1 << 10))
    y0, y1, y = line(x.shape[1], height, op.attrs)
    x0, x1, z = line(x.shape[2], width, op.attrs)
    y, z = y[:, None, None], z[:, None]
    x = x if real else x.astype(np.int64)
    top, bottom = x[:, y0], x[:, y1]
    total = (
        top[:, :, x0] * (one - y) * (one - z)
        + bottom[:, :, x0] * y * (one - z)
        + top[:, :, x1] * (one - y) * z
        + bottom[:, :, x1] * y * z
    )
    if real:
        return [total]
    away = np.where(total > 0, 1 << 19, -(1 << 19))
    rounded = np.sign(total + away) * (np.abs(total + away) >> 20)
    return [rounded.astype(outs[0].numpy_dtype)]


def _nearest(size: int, out: int, attrs: Mapping[str, Any]) -> np.ndarray:
    corners = attrs["align_corners"] and out > 1
    scale = np.float32(size - 1) / np.float32(out - 1) if corners else np.float32(size) / out
    scale = np.float32(scale)
    at = np.arange(out, dtype=np.float32)
    if attrs["half_pixel_centers"]:
        at += np.float32(0.5)
    at = at * scale
    whole = round_half_away(at) if attrs["align_corners"] else np.floor(at)
    return np.clip(whole.astype(np.int64), 0, size - 1)


@reference.register("resize_nearest_neighbor")
def resize_nearest_neighbor(
    op: Op, ins: Sequence[Tensor], outs: Sequence[Tensor], args: Sequence[np.ndarray]
) -> list[np.ndarray]:
    x, (_, height, width, _) = args[0], outs[0].shape
    rows = _nearest(x.shape[1], height, op.attrs)
    columns = _nearest(x.shape[2], width, op.attrs)
    return [x[:, rows][:, :, columns]]

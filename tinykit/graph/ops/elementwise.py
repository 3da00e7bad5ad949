"""add, sub and mul, with numpy's broadcasting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinykit.graph.errors import GraphError, UnsupportedOpError
from tinykit.graph.fixedpoint import (
    activation_range,
    multiply_by_quantized_multiplier,
    quantize_multiplier,
)
from tinykit.graph.ir import Op, Tensor
from tinykit.graph.ops.pointwise import scale_of, zero_of
from tinykit.graph.registry import Shape, define_op, reference

TYPES = ("float32", "int8", "int16", "int32")
FUSED = {"fused_activation_function": "none"}


def broadcast_shape(ins: Sequence[Tensor | None], attrs: Mapping[str, Any]) -> list[Shape]:
    if ins[0] is None or ins[1] is None:
        raise GraphError("an input is missing")
    try:
        return [np.broadcast_shapes(ins[0].shape, ins[1].shape)]
    except ValueError:
        raise GraphError(f"shapes {ins[0].shape} and {ins[1].shape} do not broadcast") from None


define_op("add", arity=(2, 2), attrs={**FUSED, "pot_scale_int16": False})(broadcast_shape)
define_op("sub", arity=(2, 2), attrs={**FUSED, "pot_scale_int16": False})(broadcast_shape)
define_op("mul", arity=(2, 2), attrs=FUSED)(broadcast_shape)


@dataclass(frozen=True)
class AddParams:
    """How an integer add or sub brings its inputs to a common scale, and back.

    Each input less its zero point is shifted left by `left_shift`, scaled by its (mantissa, shift),
    added or subtracted, and scaled by `output`. `bounds` are the stored values that the fused
    activation lets through.
    """

    left_shift: int
    inputs: tuple[tuple[int, int], tuple[int, int]]
    output: tuple[int, int]
    bounds: tuple[int, int]


def add_params(op: Op, ins: Sequence[Tensor], output: Tensor) -> AddParams:
    """Parameters of an int8 or int16 add or sub.

    TFLite Micro takes the general way for int16 whatever `pot_scale_int16` says.
    """
    a, b, out = (scale_of(t) for t in (*ins, output))
    left_shift = 15 if output.dtype == "int16" else 20
    twice = 2 * max(a, b)
    factors = (a / twice, b / twice, twice / ((1 << left_shift) * out))
    scaled = [_multiplier(op, factor) for factor in factors]
    bounds = activation_range(op.attrs["fused_activation_function"], output.dtype, output.quant)
    return AddParams(
        left_shift, (scaled[0], scaled[1]), scaled[2], (int(bounds[0]), int(bounds[1]))
    )


def _multiplier(op: Op, factor: float) -> tuple[int, int]:
    mantissa, shift = quantize_multiplier(factor)
    if not 0 < factor < 1 or shift > 0:
        raise GraphError(
            f"{op.name}: its scales combine to a factor of {factor:g}, which should be below 1; "
            "the output's scale is far too small for these inputs (calibrate again)"
        )
    return int(mantissa), int(shift)


def mul_params(op: Op, ins: Sequence[Tensor], output: Tensor) -> tuple[int, int]:
    """Mantissa and shift of an int8 or int16 mul."""
    mantissa, shift = quantize_multiplier(scale_of(ins[0]) * scale_of(ins[1]) / scale_of(output))
    if output.dtype == "int16" and any(zero_of(t) for t in (*ins, output)):
        raise GraphError(f"{op.name}: an int16 mul takes zero points of 0 only")
    return int(mantissa), int(shift)


def check(op: Op, ins: Sequence[Tensor], output: Tensor, backend: str) -> None:
    dtypes = {t.dtype for t in (*ins, output)}
    if len(dtypes) > 1 or output.dtype not in TYPES:
        got = f"{ins[0].dtype} and {ins[1].dtype} to {output.dtype}"
        raise UnsupportedOpError(op.kind, None, backend, got)
    if max(len(t.shape) for t in ins) > MAX_RANK and ins[0].shape != ins[1].shape:
        raise UnsupportedOpError(
            op.kind, None, backend, f"broadcasting over more than {MAX_RANK} dimensions"
        )


#: TFLite Micro broadcasts over no more
MAX_RANK = 4


@reference.register("add", "sub")
def add(
    op: Op, ins: Sequence[Tensor], outs: Sequence[Tensor], args: Sequence[np.ndarray]
) -> list[np.ndarray]:
    output = outs[0]
    check(op, ins, output, reference.name)
    combine = np.add if op.kind == "add" else np.subtract
    if output.dtype in ("float32", "int32"):
        return [_plain(op, combine(*args), output)]
    p = add_params(op, ins, output)
    scaled = [
        multiply_by_quantized_multiplier(
            (x.astype(np.int64) - zero_of(t)) << p.left_shift, *multiplier
        )
        for x, t, multiplier in zip(args, ins, p.inputs, strict=True)
    ]
    whole = multiply_by_quantized_multiplier(combine(*scaled), *p.output).astype(np.int64)
    return [np.clip(whole + zero_of(output), *p.bounds).astype(output.numpy_dtype)]


@reference.register("mul")
def mul(
    op: Op, ins: Sequence[Tensor], outs: Sequence[Tensor], args: Sequence[np.ndarray]
) -> list[np.ndarray]:
    output = outs[0]
    check(op, ins, output, reference.name)
    if output.dtype in ("float32", "int32"):
        return [_plain(op, args[0] * args[1], output)]
    a, b = (x.astype(np.int64) - zero_of(t) for x, t in zip(args, ins, strict=True))
    whole = multiply_by_quantized_multiplier(a * b, *mul_params(op, ins, output)).astype(np.int64)
    low, high = activation_range(op.attrs["fused_activation_function"], output.dtype, output.quant)
    return [np.clip(whole + zero_of(output), low, high).astype(output.numpy_dtype)]


def plain_bounds(op: Op, output: Tensor) -> tuple[float, float]:
    """What the activation of an unquantized op lets through; int32 add ignores it, as TFLM does."""
    low, high = activation_range(op.attrs["fused_activation_function"], "float32", None)
    if output.dtype == "float32":
        return low, high
    lowest, highest = -(1 << 31), (1 << 31) - 1
    if op.kind == "add":
        return lowest, highest
    return max(low, lowest), min(high, highest)


def _plain(op: Op, values: np.ndarray, output: Tensor) -> np.ndarray:
    low, high = plain_bounds(op, output)
    if output.dtype == "float32":
        return np.clip(values, np.float32(low), np.float32(high))
    return np.clip(values.astype(np.int64), int(low), int(high)).astype(np.int32)

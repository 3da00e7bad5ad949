"""softmax over the last dimension."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tinykit.graph import fixedpoint_math as q
from tinykit.graph.errors import GraphError
from tinykit.graph.fixedpoint import (
    multiply_by_quantized_multiplier,
    quantize_multiplier,
    rounding_divide_by_pot,
    saturating_rounding_doubling_high_mul,
)
from tinykit.graph.ir import Op, Tensor
from tinykit.graph.ops.pointwise import check_types, same_shape, scale_of, zero_of
from tinykit.graph.registry import Shape, define_op, reference

TYPES = {("float32", "float32"), ("int8", "int8"), ("int8", "int16"), ("int16", "int16")}
#: integer bits of a scaled difference, and of the sum of exponentials
DIFF_BITS, SUM_BITS = 5, 12


@define_op("softmax", arity=(1, 1), attrs={"beta": 1.0})
def softmax_shape(ins: Sequence[Tensor | None], attrs: Mapping[str, Any]) -> list[Shape]:
    shapes = same_shape(ins, attrs)
    if not shapes[0]:
        raise GraphError("softmax needs at least one dimension")
    return shapes


@reference.register("softmax")
def softmax(
    op: Op, ins: Sequence[Tensor], outs: Sequence[Tensor], args: Sequence[np.ndarray]
) -> list[np.ndarray]:
    (x,), data, output = args, ins[0], outs[0]
    check_types(op, data, output, TYPES)
    if data.dtype == "float32":
        beta = np.float32(op.attrs["beta"])
        exps = np.exp((x - x.max(-1, keepdims=True)) * beta)
        return [exps / exps.sum(-1, keepdims=True, dtype=np.float32)]
    check_output(op, data, output)
    whole = x.astype(np.int64)
    diff = whole - whole.max(-1, keepdims=True)
    made = (
        _from_int16(op, data, diff) if data.dtype == "int16" else _from_int8(op, data, output, diff)
    )
    return [made.astype(output.numpy_dtype)]


def check_output(op: Op, data: Tensor, output: Tensor) -> None:
    """Raise GraphError unless the output is quantized as TFLite Micro demands."""
    steps, zero = {
        ("int8", "int8"): (256, -128),
        ("int8", "int16"): (65536, -32768),
        ("int16", "int16"): (32768, 0),
    }[data.dtype, output.dtype]
    slack = 0.0 if output.dtype == "int8" else 1e-3
    if abs(scale_of(output) * steps - 1) > slack or zero_of(output) != zero:
        raise GraphError(
            f"{op.name}: softmax from {data.dtype} to {output.dtype} puts out scale 1/{steps} "
            f"and zero point {zero}"
        )


def int8_params(op: Op, data: Tensor) -> tuple[int, int, int]:
    """Mantissa and left shift of a difference, and the smallest one that still counts."""
    # beta is a float32 in the file; its product with the scale is taken in float64
    factor = float(np.float32(op.attrs["beta"])) * scale_of(data) * (1 << (31 - DIFF_BITS))
    factor = min(factor, float((1 << 31) - 1))
    if not factor > 1:
        raise GraphError(f"{op.name}: the input's scale {scale_of(data):g} is too small")
    mantissa, shift = quantize_multiplier(factor)
    return int(mantissa), int(shift), -q.input_radius(DIFF_BITS, int(shift))


def exps_below_max(op: Op, data: Tensor, diff: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """exp of differences to the row's maximum (stored steps, never positive) in Q0.31.

    Returns
    -------
    exps : int64 array; counts : bool array, False where the difference is too large to count
    """
    mantissa, shift, smallest = int8_params(op, data)
    counts = diff >= smallest
    scaled = saturating_rounding_doubling_high_mul(np.where(counts, diff, 0) << shift, mantissa)
    return q.exp_on_negative_values(scaled, DIFF_BITS), counts


def int8_exps(op: Op, data: Tensor) -> np.ndarray:
    """exp of 0, 1, 2... steps below the maximum, as far as it can be told from 0; int64, Q0.31.

    An exponential below 2**11 adds nothing to the sum (which drops 12 bits), nor to any output.
    """
    exps, counts = exps_below_max(op, data, -np.arange(256))
    felt = np.flatnonzero(counts & (exps >= 1 << (SUM_BITS - 1)))
    return exps[: felt[-1] + 1]


def _from_int8(op: Op, data: Tensor, output: Tensor, diff: np.ndarray) -> np.ndarray:
    exps, counts = exps_below_max(op, data, diff)
    parts = np.where(counts, rounding_divide_by_pot(exps, SUM_BITS), 0)
    # Where the sum reaches 512, TFLite Micro aborts (int8 outputs: the shift exceeds 31). Here
    # every probability then rounds to 0.
    inverse, bits = q.reciprocal(parts.sum(-1, keepdims=True), SUM_BITS)
    width = 8 * output.numpy_dtype.itemsize
    lowest, highest = -(1 << (width - 1)), (1 << (width - 1)) - 1
    product = saturating_rounding_doubling_high_mul(inverse, exps)
    made = rounding_divide_by_pot(product, bits + 31 - width).astype(np.int64) + lowest
    return np.where(counts, np.clip(made, lowest, highest), lowest)


@functools.cache
def exp_table() -> np.ndarray:
    """exp on [-10, 0] in Q0.15, for `fixedpoint_math.int16_lookup`."""
    return q.int16_table(np.exp, -10.0, 0.0)


@functools.cache
def reciprocal_table() -> np.ndarray:
    """1 / (1 + x) on [0, 1] in Q0.15, for `fixedpoint_math.int16_lookup`."""
    return q.int16_table(lambda x: np.float32(1) / (np.float32(1) + x), 0.0, 1.0)


def int16_params(op: Op, data: Tensor) -> tuple[int, int]:
    """Mantissa and shift that stretch differences of [-10, 0] over [-65535, 0]."""
    factor = scale_of(data) * float(np.float32(op.attrs["beta"])) / (10.0 / 65535.0)
    mantissa, shift = quantize_multiplier(factor)
    return int(mantissa), int(shift)


def _from_int16(op: Op, data: Tensor, diff: np.ndarray) -> np.ndarray:
    scaled = multiply_by_quantized_multiplier(diff, *int16_params(op, data)).astype(np.int64)
    exps = q.int16_lookup(np.clip(scaled + 32767, -32768, 32767), exp_table())
    total = exps.sum(-1, keepdims=True)
    headroom = q.leading_zeros(total)
    # the sum as 1 + x with x in [0, 1): x is what the table takes, recentred
    mantissa = ((total << (headroom - 1)) + (1 << 13)) >> 14
    centred = np.clip(mantissa - (1 << 15) - (1 << 16), -32768, 32767)
    inverse = q.int16_lookup(centred, reciprocal_table())
    shift = 31 - headroom
    return np.clip((exps * inverse + (1 << (shift - 1))) >> shift, 0, 32767)

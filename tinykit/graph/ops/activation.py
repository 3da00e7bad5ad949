"""Functions of one element: relu and its kin, logistic, tanh, hard_swish."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinykit.graph import fixedpoint_math as q
from tinykit.graph.errors import GraphError
from tinykit.graph.fixedpoint import (
    is_power_of_two,
    multiply_by_quantized_multiplier,
    quantize_multiplier,
    quantize_value,
    round_half_away,
    rounding_divide_by_pot,
)
from tinykit.graph.ir import Op, Tensor, integer_range
from tinykit.graph.ops.pointwise import check_types, quant_of, same_shape, scale_of, zero_of
from tinykit.graph.registry import define_op, reference

Tensors = Sequence[Tensor]
Arrays = Sequence[np.ndarray]

for _kind in ("relu", "relu6", "relu_n1_to_1", "logistic", "tanh", "hard_swish"):
    define_op(_kind, arity=(1, 1))(same_shape)
define_op("leaky_relu", arity=(1, 1), attrs={"alpha": 0.0})(same_shape)

SAME = {(t, t) for t in ("float32", "int8", "int16")}
#: op -> (input dtype, output dtype) pairs with a kernel
TYPES = {
    **dict.fromkeys(("relu", "relu6", "relu_n1_to_1", "leaky_relu", "logistic", "tanh"), SAME),
    "hard_swish": {("float32", "float32"), ("int8", "int8")},
}


@reference.register("relu", "relu_n1_to_1")
def relu(op: Op, ins: Tensors, outs: Tensors, args: Arrays) -> list[np.ndarray]:
    (x,), data, output = args, ins[0], outs[0]
    check_types(op, data, output, TYPES[op.kind])
    low, high = (0.0, np.inf) if op.kind == "relu" else (-1.0, 1.0)
    if output.dtype == "float32":
        return [np.clip(x, np.float32(low), np.float32(high))]
    mantissa, shift = quantize_multiplier(scale_of(data) / scale_of(output))
    centred = x.astype(np.int64) - zero_of(data)
    made = multiply_by_quantized_multiplier(centred, mantissa, shift) + np.int64(zero_of(output))
    lowest, highest = integer_range(output.dtype)
    lowest = max(lowest, quantize_value(low, output.quant))
    if np.isfinite(high):
        highest = min(highest, quantize_value(high, output.quant))
    return [np.clip(made, lowest, highest).astype(output.numpy_dtype)]


@reference.register("relu6")
def relu6(op: Op, ins: Tensors, outs: Tensors, args: Arrays) -> list[np.ndarray]:
    (x,), data, output = args, ins[0], outs[0]
    check_types(op, data, output, TYPES[op.kind])
    if output.dtype == "float32":
        return [np.clip(x, np.float32(0), np.float32(6))]
    # TFLite Micro clamps stored values and never looks at the output's quantization
    six = min(quantize_value(6.0, data.quant), integer_range(data.dtype)[1])
    return [np.clip(x, zero_of(data), six).astype(output.numpy_dtype)]


@reference.register("leaky_relu")
def leaky_relu(op: Op, ins: Tensors, outs: Tensors, args: Arrays) -> list[np.ndarray]:
    (x,), data, output = args, ins[0], outs[0]
    check_types(op, data, output, TYPES[op.kind])
    alpha = np.float32(op.attrs["alpha"])
    if output.dtype == "float32":
        return [np.where(x > 0, x, x * alpha)]
    slope = scale_of(data) / scale_of(output)
    slope_below = scale_of(data) * float(alpha) / scale_of(output)
    centred = x.astype(np.int64) - zero_of(data)
    above = multiply_by_quantized_multiplier(centred, *quantize_multiplier(slope))
    below = multiply_by_quantized_multiplier(centred, *quantize_multiplier(slope_below))
    made = np.where(centred >= 0, above, below).astype(np.int64) + zero_of(output)
    return [np.clip(made, *integer_range(output.dtype)).astype(output.numpy_dtype)]


@reference.register("logistic", "tanh")
def logistic(op: Op, ins: Tensors, outs: Tensors, args: Arrays) -> list[np.ndarray]:
    (x,), data, output = args, ins[0], outs[0]
    check_types(op, data, output, TYPES[op.kind])
    if output.dtype == "float32":
        if op.kind == "tanh":
            return [np.tanh(x)]
        return [_logistic_float(x)]
    if data.dtype == "int16":
        return [_sigmoidal_int16(op, data, output, x).astype(np.int16)]
    return [_sigmoidal_int8(op, data, output, x).astype(np.int8)]


def _logistic_float(x: np.ndarray) -> np.ndarray:
    # TFLite's cut-offs: below -9 the exponential itself (a relative error of up to 1.2e-4), above
    # 16.6 a float32 one
    with np.errstate(over="ignore"):
        decay = np.exp(-x.astype(np.float64))
        middle = 1 / (1 + decay)
    rising = np.exp(np.minimum(x, 0).astype(np.float64))
    made = np.where(x < -9, rising, np.where(x > np.float32(16.619047164916992), 1.0, middle))
    return made.astype(np.float32)


def _sigmoidal_int8(op: Op, data: Tensor, output: Tensor, x: np.ndarray) -> np.ndarray:
    if op.kind == "logistic" and zero_of(output) != -128:
        raise GraphError(f"{op.name}: an int8 logistic puts out scale 1/256 and zero point -128")
    bits = 4  # integer bits of the fixed-point input
    fraction, left_shift = np.frexp(scale_of(data) * float(1 << (31 - bits)))
    mantissa = np.int64(round_half_away(fraction * float(1 << 31)))
    radius = q.input_radius(bits, int(left_shift))
    centred = x.astype(np.int64) - zero_of(data)
    scaled = np.zeros_like(centred)
    if radius > 0:  # else every input but 0 saturates, and the shift leaves int32
        inside = np.clip(centred, 1 - radius, radius - 1)
        scaled = multiply_by_quantized_multiplier(inside, mantissa, left_shift)
    if op.kind == "logistic":
        made = rounding_divide_by_pot(q.logistic(scaled, bits), 23).astype(np.int64) - 128
    else:
        made = rounding_divide_by_pot(q.tanh(scaled, bits), 24).astype(np.int64)
    made = np.clip(made, -128, 127)
    return np.where(centred <= -radius, -128, np.where(centred >= radius, 127, made))


def sigmoidal_int16_params(op: Op, data: Tensor, output: Tensor) -> tuple[int, int]:
    """Multiplier and right shift that bring an int16 input to 1/(3 * 4096) a step.

    Powers of two that the table takes directly come back as a multiplier of 3 * 2**k, shift 0.
    """
    power, log2 = is_power_of_two(scale_of(output))
    if not power or log2 != -15 or zero_of(data) or zero_of(output):
        raise GraphError(
            f"{op.name}: an int16 {op.kind} takes zero points of 0 and puts out scale 1/32768"
        )
    power, log2 = is_power_of_two(scale_of(data))
    if power and 12 + log2 in ((0,) if op.kind == "logistic" else (0, 1)):
        return 3 << (12 + log2), 0
    multiplier, shift = scale_of(data) * 4096.0 * 3.0, 0
    while multiplier <= 32767.0 / 2.0 and shift <= 30:
        shift, multiplier = shift + 1, multiplier * 2.0
    return int(multiplier), shift


def _sigmoidal_int16(op: Op, data: Tensor, output: Tensor, x: np.ndarray) -> np.ndarray:
    multiplier, shift = sigmoidal_int16_params(op, data, output)
    half = 1 << (shift - 1) if shift else 0
    step = (x.astype(np.int64) * multiplier + half).astype(np.int32).astype(np.int64) >> shift
    table, away = q.sigmoid_table(), np.abs(step)
    fraction = 9 if op.kind == "logistic" else 8
    index = np.minimum(away >> fraction, 254)
    between = away & ((1 << fraction) - 1)
    # both in 0.16 fixed point times 2**fraction; past the table: its last value, or one
    value = (table[index] << fraction) + between * (table[index + 1] - table[index])
    past = (away >> fraction) >= 255
    if op.kind == "logistic":
        value = np.where(past, 0x7FFF << 10, value)
        value = np.where(step >= 0, value + (1 << 9), (1 << 25) - value + (1 << 9) - 1)
        return value >> 10
    value = np.where(past, 0xFFFF << 8, value)
    one = 1 << 23
    value = np.where(step >= 0, value - one + (1 << 7), -value + one + (1 << 7) - 1)
    return value >> 8


@reference.register("hard_swish")
def hard_swish(op: Op, ins: Tensors, outs: Tensors, args: Arrays) -> list[np.ndarray]:
    (x,), data, output = args, ins[0], outs[0]
    check_types(op, data, output, TYPES[op.kind])
    if output.dtype == "float32":
        return [x * np.clip(x + np.float32(3), np.float32(0), np.float32(6)) / np.float32(6)]
    # x * relu6(x + 3) / 6 in 16 bits: x with 7 more bits, once towards the output's scale and once
    # towards 3/32768 a step, where saturation is the clipping of relu6
    hires_scale = np.float32(1 / 128) * quant_of(data).scale[0]
    m_out, e_out = quantize_multiplier(hires_scale / quant_of(output).scale[0])
    m_relu, e_relu = quantize_multiplier(hires_scale / (np.float32(3.0) / np.float32(32768.0)))
    if e_out > 0:
        raise GraphError(f"{op.name}: the output's scale is too small for the input's")
    hires = (x.astype(np.int64) - zero_of(data)) << 7
    preshift = _high_mul_16(hires, _short(m_out))
    relu_ish = hires
    if e_relu > 0:
        relu_ish = np.clip(relu_ish << int(e_relu - 1), -32768, 32767)
    relu_ish = _high_mul_16(relu_ish, _short(m_relu))
    if e_relu > 0:
        relu_ish = np.clip(relu_ish << 1, -32768, 32767)
    if e_relu < 0:
        relu_ish = rounding_divide_by_pot(relu_ish, -e_relu).astype(np.int64)
    relu_ish = (relu_ish + (1 << 15)) >> 1
    product = relu_ish * preshift  # this high multiply truncates, as C's division does
    made = np.sign(product) * (np.abs(product) >> 15)
    made = rounding_divide_by_pot(made, -e_out).astype(np.int64) + zero_of(output)
    return [np.clip(made, -128, 127).astype(np.int8)]


def _short(mantissa: np.ndarray) -> int:
    """A 31-bit mantissa cut to 15 bits."""
    whole = int(mantissa)
    return 32767 if whole >= (1 << 31) - 1 - (1 << 15) else (whole + (1 << 15)) >> 16


def _high_mul_16(a: np.ndarray, b: int) -> np.ndarray:
    """High half of ``2*a*b`` of int16 operands, rounded half up (b is below 32768)."""
    return (a * b + (1 << 14)) >> 15

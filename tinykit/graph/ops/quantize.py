"""quantize (reals to integers, and integers to another scale or width) and dequantize."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinykit.graph.fixedpoint import (
    multiply_by_quantized_multiplier,
    quantize_multiplier,
    round_half_away,
)
from tinykit.graph.ir import Op, Tensor, integer_range
from tinykit.graph.ops.pointwise import check_types, quant_of, same_shape, scale_of, zero_of
from tinykit.graph.registry import define_op, reference

define_op("quantize", arity=(1, 1))(same_shape)
define_op("dequantize", arity=(1, 1))(same_shape)

#: (input dtype, output dtype) pairs with a kernel in TFLite Micro
QUANTIZE_TYPES = {
    ("float32", "int8"),
    ("float32", "int16"),
    ("int8", "int8"),
    ("int8", "uint8"),
    ("int8", "int16"),
    ("int8", "int32"),
    ("int16", "int8"),
    ("int16", "int16"),
    ("int16", "int32"),
    ("int32", "int8"),
    ("int32", "int16"),
    ("uint8", "int8"),
}
DEQUANTIZE_TYPES = {(t, "float32") for t in ("int8", "uint8", "int16")}


def requantize_params(data: Tensor, output: Tensor) -> tuple[int, int]:
    """Mantissa and shift from the input's scale to the output's."""
    mantissa, shift = quantize_multiplier(scale_of(data) / scale_of(output))
    return int(mantissa), int(shift)


@reference.register("quantize")
def quantize(
    op: Op, ins: Sequence[Tensor], outs: Sequence[Tensor], args: Sequence[np.ndarray]
) -> list[np.ndarray]:
    (x,), data, output = args, ins[0], outs[0]
    check_types(op, data, output, QUANTIZE_TYPES)
    low, high = integer_range(output.dtype)
    if data.dtype == "float32":
        # C leaves undefined what a conversion makes of NaN and of reals beyond int32: here they
        # become 0 and saturate, as Cortex-M's own instruction has it
        steps = np.nan_to_num(x / quant_of(output).scale[0], nan=0.0)
        steps = np.clip(steps, np.float32(-(2**30)), np.float32(2**30))
        made = round_half_away(steps).astype(np.int64) + zero_of(output)
    else:
        centred = x.astype(np.int64) - zero_of(data)
        scaled = multiply_by_quantized_multiplier(centred, *requantize_params(data, output))
        made = scaled.astype(np.int64) + zero_of(output)
    return [np.clip(made, low, high).astype(output.numpy_dtype)]


@reference.register("dequantize")
def dequantize(
    op: Op, ins: Sequence[Tensor], outs: Sequence[Tensor], args: Sequence[np.ndarray]
) -> list[np.ndarray]:
    (x,), data, output = args, ins[0], outs[0]
    check_types(op, data, output, DEQUANTIZE_TYPES)
    return [(scale_of(data) * (x.astype(np.int64) - zero_of(data))).astype(np.float32)]

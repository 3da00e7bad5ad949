"""One fully connected layer in int8, from the definition of affine quantization.

Arguments: `x` int8 (inputs,), `w` int8 (outputs, inputs), `bias` int32 (outputs,), then the scales
and zero points: `x_scale`, `x_zero`, `w_scale` float64 (outputs,), `y_scale`, `y_zero`. The
result is int8 (outputs,). The right answer comes from the reference interpreter, which computes
with integers only, as TFLite Micro does.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinykit.course.exercise import Exercise, Mistake
from tinykit.graph import GraphBuilder, Quantization

Array = np.ndarray
Case = tuple[Any, ...]


def solve(
    x: Array, w: Array, bias: Array, x_scale: float, x_zero: int, w_scale: Array,
    y_scale: float, y_zero: int,
) -> Array:  # fmt: skip
    """The layer as a one-op graph, run by the reference interpreter."""
    b = GraphBuilder("int8_layer")
    source = b.input("x", (1, x.size), "int8", Quantization.per_tensor(x_scale, x_zero))
    zeros = np.zeros(w_scale.size)
    weights = b.const(w, Quantization(w_scale, zeros, 0))
    offsets = b.const(bias, Quantization(w_scale * x_scale, zeros, 0))
    result = b.op(
        "fully_connected",
        [source, weights, offsets],
        (1, len(w)),
        "int8",
        Quantization.per_tensor(y_scale, y_zero),
    )
    return b.finish([result]).run(x[None])[0][0]


def _variant(
    *,
    wrap: bool = False,
    keep_x_zero: bool = False,
    early_subtract: bool = False,
    no_bias: bool = False,
    one_scale: bool = False,
    upside_down: bool = False,
    no_y_zero: bool = False,
    truncate: bool = False,
    no_clip: bool = False,
    real: bool = False,
) -> Any:
    """The layer, as somebody who makes the named mistake writes it."""

    def layer(
        x: Array, w: Array, bias: Array, x_scale: float, x_zero: int, w_scale: Array,
        y_scale: float, y_zero: int,
    ) -> Array:  # fmt: skip
        zero = 0 if keep_x_zero else x_zero
        if wrap:
            total = ((x - np.int8(zero)) @ w.T).astype(np.int64)
        elif early_subtract:
            total = (x - np.int8(zero)).astype(np.int64) @ w.T.astype(np.int64)
        else:
            total = (x.astype(np.int64) - zero) @ w.T.astype(np.int64)
        total = total + (0 if no_bias else bias)
        weight_scale = w_scale[0] if one_scale else w_scale
        factor = x_scale * weight_scale / y_scale
        y = total * (1 / factor if upside_down else factor)
        if real:
            return y * y_scale
        y = np.trunc(y) if truncate else np.round(y)
        y = y + (0 if no_y_zero else y_zero)
        if no_clip:
            return y.astype(np.int64).astype(np.int8)
        return np.clip(y, -128, 127).astype(np.int8)

    return layer


def _cases() -> list[Case]:
    rng = np.random.default_rng(2)
    cases = []
    for inputs, outputs, x_zero, y_zero in ((16, 4, -128, 5), (64, 10, 20, -30), (128, 8, -7, 0)):
        x = rng.integers(-128, 128, inputs).astype(np.int8)
        w = rng.integers(-127, 128, (outputs, inputs)).astype(np.int8)
        bias = rng.integers(-9000, 9000, outputs).astype(np.int32)
        w_scale = rng.uniform(0.002, 0.02, outputs).astype(np.float32).astype(float)
        x_scale = float(np.float32(rng.uniform(0.01, 0.05)))
        reach = np.abs(((x.astype(int) - x_zero) @ w.T.astype(int) + bias) * w_scale).max()
        y_scale = float(np.float32(reach * x_scale / 150))  # some results saturate
        cases.append((x, w, bias, x_scale, x_zero, w_scale, y_scale, y_zero))
    return cases


EXERCISE = Exercise(
    name="int8_layer",
    task="Accumulate in 32 bits, rescale, round, add the zero point, clip to int8.",
    solve=solve,
    cases=_cases(),
    mistakes=(
        Mistake(
            _variant(wrap=True),
            "The sums wrapped around: numpy multiplies int8 by int8 into int8, whose largest value "
            "is 127. One product alone can reach 128 · 127 = 16,256. Which type holds their sum?",
        ),
        Mistake(
            _variant(early_subtract=True),
            "The sums have room, but x − x_zero was still computed in int8 and wrapped: with "
            "x = 100 and x_zero = −128 it is 228, which int8 cannot hold. Widen x before that.",
        ),
        Mistake(
            _variant(keep_x_zero=True),
            "The input's zero point is missing: the stored value x_zero stands for the real number "
            "0, so a stored x stands for x_scale · (x − x_zero).",
        ),
        Mistake(
            _variant(no_bias=True),
            "The bias is missing. It is an int32 with the scale x_scale · w_scale, the same as the "
            "sums, so the two can be added as they are.",
        ),
        Mistake(
            _variant(one_scale=True),
            "Every output was rescaled with the first output's weight scale. The weights are "
            "quantized per channel: w_scale holds one scale for each output.",
        ),
        Mistake(
            _variant(upside_down=True),
            "The rescaling factor is upside down. A sum counts in steps of x_scale · w_scale, the "
            "result in steps of y_scale: how many of the second make one of the first?",
        ),
        Mistake(
            _variant(no_y_zero=True),
            "The output's zero point is missing: the real number 0 is stored as y_zero, not as 0.",
        ),
        Mistake(
            _variant(truncate=True),
            "The results were cut off instead of rounded: astype drops the fraction, so 2.9 became "
            "2. That is an error of up to one step, always towards zero.",
        ),
        Mistake(
            _variant(no_clip=True),
            "A result beyond 127 came back negative: astype(int8) keeps the low eight bits and "
            "wraps. Hardware saturates; limit the values to −128 … 127 before the conversion.",
        ),
        Mistake(
            _variant(real=True),
            "These are the real numbers of the result. The layer has to return what is stored: "
            "real / y_scale, rounded, plus y_zero, as int8.",
        ),
    ),
)

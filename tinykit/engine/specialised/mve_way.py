"""The way out of Helium's kernels: four accumulators to four stored outputs, exact, in a few
vector instructions.

TFLite rounds twice: ``x = (2 a m + 2**31) >> 32``, which is VQRDMULH, then ``y = x / 2**s`` rounded
half away from zero. Half up, which VRSHL does, differs on negative halves only; one less for each
negative x, ``x + (x >> 31)``, mends that: for s >= 1, ``(x - 1 + 2**(s-1)) >> s`` is one less than
``(x + 2**(s-1)) >> s`` exactly where x + 2**(s-1) is a multiple of 2**s. Where negative sums end at
the lower limit anyway nothing has to be mended. `tinykit.engine.requant.exact` has both proofs'
conditions.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tinykit.engine.codegen import OpContext
from tinykit.engine.cores import Core
from tinykit.engine.layer import Layer
from tinykit.engine.options import Options
from tinykit.engine.requant import Requant, exact

#: channels are computed in fours
BLOCK = 4
#: above what kernels for any core with DSP instructions have
PRIORITY = 20


def served(layer: Layer, core: Core | None, options: Options) -> bool:
    """Whether Helium may be used and the layer is int8 throughout, with constants and a way out
    that is provably exact."""
    if core is None or not core.mve or not options.simd:
        return False
    return layer.constant_int8 and exact(layer) is not None


def requant_of(layer: Layer) -> Requant:
    made = exact(layer)
    assert made is not None
    return made


def table(layer: Layer, ctx: OpContext) -> str:
    """Name of an array with twelve words for each four channels: biases, multipliers, shifts."""
    requant = requant_of(layer)
    padded = -(-layer.channels // BLOCK) * BLOCK
    rows = np.zeros((3, padded), np.int64)
    rows[:, : layer.channels] = [layer.bias, requant.mantissa, -requant.right]
    words = rows.reshape(3, -1, BLOCK).transpose(1, 0, 2)
    return ctx.array(
        words.astype(np.int32), "int32_t", "four channels a row: biases, multipliers, shifts"
    )


def limits(layer: Layer) -> list[str]:
    """C statements that define the vectors `lines` needs."""
    requant, made = requant_of(layer), []
    if requant.low > -128:
        made.append(f"const tk_q32 low = tk_all_q32({requant.low});")
    if requant.high < 127:
        made.append(f"const tk_q32 high = tk_all_q32({requant.high});")
    return made


def lines(layer: Layer, name: str, multiplier: str, shift: str, every: str = "") -> Iterator[str]:
    """C statements that turn the accumulators in vector `name` into stored outputs.

    Parameters
    ----------
    multiplier, shift : vectors, or with ``every="_all"`` numbers
    """
    requant = requant_of(layer)
    yield f"{name} = tk_vqrdmulh{every}({name}, {multiplier});"
    if requant.signed:
        yield f"{name} += {name} >> 31;"
    yield f"{name} = tk_vrshl{every}({name}, {shift}) + {requant.zero};"
    if requant.low > -128:
        yield f"{name} = tk_vmax({name}, low);"
    if requant.high < 127:
        yield f"{name} = tk_vmin({name}, high);"
    if requant.low == -128 or requant.high == 127:
        yield f"{name} = tk_saturated({name});"

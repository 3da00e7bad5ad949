"""Arithmetic on shapes: the integer ops by which converters compute a shape at run time.

They are not in the opset: once `tinykit.graph.passes.fold` has evaluated them on constants, nothing
of them is left to run on a device.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tinykit.graph.ir import Op, Tensor

#: no shape, or list of indices into one, is longer
LONGEST = 256

Attrs = Mapping[str, Any]


def _gather(attrs: Attrs, data: np.ndarray, indices: np.ndarray) -> np.ndarray:
    if attrs["batch_dims"]:
        raise ValueError("batch_dims")
    return np.take(data, indices, attrs["axis"])


def _reduce_prod(attrs: Attrs, data: np.ndarray, axes: np.ndarray) -> np.ndarray:
    where = tuple(int(a) for a in axes.ravel())
    return np.prod(data, where, data.dtype, keepdims=attrs["keep_dims"])


def _slice(attrs: Attrs, data: np.ndarray, begin: np.ndarray, size: np.ndarray) -> np.ndarray:
    spans = zip(begin.tolist(), size.tolist(), strict=True)
    return data[tuple(slice(b, None if n == -1 else b + n) for b, n in spans)]


_KERNELS: dict[str, Callable[..., np.ndarray]] = {
    "gather": _gather,
    "reduce_prod": _reduce_prod,
    "slice": _slice,
    "cast": lambda attrs, a: a,
    "add": lambda attrs, a, b: a + b,
    "sub": lambda attrs, a, b: a - b,
    "mul": lambda attrs, a, b: a * b,
    "floor_div": lambda attrs, a, b: a // b,
    "maximum": lambda attrs, a, b: np.maximum(a, b),
    "minimum": lambda attrs, a, b: np.minimum(a, b),
}


def evaluate(
    op: Op, ins: Sequence[Tensor | None], outs: Sequence[Tensor]
) -> list[np.ndarray] | None:
    """The op's value when it computes with short lists of plain integers, else None."""
    kernel = _KERNELS.get(op.kind)
    plain = all(
        t is not None and t.quant is None and t.dtype in ("int32", "int64") and t.size <= LONGEST
        for t in (*ins, *outs)
    )
    if kernel is None or not plain or len(outs) != 1:
        return None
    with np.errstate(all="ignore"):
        value = kernel(op.attrs, *(t.data for t in ins if t is not None))
    return [np.asarray(value).astype(outs[0].numpy_dtype)] if value.size <= LONGEST else None

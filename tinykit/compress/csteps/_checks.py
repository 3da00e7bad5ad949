"""What all compression steps ask of their parameters and of x, in words."""

from __future__ import annotations

import math
from numbers import Integral, Real

import numpy as np
import torch
from torch import Tensor

from tinykit.graph.errors import TinykitError


class CStepError(TinykitError, ValueError):
    """A parameter of a compression step that makes no sense, or does not fit the tensor."""


def vector(x: Tensor) -> np.ndarray:
    """`x` as finite float64 (n,), n > 0."""
    return _finite(x, 1, "a vector (n,); flatten it")


def matrix(x: Tensor) -> np.ndarray:
    """`x` as finite float64 (rows, columns), neither of them 0."""
    return _finite(x, 2, "a matrix (rows, columns); reshape it")


def _finite(x: Tensor, dimensions: int, wanted: str) -> np.ndarray:
    if x.dim() != dimensions:
        raise CStepError(f"x has shape {tuple(x.shape)}, but this step takes {wanted}")
    if x.numel() == 0:
        raise CStepError(f"x is empty (shape {tuple(x.shape)}); there is nothing to compress")
    values = x.detach().cpu().double().numpy()
    if not np.isfinite(values).all():
        bad = int(np.flatnonzero(~np.isfinite(values.ravel()))[0])
        raise CStepError(
            f"x holds {values.ravel()[bad]} at place {bad}; training has diverged, or a division "
            f"went wrong: x must be finite"
        )
    return values


def single(values: np.ndarray) -> Tensor:
    """Float32 of float64, rounded to nearest."""
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))


def whole(name: str, value: object, least: int) -> None:
    """`value` must be an integer ≥ `least`."""
    if isinstance(value, bool) or not isinstance(value, Integral) or int(value) < least:
        raise CStepError(f"{name} is {value!r}; it must be an integer, {least} or more")


def number(name: str, value: object, positive: bool = False, signed: bool = False) -> None:
    """`value` must be a finite number: ≥ 0, `positive` > 0, or `signed` any."""
    what = "" if signed else " greater than 0" if positive else ", 0 or more"
    if (
        isinstance(value, bool)
        or not isinstance(value, Real)
        or not math.isfinite(value)
        or (value < 0 and not signed)
        or (value == 0 and positive)
    ):
        raise CStepError(f"{name} is {value!r}; it must be a finite number{what}")

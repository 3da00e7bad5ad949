"""Quantization as a C step: each weight is one of a few levels, found with the weights or given.

Carreira-Perpiñán and Idelbayev, "Model compression as constrained optimization, with application
to neural nets. Part II: quantization" (arXiv:1707.04319). All are exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tinykit.compress.csteps._checks import single, vector, whole
from tinykit.compress.csteps.base import CStep
from tinykit.compress.csteps.kmeans import optimal_levels
from tinykit.compress.csteps.theta import Coded, Theta

#: codes are int16 at most
MOST = 32767


@dataclass(frozen=True)
class AdaptiveCodebook(CStep):
    """The K levels that are best for x (`kmeans.py`), and each weight at the nearest.

    Where x has fewer than K distinct values there are as many levels, and nothing is lost.

    Parameters
    ----------
    k : K ≥ 1
    """

    k: int

    def __post_init__(self) -> None:
        whole("k", self.k, 1)

    def __call__(self, x: Tensor, mu: float = 1.0, previous: Theta | None = None) -> Coded:
        values = vector(x)
        found = optimal_levels(values, self.k)
        return _coded(found.codes(values), found.levels, "free")


def _coded(codes: np.ndarray, levels: np.ndarray, kind: str) -> Coded:
    small = codes.astype(np.uint8 if len(levels) <= 256 else np.int16)
    return Coded(codes.shape, torch.from_numpy(small), single(levels), kind)

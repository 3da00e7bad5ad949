"""C steps of the learning-compression algorithm: the nearest tensor that a scheme can represent."""

from tinykit.compress.csteps._checks import CStepError
from tinykit.compress.csteps.additive import Additive
from tinykit.compress.csteps.base import CStep
from tinykit.compress.csteps.codebook import (
    AdaptiveCodebook,
    Binary,
    FixedGrid,
    PowersOfTwo,
    ScaledBinary,
    ScaledTernary,
    Ternary,
)
from tinykit.compress.csteps.lowrank import LowRank, RankSelection
from tinykit.compress.csteps.pruning import L0Constraint, L0Penalty, L1Constraint, L1Penalty
from tinykit.compress.csteps.theta import Coded, Dense, Factors, Sparse, Sum, Theta

__all__ = [
    "AdaptiveCodebook",
    "Additive",
    "Binary",
    "CStep",
    "CStepError",
    "Coded",
    "Dense",
    "Factors",
    "FixedGrid",
    "L0Constraint",
    "L0Penalty",
    "L1Constraint",
    "L1Penalty",
    "LowRank",
    "PowersOfTwo",
    "RankSelection",
    "ScaledBinary",
    "ScaledTernary",
    "Sparse",
    "Sum",
    "Ternary",
    "Theta",
]

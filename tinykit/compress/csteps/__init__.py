"""C steps of the learning-compression algorithm: the nearest tensor that a scheme can represent."""

from tinykit.compress.csteps.base import CStep
from tinykit.compress.csteps.codebook import AdaptiveCodebook
from tinykit.compress.csteps.lowrank import LowRank, RankSelection
from tinykit.compress.csteps.pruning import L0Constraint, L0Penalty, L1Constraint, L1Penalty
from tinykit.compress.csteps.theta import Coded, Dense, Factors, Sparse, Sum, Theta

__all__ = [
    "AdaptiveCodebook",
    "CStep",
    "Coded",
    "Dense",
    "Factors",
    "L0Constraint",
    "L0Penalty",
    "L1Constraint",
    "L1Penalty",
    "LowRank",
    "RankSelection",
    "Sparse",
    "Sum",
    "Theta",
]

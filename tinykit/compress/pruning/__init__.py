"""Pruning: structures of zeros, criteria that choose, schedules that train, and a scan of layers.

`tinykit.Prune` is the scheme; here is what it is made of, usable by itself.
"""

from tinykit.compress.pruning.criteria import Criterion, criterion
from tinykit.compress.pruning.cut import Cut, masked, pruned
from tinykit.compress.pruning.layers import nonzero, parameters
from tinykit.compress.pruning.masks import Masks, attach, masks_of
from tinykit.compress.pruning.sensitivity import Sensitivity, sensitivity
from tinykit.compress.pruning.structures import Structure, structure

__all__ = [
    "Criterion",
    "Cut",
    "Masks",
    "Sensitivity",
    "Structure",
    "attach",
    "criterion",
    "masked",
    "masks_of",
    "nonzero",
    "parameters",
    "pruned",
    "sensitivity",
    "structure",
]

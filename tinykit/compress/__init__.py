"""Compression: schemes that add up, each torch in, torch out.

The package is callable, ``tk.compress(model, data, scheme)``: the room and its one verb share a
name, and which of the two ``tk.compress`` is would otherwise depend on what was imported first.
"""

import sys
import types

from tinykit.compress.lc.scheme import LC
from tinykit.compress.prune import Prune
from tinykit.compress.quantize import Quantize
from tinykit.compress.scheme import Chain, Scheme, compress
from tinykit.compress.terms import Codebook, Combination, LowRank, Sparsify, Term

__all__ = [
    "LC",
    "Chain",
    "Codebook",
    "Combination",
    "LowRank",
    "Prune",
    "Quantize",
    "Scheme",
    "Sparsify",
    "Term",
    "compress",
]


class _Room(types.ModuleType):
    __call__ = staticmethod(compress)


sys.modules[__name__].__class__ = _Room

"""Compression: schemes that add up, each torch in, torch out.

The package is callable, ``tk.compress(model, data, scheme)``: the room and its one verb share a
name, and which of the two ``tk.compress`` is would otherwise depend on what was imported first.
"""

import sys
import types

from tinykit.compress.prune import Prune
from tinykit.compress.quantize import Quantize
from tinykit.compress.scheme import Chain, Scheme, compress

__all__ = ["Chain", "Prune", "Quantize", "Scheme", "compress"]


class _Room(types.ModuleType):
    __call__ = staticmethod(compress)


sys.modules[__name__].__class__ = _Room

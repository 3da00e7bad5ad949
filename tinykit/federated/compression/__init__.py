"""Update compression: one module a method.

A method is a subclass of `Compression`; `TopK(0.01) + KBit(4)` sends few entries with few bits.
"""

from __future__ import annotations

from tinykit.federated.compression.base import Compression
from tinykit.federated.compression.float32 import Float32
from tinykit.federated.compression.kbit import KBit
from tinykit.federated.compression.randomk import RandomK
from tinykit.federated.compression.sign import Sign
from tinykit.federated.compression.sparse import Combined, Sparse
from tinykit.federated.compression.topk import TopK

__all__ = ["Combined", "Compression", "Float32", "KBit", "RandomK", "Sign", "Sparse", "TopK"]

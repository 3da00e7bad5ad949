"""Numbers of any width in a row of bits: what a message looks like on the wire."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tinykit.federated.errors import FederatedError


@dataclass(frozen=True)
class Field:
    """`count` numbers of a message.

    Parameters
    ----------
    name : of the part that they are
    kind : "float" (float32), "uint" (unsigned, `width` bits each), or "positions": ascending
        places in a vector of `size`, as a list of ⌈log₂ size⌉ bits each or as a bitmap of `size`
        bits, whichever is smaller
    """

    name: str
    count: int
    kind: Literal["float", "uint", "positions"] = "float"
    width: int = 32
    size: int = 0

    @property
    def listed(self) -> bool:
        """Whether positions are written as a list."""
        return self.count * self.width <= self.size

    @property
    def bits(self) -> int:
        """How many bits it takes up."""
        if self.kind == "positions" and not self.listed:
            return self.size
        return self.count * self.width


def positions(count: int, size: int) -> Field:
    """The field of `count` places in a vector of `size` numbers."""
    return Field("positions", count, "positions", (size - 1).bit_length(), size)


def nbytes(fields: Sequence[Field]) -> int:
    """Of a message with these fields: its bits, filled up to whole bytes."""
    return -(-sum(field.bits for field in fields) // 8)


def pack(fields: Sequence[Field], parts: Mapping[str, np.ndarray]) -> bytes:
    """The message: all fields' bits one after another, least significant first."""
    rows = [_to_bits(field, parts[field.name]) for field in fields]
    return np.packbits(np.concatenate([np.zeros(0, np.uint8), *rows]), bitorder="little").tobytes()


def unpack(fields: Sequence[Field], data: bytes) -> dict[str, np.ndarray]:
    """The inverse of `pack`.

    Raises
    ------
    FederatedError
        `data` has another length than such a message.
    """
    if len(data) != nbytes(fields):
        raise FederatedError(
            f"a message of {len(data)} bytes was received where {nbytes(fields)} were expected: "
            "the other end compresses another model, or in another way"
        )
    bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
    parts, start = {}, 0
    for field in fields:
        parts[field.name] = _from_bits(field, bits[start : start + field.bits])
        start += field.bits
    return parts


def _to_bits(field: Field, values: np.ndarray) -> np.ndarray:
    if field.kind == "positions" and not field.listed:
        bitmap = np.zeros(field.size, np.uint8)
        bitmap[values] = 1
        return bitmap
    raw = values.astype("<f4").view("<u4") if field.kind == "float" else values
    shifts = np.arange(field.width, dtype=np.uint64)
    return ((raw.astype(np.uint64)[:, None] >> shifts) & np.uint64(1)).astype(np.uint8).reshape(-1)


def _from_bits(field: Field, bits: np.ndarray) -> np.ndarray:
    if field.kind == "positions" and not field.listed:
        return np.flatnonzero(bits)
    weights = np.uint64(1) << np.arange(field.width, dtype=np.uint64)
    # of integers: a sum over no bits (a list of positions in a vector of 1) is 0
    rows = bits.reshape(field.count, field.width).astype(np.uint64)
    raw = (rows * weights).sum(1, dtype=np.uint64)
    return raw.astype("<u4").view("<f4") if field.kind == "float" else raw.astype(np.int64)

"""Integers of few bits packed into bytes, a whole array at a time. Highest bit first."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]


def width_of(alphabet: int) -> int:
    """Bits that tell `alphabet` things apart: ⌈log₂ alphabet⌉; 0 for one or none."""
    return max(alphabet - 1, 0).bit_length()


def byte_count(bits: int) -> int:
    return (bits + 7) // 8


def pack(values: Integers, width: int) -> bytes:
    """Each of `values` (n,), below 2^width, in `width` bits."""
    bits = np.empty((len(values), width), dtype=np.uint8)
    for i in range(width):
        bits[:, i] = values >> (width - 1 - i) & 1
    return np.packbits(bits).tobytes()


def unpack(data: bytes | memoryview, width: int, count: int) -> Integers:
    """The first `count` integers that `pack` wrote with this width: int64 (count,)."""
    bits = np.unpackbits(np.frombuffer(data, dtype=np.uint8), count=count * width)
    values = np.zeros(count, dtype=np.int64)
    for column in bits.reshape(count, width).T:
        values <<= 1
        values |= column
    return values


def pack_varied(values: NDArray[np.uint64], widths: Integers) -> bytes:
    """Each of `values` (n,) in its own number of bits, `widths` (n,)."""
    if not len(values):
        return b""
    ends = np.cumsum(widths)
    bits = np.zeros(int(ends[-1]), dtype=np.uint8)
    for i in range(int(widths.max())):  # the i-th bit from the right, of all that have one
        has = widths > i
        bits[ends[has] - 1 - i] = values[has] >> np.uint64(i) & np.uint64(1)
    return np.packbits(bits).tobytes()


def windows(data: NDArray[np.uint8], first: int, count: int) -> NDArray[np.uint64]:
    """The bits that follow each of `count` places from bit `first` on, in the top 57 of 64 bits.

    `data` needs 8 bytes more than the last place's. What lies below the top 57 is undefined.
    """
    start = first // 8
    whole = byte_count(first + count) - start
    words = np.zeros(whole, dtype=np.uint64)
    for i in range(8):
        words <<= np.uint64(8)
        words |= data[start + i : start + i + whole]
    places = np.arange(first, first + count)
    return words[places // 8 - start] << (places % 8).astype(np.uint64)

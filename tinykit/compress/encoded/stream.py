"""Bytes in a row: numbers out of a file that may lie, and the same into one."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

import numpy as np
from numpy.typing import NDArray

from tinykit.graph.errors import ModelFormatError

MAX_RANK = 8


def varint(value: int) -> bytes:
    """`value` >= 0 in LEB128: seven bits a byte, lowest first; the top bit: more follow."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def shape_bytes(shape: Iterable[int]) -> bytes:
    sizes = tuple(shape)
    return varint(len(sizes) + 1) + b"".join(varint(d) for d in sizes)


def floats(values: NDArray[np.float32]) -> bytes:
    """float32, little-endian, in C order."""
    return np.ascontiguousarray(values, dtype="<f4").tobytes()


class Reader:
    """Takes bytes from the front of `data`, and never more than there are.

    Parameters
    ----------
    data : all bytes
    limit : how many numbers may be made of them in all, since few bytes can claim to be many
    where : what is being read, for errors; set it as reading goes on
    """

    def __init__(self, data: bytes, limit: int, where: str = "") -> None:
        self.data, self.limit, self.where = memoryview(data), limit, where
        self.at, self.left = 0, limit

    def error(self, what: str) -> ModelFormatError:
        return ModelFormatError(f"{self.where}: {what}" if self.where else what)

    def take(self, count: int) -> memoryview:
        there = len(self.data) - self.at
        if count > there:
            raise self.error(f"ends too early: {count} bytes wanted at byte {self.at}, not {there}")
        self.at += count
        return self.data[self.at - count : self.at]

    def byte(self) -> int:
        return self.take(1)[0]

    def varint(self, most: int) -> int:
        """A number from 0 to `most`."""
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            shift += 7
            if value > most or shift > 63:
                raise self.error(f"a number before byte {self.at} is above {most}, the most here")
            if byte < 0x80:
                return value

    def floats(self, count: int) -> NDArray[np.float32]:
        return np.frombuffer(self.take(4 * count), dtype="<f4").astype(np.float32)

    def shape(self, expected: tuple[int, ...] | None = None) -> tuple[int, ...]:
        """A shape whose tensor keeps within the limit, even where a size is 0.

        It may be left out where one is `expected`.
        """
        rank = self.varint(MAX_RANK + 1) - 1
        if rank < 0:
            if expected is None:
                raise self.error(f"no shape before byte {self.at}")
            return expected
        shape = tuple(self.varint(self.limit) for _ in range(rank))
        if prod(max(d, 1) for d in shape) > self.limit:
            raise self.error(f"a tensor of shape {shape} is above the limit, {self.limit}")
        return shape

    def spend(self, count: int) -> None:
        """Note that `count` numbers are made."""
        self.left -= count
        if self.left < 0:
            raise self.error(f"more than {self.limit} numbers in all, the limit")

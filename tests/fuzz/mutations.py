"""Ways to damage a file: what storage, transfer, bugs and malice do to it."""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np

Rng = np.random.Generator
EXTREMES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 1 << 16, 1 << 24, 1 << 30, 0x7FFFFFFF)
EXTREMES += (0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)


class Target:
    """A file and where it is worth hitting.

    Parameters
    ----------
    bulk : spans (start, end) of weights, where a change alters numbers but no structure
    """

    def __init__(self, name: str, data: bytes, bulk: list[tuple[int, int]]) -> None:
        self.name, self.data = name, data
        structure = np.ones(len(data), bool)
        for start, end in bulk:
            structure[start:end] = False
        self.structure = np.flatnonzero(structure)

    def position(self, rng: Rng, width: int = 1) -> int:
        """A random place, nine times in ten among the structure, aligned to `width`."""
        at = rng.integers(len(self.data)) if rng.random() < 0.1 else rng.choice(self.structure)
        return min(int(at) // width * width, len(self.data) - width)


def flip_bits(target: Target, rng: Rng, others: list[Target]) -> bytes:
    data = bytearray(target.data)
    for _ in range(int(rng.integers(1, 9))):
        data[target.position(rng)] ^= 1 << int(rng.integers(8))
    return bytes(data)


def change_bytes(target: Target, rng: Rng, others: list[Target]) -> bytes:
    data = bytearray(target.data)
    for _ in range(int(rng.integers(1, 5))):
        data[target.position(rng)] = int(rng.integers(256))
    return bytes(data)


def truncate(target: Target, rng: Rng, others: list[Target]) -> bytes:
    return target.data[: int(rng.integers(len(target.data)))]


def splice(target: Target, rng: Rng, others: list[Target]) -> bytes:
    """A piece of some model over, or between, this one's bytes; or a piece left out."""
    data = bytearray(target.data)
    source = others[int(rng.integers(len(others)))].data
    start, length = int(rng.integers(len(source))), int(rng.integers(1, 200))
    at, how = target.position(rng, 4), rng.random()
    piece = source[start : start + length]
    if how < 0.5:
        data[at : at + len(piece)] = piece
    elif how < 0.75:
        data[at:at] = piece
    else:
        del data[at : at + length]
    return bytes(data)


def extreme_word(target: Target, rng: Rng, others: list[Target]) -> bytes:
    data = bytearray(target.data)
    for _ in range(int(rng.integers(1, 3))):
        value = int(rng.choice([*EXTREMES, len(data), len(data) - 4, len(data) // 2]))
        struct.pack_into("<I", data, target.position(rng, 4), value)
    return bytes(data)


def extreme_half(target: Target, rng: Rng, others: list[Target]) -> bytes:
    data = bytearray(target.data)
    value = int(rng.choice([v for v in EXTREMES if v <= 0xFFFF]))
    struct.pack_into("<H", data, target.position(rng, 2), value)
    return bytes(data)


def nudge(target: Target, rng: Rng, others: list[Target]) -> bytes:
    """An offset, length or dimension off by a little."""
    data = bytearray(target.data)
    form, width = (("<I", 4), ("<H", 2))[int(rng.integers(2))]
    at = target.position(rng, width)
    value = struct.unpack_from(form, data, at)[0] + int(rng.integers(-16, 17))
    struct.pack_into(form, data, at, value % (1 << 8 * width))
    return bytes(data)


def redirect(target: Target, rng: Rng, others: list[Target]) -> bytes:
    """An offset that points at some other structure of the same file."""
    data = bytearray(target.data)
    at = target.position(rng, 4)
    struct.pack_into("<I", data, at, (target.position(rng, 4) - at) % (1 << 32))
    return bytes(data)


MUTATIONS: tuple[Callable[[Target, Rng, list[Target]], bytes], ...] = (
    flip_bits,
    change_bytes,
    truncate,
    splice,
    extreme_word,
    extreme_half,
    nudge,
    redirect,
)

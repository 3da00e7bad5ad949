"""The file format as its page tells it, read bit by bit in plain Python: slow, and independent."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from fractions import Fraction
from math import prod
from typing import Any

Shape = tuple[int, ...]
KINDS = ["free", "binary", "ternary", "scaled-binary", "scaled-ternary", "powers", "grid"]


def rounded(x: Fraction | float) -> float:
    """The float32 next to a number, by way of float64 as the format says."""
    return float(struct.unpack("<f", struct.pack("<f", float(x)))[0])


class Plain:
    def __init__(self, data: bytes) -> None:
        assert data[:5] == b"TKLC\x01"
        assert struct.unpack("<I", data[-4:])[0] == zlib.crc32(data[:-4])
        self.data, self.at = data[:-4], 5

    def model(self) -> list[tuple[list[str], list[Shape], int, Any]]:
        parts = [self.part() for _ in range(self.varint())]
        assert self.at == len(self.data)
        return parts

    def unpack(self, form: str) -> tuple[Any, ...]:
        values = struct.unpack_from("<" + form, self.data, self.at)
        self.at += struct.calcsize("<" + form)
        return values

    def u8(self) -> int:
        return int(self.unpack("B")[0])

    def varint(self) -> int:
        byte = self.u8()
        return byte if byte < 128 else byte - 128 + 128 * self.varint()

    def floats(self, n: int) -> list[float]:
        return list(self.unpack(f"{n}f"))

    def shape(self, expected: Shape | None = None) -> Shape:
        rank = self.varint()
        if rank == 0:
            assert expected is not None
            return expected
        return tuple(self.varint() for _ in range(rank - 1))

    def part(self) -> tuple[list[str], list[Shape], int, Any]:
        names, shapes = [], []
        for _ in range(self.varint()):
            size = self.varint()
            names.append(bytes(self.unpack(f"{size}s")[0]).decode())
            shapes.append(self.shape())
        view = self.u8()
        if view:
            s = shapes[0]
            fits = (s[0], prod(s[1:])) if view == 1 or len(s) == 2 else (s[0] * s[2], s[1] * s[3])
        else:
            fits = shapes[0] if len(shapes) == 1 else (sum(map(prod, shapes)),)  # type: ignore[assignment]
        return names, shapes, view, self.theta(fits)

    def theta(self, expected: Shape) -> Any:
        """(tag, shape, what it holds)."""
        tag = self.u8()
        shape = self.shape(expected)
        n = prod(shape)
        if tag == 0:
            return "dense", shape, self.floats(n)
        if tag == 1:
            return "dense", shape, list(self.unpack(f"{n}e"))
        if tag == 2:
            count = self.varint()
            places = self.positions(count, n)
            return "sparse", shape, places, self.floats(count)
        if tag == 3:
            flags, kind = self.u8(), KINDS[self.u8()]
            levels = self.levels(self.varint())
            if flags & 2:
                out, count = self.varint(), self.varint()
                places = self.positions(count, n)
                codes = [out] * n
                for place, s in zip(places, self.symbols(len(levels) - 1, count), strict=True):
                    codes[place] = s + (s >= out)
            else:
                codes = self.symbols(len(levels), n)
            return "coded", shape, codes, levels, kind, "int16" if flags & 1 else "uint8"
        if tag == 4:
            rows, rank, columns = self.varint(), self.varint(), self.varint()
            return "factors", shape, self.floats(rows * rank), self.floats(rank * columns)
        assert tag == 5
        return "sum", shape, [self.theta(shape) for _ in range(self.varint())]

    def levels(self, count: int) -> list[float]:
        rule = self.u8()
        signs = [-1.0, 1.0] if count == 2 else [-1.0, 0.0, 1.0]
        if rule == 0:
            return self.floats(count)
        if rule == 1:
            return signs
        if rule == 2:
            scale = self.floats(1)[0]
            return [s * scale for s in signs]
        if rule == 3:
            negative, zero = self.varint(), self.u8()
            powers = [2.0**e for e in self.unpack(f"{count - zero}b")]
            rest = [-p for p in powers[:negative]] + [0.0] * zero + powers[negative:]
            return [rounded(p) for p in rest]
        if rule in (4, 6):
            first, step = self.unpack("ff" if rule == 4 else "dd")
            return [rounded(first + step * i) for i in range(count)]
        step, place = self.unpack("fi")
        return [rounded(step * (place + i)) for i in range(count)]

    def bits(self) -> Iterator[int]:
        """From here on; `at` is past the byte of the last bit that was taken."""
        while True:
            self.at += 1
            byte = self.data[self.at - 1]
            yield from ((byte >> i) & 1 for i in range(7, -1, -1))

    def number(self, bits: Iterator[int], width: int) -> int:
        return sum(next(bits) << (width - 1 - i) for i in range(width))

    def packed(self, width: int, count: int) -> list[int]:
        bits = self.bits()
        return [self.number(bits, width) for _ in range(count)]

    def symbols(self, alphabet: int, count: int) -> list[int]:
        if self.u8() == 0:
            width = 0
            while 2**width < alphabet:
                width += 1
            return self.packed(width, count)
        form = self.u8()
        width = form & 63
        there = list(range(alphabet))
        if form & 64:
            there = [i for i, bit in enumerate(self.packed(1, alphabet)) if bit]
        entries = zip(self.packed(width, len(there)), there, strict=True)
        code, before = 0, 0
        codes: dict[tuple[int, int], int] = {}
        for length, symbol in sorted((entry - 1, symbol) for entry, symbol in entries if entry):
            code <<= length - before
            codes[length, code] = symbol
            code, before = code + 1, length
        bits, found = self.bits(), []
        for _ in range(count):
            word = (0, 0)
            while word not in codes:
                word = (word[0] + 1, word[1] * 2 + next(bits))
            found.append(codes[word])
        return found

    def positions(self, count: int, size: int) -> list[int]:
        if count in (0, size):
            return list(range(count))
        width = self.u8()
        if width == 0:
            return [i for i, bit in enumerate(self.packed(1, size)) if bit]
        number, skip = self.varint(), 2**width - 1
        place, found = 0, []
        for symbol in self.symbols(2**width, number):
            place += symbol
            if symbol != skip:
                found.append(place)
                place += 1
        assert len(found) == count
        return found

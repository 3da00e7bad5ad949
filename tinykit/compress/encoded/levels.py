"""A codebook's levels in as few bytes as give them back bit for bit.

A rule is used only where it gives the very levels, whatever kind of codebook they are said to be:
0 stored, float32 each; 1 {−1, 1} or {−1, 0, 1}, nothing; 2 {−c, c} or {−c, 0, c}, float32 c;
3 ±2ᵉ and 0: varint how many are negative, u8 whether 0 is among them, int8 e of each other;
4 an arithmetic row, float32 first and step: first + step·i; 5 the same as step·(z + i), float32
step and int32 z; 6 as 4, with float64 first and step. Rows are computed in float64 and rounded
once.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tinykit.compress.encoded.stream import Reader, floats, varint

Floats = NDArray[np.float32]

#: what Coded.kind may say, by its place here in files: only ever append
KINDS = (
    "free",
    "binary",
    "ternary",
    "scaled-binary",
    "scaled-ternary",
    "powers",
    "grid",
)
STORED, UNIT, SCALED, POWERS, ROW, STEPS, FINE_ROW = range(7)
HOW = ("stored", "known", "scale", "exponents", "first and step", "step", "first and step")
LARGEST = 1 << 15


def same_bits(a: Floats, b: Floats) -> bool:
    return a.shape == b.shape and a.astype("<f4").tobytes() == b.astype("<f4").tobytes()


@np.errstate(all="ignore")  # of rules that do not hold
def level_bytes(levels: Floats) -> tuple[bytes, str]:
    """`levels` (K,) after a varint K, and in words how they were written."""
    best = bytes([STORED]) + floats(levels)
    for data in _rules(levels):
        if len(data) < len(best) and same_bits(_read(Reader(data, LARGEST), len(levels)), levels):
            best = data
    return varint(len(levels)) + best, HOW[best[0]]


@np.errstate(all="ignore")  # infinite scales and steps are what they are
def read_levels(reader: Reader) -> Floats:
    """What `level_bytes` wrote: float32 (K,).

    Raises
    ------
    ModelFormatError
        Ends too early, or a rule that does not exist or not for this many levels.
    """
    return _read(reader, reader.varint(LARGEST))


def _rules(levels: Floats) -> Iterator[bytes]:
    """Every rule filled in as if it held."""
    count = len(levels)
    if count in (2, 3):
        yield bytes([UNIT])
        yield bytes([SCALED]) + floats(levels[-1:])
    if not np.isfinite(levels).all():
        return
    others = levels[levels != 0]
    exponents = np.frexp(others)[1] - 1
    if len(others) >= count - 1 and np.all((exponents >= -128) & (exponents <= 127)):
        head = varint(int((levels < 0).sum())) + bytes([len(others) < count])
        yield bytes([POWERS]) + head + exponents.astype(np.int8).tobytes()
    if count > 1:
        yield from _arithmetic(levels)


def _arithmetic(levels: Floats) -> Iterator[bytes]:
    """Rows of equal steps: several guesses of the step, since its last bit decides."""
    wide = levels.astype(np.float64)
    span = (wide[-1] - wide[0]) / (len(levels) - 1)
    for step in _near(span):
        yield struct.pack("<Bff", ROW, levels[0], step)
    # such as a person gives: with few decimal digits, which float32 would round
    for digits in range(1, 10):
        said = (float(f"{value:.{digits}g}") for value in (wide[0], span))
        yield struct.pack("<Bdd", FINE_ROW, *said)
    if span <= 0:
        return
    first = round(wide[0] / span)
    if abs(first) + len(levels) >= 1 << 31:
        return
    multiples = np.abs(np.arange(first, first + len(levels)))
    # a level of 1, 2, 4, … steps tells the step exactly, the largest one to its last bit or two
    exact = np.flatnonzero((multiples > 0) & (multiples & (multiples - 1) == 0))[:1]
    steps = [np.float32(abs(wide[i]) / multiples[i]) for i in exact]
    large = int(multiples.argmax())
    for step in steps + _near(abs(wide[large]) / multiples[large]):
        yield struct.pack("<Bfi", STEPS, step, first)


def _near(value: float) -> list[np.float32]:
    """`value` in float32 and the numbers beside it."""
    middle = np.float32(value)
    return [middle, *(np.nextafter(middle, np.float32(end)) for end in (-np.inf, np.inf))]


def _read(reader: Reader, count: int) -> Floats:
    rule = reader.byte()
    if rule == STORED:
        return reader.floats(count)
    if rule in (UNIT, SCALED):
        if count not in (2, 3):
            raise reader.error(f"{count} levels by a rule for two or three")
        signs = np.array([-1, 1] if count == 2 else [-1, 0, 1], dtype=np.float32)
        return signs if rule == UNIT else signs * reader.floats(1)
    if rule == POWERS:
        negative, zero = reader.varint(count), reader.byte()
        number = count - zero
        if zero > 1 or number < negative:
            raise reader.error(f"{count} levels, {negative} negative and {zero} of them 0")
        exponents = np.frombuffer(reader.take(number), dtype=np.int8)
        powers = np.ldexp(np.float64(1), exponents.astype(np.int32))
        powers[:negative] *= -1
        if zero:
            powers = np.insert(powers, negative, 0.0)
        return powers.astype(np.float32)
    if rule in (ROW, FINE_ROW):
        form = "<ff" if rule == ROW else "<dd"
        first, step = struct.unpack(form, reader.take(struct.calcsize(form)))
        return (first + step * np.arange(count)).astype(np.float32)
    if rule == STEPS:
        step = float(reader.floats(1)[0])
        place = struct.unpack("<i", reader.take(4))[0]
        return (step * np.arange(place, place + count, dtype=np.float64)).astype(np.float32)
    raise reader.error(f"no rule for levels has number {rule}")

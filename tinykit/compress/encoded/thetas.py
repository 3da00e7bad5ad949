"""Each kind of Θ as bytes. A further kind registers a codec under a tag of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import ClassVar, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tinykit.compress.csteps.theta import Coded, Dense, Factors, Sparse, Sum, Theta
from tinykit.compress.encoded.bits import Integers
from tinykit.compress.encoded.levels import KINDS, level_bytes, read_levels
from tinykit.compress.encoded.positions import position_bytes, read_positions
from tinykit.compress.encoded.stream import Reader, floats, shape_bytes, varint
from tinykit.compress.encoded.symbols import read_symbols, symbol_bytes
from tinykit.graph.errors import TinykitError

DEEPEST = 8
T = TypeVar("T", bound=Theta)


@dataclass(frozen=True)
class Context:
    """What writing needs to know: whose Θ it is, whether dense is float16, how deep in sums."""

    where: str
    half: bool = False
    depth: int = 0

    def error(self, what: str) -> TinykitError:
        return TinykitError(f"{self.where}: {what}")


class Codec(ABC, Generic[T]):
    """How one kind of Θ is written, after its tag and shape."""

    kind: ClassVar[type[Theta]]

    @abstractmethod
    def write(self, theta: T, context: Context) -> tuple[int, bytes, str]:
        """Tag, bytes, and in words how they came about; TinykitError where Θ is not sound."""

    @abstractmethod
    def read(self, reader: Reader, shape: tuple[int, ...], tag: int, depth: int) -> T:
        """What `write` wrote, inside of `depth` sums; or ModelFormatError."""


_CODECS: dict[int, Codec] = {}


def register(*tags: int) -> Callable[[type[Codec]], type[Codec]]:
    """Make a codec known under `tags`, 0 to 255; `write` says which of several."""

    def add(made: type[Codec]) -> type[Codec]:
        codec = made()
        for tag in tags:
            if tag in _CODECS:
                raise ValueError(f"tag {tag} is taken by {type(_CODECS[tag]).__name__}")
            _CODECS[tag] = codec
        return made

    return add


def theta_bytes(theta: Theta, expected: tuple[int, ...], context: Context) -> tuple[bytes, str]:
    """Θ with its tag and shape; `expected` is the shape that need not be said."""
    codec = next((c for c in _CODECS.values() if c.kind is type(theta)), None)
    if codec is None:
        raise context.error(f"no way to write a {type(theta).__name__}: register a codec for it")
    if prod(theta.shape) != prod(expected):
        raise context.error(f"Θ of shape {tuple(theta.shape)} where {expected} is wanted")
    tag, data, how = codec.write(theta, context)
    shape = b"\0" if tuple(theta.shape) == expected else shape_bytes(theta.shape)
    return bytes([tag]) + shape + data, how


def read_theta(reader: Reader, expected: tuple[int, ...], depth: int = 0) -> Theta:
    """What `theta_bytes` wrote, or ModelFormatError."""
    tag = reader.byte()
    if tag not in _CODECS:
        raise reader.error(f"no kind of compressed tensor has number {tag}")
    shape = reader.shape(expected)
    if prod(shape) != prod(expected):
        raise reader.error(f"a tensor of shape {shape} where {expected} is wanted")
    reader.spend(prod(shape))
    theta: Theta = _CODECS[tag].read(reader, shape, tag, depth)
    return theta


def array(t: Tensor, dtype: torch.dtype, what: str, context: Context) -> NDArray:
    """The tensor's numbers in C order, if they are of the type that Θ promises."""
    if t.dtype != dtype:
        raise context.error(f"{what} are {t.dtype}, not {dtype}")
    return np.ascontiguousarray(t.detach().cpu().numpy())


def tensor(values: NDArray) -> Tensor:
    return torch.from_numpy(np.array(values, order="C"))


DENSE, HALF, SPARSE, CODED, FACTORS, SUM = range(6)


@register(DENSE, HALF)
class _Dense(Codec[Dense]):
    kind = Dense

    def write(self, theta: Dense, context: Context) -> tuple[int, bytes, str]:
        values = array(theta.values, torch.float32, "values", context)
        if values.size != prod(theta.shape):
            raise context.error(f"{values.size} values for shape {tuple(theta.shape)}")
        if not context.half:
            return DENSE, floats(values), "float32"
        with np.errstate(over="ignore"):
            halves = values.astype("<f2")
        if np.isinf(halves).sum() > np.isinf(values).sum():
            raise context.error(
                f"values up to {np.abs(values).max():g} do not fit float16 (65504 at most): "
                "write float32"
            )
        return HALF, halves.tobytes(), "float16"

    def read(self, reader: Reader, shape: tuple[int, ...], tag: int, depth: int) -> Dense:
        count = prod(shape)
        if tag == HALF:
            values = np.frombuffer(reader.take(2 * count), dtype="<f2").astype(np.float32)
        else:
            values = reader.floats(count)
        return Dense(shape, tensor(values.reshape(shape)))


@register(SPARSE)
class _Sparse(Codec[Sparse]):
    kind = Sparse

    def write(self, theta: Sparse, context: Context) -> tuple[int, bytes, str]:
        index = array(theta.index, torch.int64, "places", context)
        values = array(theta.values, torch.float32, "values", context)
        size, count = prod(theta.shape), len(index)
        if values.shape != (count,) or index.ndim != 1:
            raise context.error(f"{values.size} values at {index.size} places")
        if count and (index[0] < 0 or index[-1] >= size or (np.diff(index) <= 0).any()):
            raise context.error(f"places that are not ascending in 0…{size - 1}")
        where, how = position_bytes(index, size)
        data = varint(count) + where + floats(values)
        return SPARSE, data, f"{count} of {size} float32, {how}"

    def read(self, reader: Reader, shape: tuple[int, ...], tag: int, depth: int) -> Sparse:
        size = prod(shape)
        count = reader.varint(size)
        index = read_positions(reader, count, size)
        return Sparse(shape, tensor(index), tensor(reader.floats(count)))


WIDE, LEFT_OUT = 1, 2


@register(CODED)
class _Coded(Codec[Coded]):
    kind = Coded

    def write(self, theta: Coded, context: Context) -> tuple[int, bytes, str]:
        wide = theta.codes.dtype == torch.int16
        codes = array(theta.codes, torch.int16 if wide else torch.uint8, "codes", context)
        levels = array(theta.levels, torch.float32, "levels", context)
        if theta.kind not in KINDS:
            raise context.error(f"levels of kind {theta.kind!r}: files know {', '.join(KINDS)}")
        if levels.ndim != 1 or codes.size != prod(theta.shape):
            raise context.error(
                f"{codes.size} codes and levels {levels.shape} for shape {tuple(theta.shape)}"
            )
        flat: Integers = codes.reshape(-1).astype(np.int64)
        if flat.size and (flat.min() < 0 or flat.max() >= len(levels)):
            raise context.error(f"codes from {flat.min()} to {flat.max()} of {len(levels)} levels")
        written, rule = level_bytes(levels)
        symbols, how = symbol_bytes(flat, len(levels))
        flags = WIDE * wide
        sparse = self._one_left_out(flat, len(levels))
        if sparse is not None and len(sparse[0]) < len(symbols):
            symbols, how = sparse
            flags |= LEFT_OUT
        data = bytes([flags, KINDS.index(theta.kind)]) + written + symbols
        return CODED, data, f"{len(levels)} levels ({rule}), {how}"

    @staticmethod
    def _one_left_out(codes: Integers, alphabet: int) -> tuple[bytes, str] | None:
        """The commonest code, as zero is after pruning, told by where the others are."""
        if not codes.size:
            return None
        common = int(np.bincount(codes).argmax())
        index = np.flatnonzero(codes != common)
        where, how = position_bytes(index, codes.size)
        others = codes[index]
        symbols, way = symbol_bytes(others - (others > common), alphabet - 1)
        data = varint(common) + varint(len(index)) + where + symbols
        return data, f"{len(index)} of {codes.size} in {way}, {how}"

    def read(self, reader: Reader, shape: tuple[int, ...], tag: int, depth: int) -> Coded:
        flags, kind = reader.byte(), reader.byte()
        if flags > WIDE | LEFT_OUT or kind >= len(KINDS):
            raise reader.error(f"codes of no known form: {flags}, {kind}")
        levels = read_levels(reader)
        size, alphabet = prod(shape), len(levels)
        if alphabet > (1 << 15 if flags & WIDE else 256) or (size and not alphabet):
            raise reader.error(f"{alphabet} levels for {size} codes of {1 + (flags & WIDE)} byte")
        if flags & LEFT_OUT:
            common = reader.varint(max(alphabet - 1, 0))
            index = read_positions(reader, reader.varint(size), size)
            others = read_symbols(reader, max(alphabet - 1, 0), len(index))
            codes = np.full(size, common, dtype=np.int64)
            codes[index] = others + (others >= common)
        else:
            codes = read_symbols(reader, alphabet, size)
        narrow = codes.astype(np.int16 if flags & WIDE else np.uint8).reshape(shape)
        return Coded(shape, tensor(narrow), tensor(levels), KINDS[kind])


@register(FACTORS)
class _Factors(Codec[Factors]):
    kind = Factors

    def write(self, theta: Factors, context: Context) -> tuple[int, bytes, str]:
        left, right = theta.left, theta.right
        sound = left.dim() == right.dim() == 2 and left.shape[1] == right.shape[0]
        if not sound or left.shape[0] * right.shape[1] != prod(theta.shape):
            raise context.error(
                f"factors {tuple(left.shape)} and {tuple(right.shape)} for {tuple(theta.shape)}"
            )
        data = b"".join(map(varint, (*left.shape, right.shape[1])))
        for t in (left, right):
            data += floats(array(t, torch.float32, "factors", context))
        return FACTORS, data, f"rank {theta.rank}, float32"

    def read(self, reader: Reader, shape: tuple[int, ...], tag: int, depth: int) -> Factors:
        rows, rank, columns = (reader.varint(reader.limit) for _ in range(3))
        if rows * columns != prod(shape):
            raise reader.error(f"factors of {rows} × {rank} × {columns} for shape {shape}")
        left = reader.floats(rows * rank).reshape(rows, rank)
        right = reader.floats(rank * columns).reshape(rank, columns)
        return Factors(shape, tensor(left), tensor(right))


@register(SUM)
class _Sum(Codec[Sum]):
    kind = Sum

    def write(self, theta: Sum, context: Context) -> tuple[int, bytes, str]:
        if not theta.terms or context.depth == DEEPEST:
            raise context.error(f"a sum of nothing, or {DEEPEST} sums in one another")
        below = Context(context.where, context.half, context.depth + 1)
        written = [theta_bytes(term, tuple(theta.shape), below) for term in theta.terms]
        data = varint(len(written)) + b"".join(part for part, _ in written)
        return SUM, data, " + ".join(f"[{how}]" for _, how in written)

    def read(self, reader: Reader, shape: tuple[int, ...], tag: int, depth: int) -> Sum:
        if depth == DEEPEST:
            raise reader.error(f"more than {DEEPEST} sums in one another")
        count = reader.varint(len(reader.data))
        if count == 0:
            raise reader.error("a sum of nothing")
        return Sum(shape, tuple(read_theta(reader, shape, depth + 1) for _ in range(count)))

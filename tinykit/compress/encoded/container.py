"""The file: parts in a row, and a checksum. What the format is, the package's docstring says."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from tinykit.compress.csteps.theta import Dense, Theta
from tinykit.compress.encoded.stream import MAX_RANK, Reader, shape_bytes, varint
from tinykit.compress.encoded.thetas import Context, read_theta, theta_bytes
from tinykit.compress.views import Shaping, from_matrix, matrix_shape
from tinykit.graph.errors import ModelFormatError, TinykitError

MAGIC = b"TKLC"
VERSION = 1
#: of one file, so that few bytes cannot claim all memory
MAX_NUMBERS = 1 << 26
LONGEST_NAME = 1 << 12


@dataclass(frozen=True)
class Part:
    """One Θ and the parameters that it is the compressed form of.

    Parameters
    ----------
    names : of the parameters, as in `named_parameters`; several share one Θ, a joint codebook
    shapes : of each parameter
    theta : of all of them flattened and joined, any shape with as many numbers; or, with a
        `shaping`, of the one parameter's matrix
    shaping : None, or how the parameter became a matrix (`tinykit.compress.views`)

    Raises
    ------
    TinykitError
        Names and shapes do not match each other or Θ; the text names the parameter.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    theta: Theta
    shaping: Shaping | None = None

    def __post_init__(self) -> None:
        if not self.names or len(self.names) != len(self.shapes):
            raise TinykitError(f"a part needs a shape for each of its names: {self.names}")
        for name, shape in zip(self.names, self.shapes, strict=True):
            if len(shape) > MAX_RANK or len(name.encode()) > LONGEST_NAME:
                raise TinykitError(f"{name[:80]}: name too long or of more than {MAX_RANK} sizes")
        if self.shaping is not None and len(self.names) > 1:
            raise TinykitError(f"{self.where}: a matrix is of one parameter, not of several")
        if prod(self.theta.shape) != self.numbers:
            raise TinykitError(
                f"{self.where}: Θ has shape {tuple(self.theta.shape)}, the parameters have "
                f"{self.numbers} numbers"
            )
        if self.shaping is not None and tuple(self.theta.shape) != self.expected:
            raise TinykitError(
                f"{self.where}: Θ has shape {tuple(self.theta.shape)}, the parameter's matrix in "
                f"shaping {self.shaping} has {self.expected}"
            )

    @property
    def where(self) -> str:
        return ", ".join(self.names)

    @property
    def numbers(self) -> int:
        """How many numbers the parameters have together."""
        return sum(prod(shape) for shape in self.shapes)

    @property
    def expected(self) -> tuple[int, ...]:
        """The shape that Θ has if nothing else is said."""
        return expected_shape(self.shapes, self.shaping)

    def tensors(self) -> dict[str, Tensor]:
        """The parameters, decompressed: name → float32 tensor of its shape."""
        dense = self.theta.decompress()
        if self.shaping is not None:
            return {self.names[0]: from_matrix(dense, self.shapes[0], self.shaping)}
        pieces = dense.reshape(-1).split([prod(shape) for shape in self.shapes])
        named = zip(self.names, self.shapes, pieces, strict=True)
        return {name: piece.reshape(shape) for name, shape, piece in named}


def expected_shape(shapes: Sequence[tuple[int, ...]], shaping: Shaping | None) -> tuple[int, ...]:
    """The shape of Θ that a file need not say, for parameters of `shapes`."""
    if shaping is not None:
        return matrix_shape(shapes[0], shaping)
    return tuple(shapes[0]) if len(shapes) == 1 else (sum(map(prod, shapes)),)


def raw(name: str, values: Tensor) -> Part:
    """A parameter that is not compressed."""
    shape = tuple(values.shape)
    return Part((name,), (shape,), Dense(shape, values.detach()))


@dataclass(frozen=True)
class Row:
    """What one part takes: `bytes` of Θ; `dense` bytes as float32; `how` it was written."""

    names: tuple[str, ...]
    bytes: int
    dense: int
    how: str


@dataclass(frozen=True)
class Encoded:
    """A file and its account. All counts are bytes; `header` is all that no row counts:
    magic, names, shapes, checksum."""

    data: bytes
    rows: tuple[Row, ...]

    @property
    def total(self) -> int:
        return len(self.data)

    @property
    def header(self) -> int:
        return self.total - sum(row.bytes for row in self.rows)

    @property
    def dense(self) -> int:
        """What the parameters alone take as float32."""
        return sum(row.dense for row in self.rows)

    @property
    def ratio(self) -> float:
        """How many times smaller than float32 without names."""
        return self.dense / self.total

    def __str__(self) -> str:
        lines = [("parameters", "bytes", "float32", "how")]
        lines += [(", ".join(r.names), f"{r.bytes:,}", f"{r.dense:,}", r.how) for r in self.rows]
        lines.append(("names, shapes, checksum", f"{self.header:,}", "", ""))
        lines.append(("all", f"{self.total:,}", f"{self.dense:,}", f"{self.ratio:.1f} × smaller"))
        a, b, c = (max(len(line[i]) for line in lines) for i in range(3))
        return "\n".join(
            f"{n:<{a}}  {size:>{b}}  {dense:>{c}}  {how}".rstrip() for n, size, dense, how in lines
        )


def encode(parts: Iterable[Part], half: bool = False) -> Encoded:
    """Write the parts and say what each takes.

    Parameters
    ----------
    parts : in the order of the file; no parameter twice
    half : store dense values as float16, rounded; all else is exact either way

    Raises
    ------
    TinykitError
        A Θ that contradicts itself, of a kind without a codec, or too large; names the parameter.
    """
    parts = list(parts)
    _check_names(parts)
    out = bytearray(MAGIC + bytes([VERSION]) + varint(len(parts)))
    rows = []
    for part in parts:
        out += varint(len(part.names))
        for name, shape in zip(part.names, part.shapes, strict=True):
            text = name.encode()
            out += varint(len(text)) + text + shape_bytes(shape)
        data, how = theta_bytes(part.theta, part.expected, Context(part.where, half))
        out += bytes([part.shaping or 0]) + data
        rows.append(Row(part.names, len(data), 4 * part.numbers, how))
    out += struct.pack("<I", zlib.crc32(out))
    back = read(bytes(out))  # no count without a file that reads back; it checks the limits too
    for part, again in zip(parts, back, strict=True):
        if not half and not _same_bits(part.theta.decompress(), again.theta.decompress()):
            raise TinykitError(f"{part.where}: reads back as other numbers; report this")
    return Encoded(bytes(out), tuple(rows))


def _same_bits(a: Tensor, b: Tensor) -> bool:
    def bits(t: Tensor) -> NDArray[np.int32]:
        return np.ascontiguousarray(t.detach().cpu().numpy()).view(np.int32)

    return np.array_equal(bits(a), bits(b))


def write(parts: Iterable[Part], half: bool = False) -> bytes:
    """The file alone; see `encode`."""
    return encode(parts, half).data


def read(data: bytes, limit: int = MAX_NUMBERS) -> list[Part]:
    """The parts of a file; every Θ with the very bits that were written.

    Parameters
    ----------
    data : the file's bytes
    limit : how many numbers it may decompress to, terms of sums counted singly

    Raises
    ------
    ModelFormatError
        Not such a file, of another version, damaged or cut off; a TinykitError that says what.
    """
    reader = Reader(data, limit, "compressed model")
    if bytes(reader.take(len(MAGIC))) != MAGIC:
        raise reader.error("not one: it does not start with TKLC")
    version = reader.byte()
    if version != VERSION:
        raise reader.error(f"version {version}, this tinykit reads {VERSION}: take a newer one")
    checksum = bytes(reader.data[-4:])
    reader.data = reader.data[:-4]
    if reader.at > len(reader.data) or struct.pack("<I", zlib.crc32(reader.data)) != checksum:
        raise reader.error("damaged or cut off: its checksum is another")
    parts = []
    for _ in range(reader.varint(limit)):
        reader.where = "compressed model"
        parts.append(_read_part(reader))
    reader.where = "compressed model"
    if reader.at != len(reader.data):
        raise reader.error(f"{len(reader.data) - reader.at} bytes after its end")
    try:
        _check_names(parts)
    except TinykitError as error:
        raise reader.error(str(error)) from None
    return parts


def _read_part(reader: Reader) -> Part:
    names, shapes = [], []
    for _ in range(reader.varint(len(reader.data))):
        text = bytes(reader.take(reader.varint(LONGEST_NAME)))
        try:
            names.append(text.decode())
        except UnicodeDecodeError:
            raise reader.error(f"a name that is not UTF-8: {text[:40]!r}") from None
        shapes.append(reader.shape())
    reader.where = "compressed model, " + ", ".join(names)
    shaping = reader.byte()
    if shaping > 2 or (shaping and len(names) != 1) or not names:
        raise reader.error(f"view {shaping} of {len(names)} parameters")
    view: Shaping | None = (None, 1, 2)[shaping]  # type: ignore[assignment]
    try:
        expected = expected_shape(shapes, view)
        return Part(tuple(names), tuple(shapes), read_theta(reader, expected), view)
    except ModelFormatError:
        raise
    except TinykitError as error:
        raise reader.error(str(error)) from None


def _check_names(parts: Sequence[Part]) -> None:
    seen: set[str] = set()
    for name in (name for part in parts for name in part.names):
        if name in seen:
            raise TinykitError(f"{name}: there twice; each parameter is in one part")
        seen.add(name)

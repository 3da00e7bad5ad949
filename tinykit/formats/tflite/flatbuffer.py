"""Reading FlatBuffers that nobody vouches for.

Every offset, length and vtable is checked against the file before it is followed. FlatBuffers may
point to the same place many times, so a small file can describe endless work; a `Budget` charges
for everything that is read and stops a reader that is being led in circles. Positions need no
alignment. Errors name the field by its path in the model.
"""

from __future__ import annotations

import struct

import numpy as np

from tinykit.graph.errors import ModelFormatError

_UINT16 = struct.Struct("<H")
_INT32 = struct.Struct("<i")
_UINT32 = struct.Struct("<I")
_SCALARS = {code: struct.Struct("<" + code) for code in "?bBhHiIqQfd"}


class Budget:
    """What a reader may still spend: bytes looked at, and bytes newly allocated.

    Parameters
    ----------
    size : the file's length in bytes; both allowances are proportional to it
    """

    def __init__(self, size: int) -> None:
        self._reading = 2 * size + (1 << 16)
        self._allocating = 8 * size + (1 << 22)

    def read(self, units: int, where: str) -> None:
        self._reading -= units
        if self._reading < 0:
            raise ModelFormatError(
                f"{where}: the file refers to the same bytes over and over; reading it would cost "
                "far more than its size"
            )

    def allocate(self, size: int, where: str) -> None:
        self._allocating -= size
        if self._allocating < 0:
            raise ModelFormatError(
                f"{where}: the file unpacks to far more memory than its size justifies"
            )


class Table:
    """A table at a position of the file, its vtable checked.

    Parameters
    ----------
    data : the whole file
    position : where the table starts
    where : path for messages, such as "subgraph 0, tensor 3"
    """

    __slots__ = ("_end", "_slots", "_vtable", "budget", "data", "position", "where")

    def __init__(self, data: bytes, position: int, where: str, budget: Budget) -> None:
        self.data, self.position, self.where, self.budget = data, position, where, budget
        budget.read(4, where)
        size = len(data)
        if not 0 <= position <= size - 4:
            raise self.error(f"its offset {position} lies outside the file ({size} bytes)")
        vtable = position - _INT32.unpack_from(data, position)[0]
        if not 0 <= vtable <= size - 4:
            raise self.error(f"its vtable at {vtable} lies outside the file ({size} bytes)")
        length = _UINT16.unpack_from(data, vtable)[0]
        span = _UINT16.unpack_from(data, vtable + 2)[0]
        if length < 4 or length % 2 or vtable + length > size:
            raise self.error(f"its vtable has an impossible length, {length}")
        if span < 4 or position + span > size:
            raise self.error(f"it claims {span} bytes, the file ends before")
        self._vtable, self._slots, self._end = vtable, (length - 4) // 2, span

    def error(self, what: str) -> ModelFormatError:
        return ModelFormatError(f"{self.where}: {what}")

    def _field(self, slot: int, width: int) -> int | None:
        if slot >= self._slots:
            return None
        offset = _UINT16.unpack_from(self.data, self._vtable + 4 + 2 * slot)[0]
        if offset == 0:
            return None
        if offset < 4 or offset + width > self._end:
            raise self.error(f"field {slot} lies outside its table")
        return self.position + offset

    def scalar(self, slot: int, code: str, default: float = 0) -> int:
        """Field `slot` as the struct type `code`, or `default` when the file leaves it out."""
        form = _SCALARS[code]
        at = self._field(slot, form.size)
        return default if at is None else form.unpack_from(self.data, at)[0]  # type: ignore[return-value]

    def real(self, slot: int, default: float = 0.0) -> float:
        return float(self.scalar(slot, "f", default))

    def has(self, slot: int) -> bool:
        return self._field(slot, 1) is not None

    def _target(self, slot: int) -> int | None:
        at = self._field(slot, 4)
        return None if at is None else at + _UINT32.unpack_from(self.data, at)[0]

    def _vector(self, slot: int, width: int, what: str) -> tuple[int, int] | None:
        """Start and element count of the vector in `slot`."""
        at = self._target(slot)
        if at is None:
            return None
        if at > len(self.data) - 4:
            raise self.error(f"{what} at {at} lies outside the file ({len(self.data)} bytes)")
        count = _UINT32.unpack_from(self.data, at)[0]
        if count * width > len(self.data) - at - 4:
            raise self.error(f"{what} claims {count} elements, more than the file holds")
        return at + 4, count

    def string(self, slot: int, what: str = "a string", default: str = "") -> str:
        found = self._vector(slot, 1, what)
        if found is None:
            return default
        start, count = found
        self.budget.read(count, self.where)
        return self.data[start : start + count].decode("utf-8", "replace")

    def vector(self, slot: int, dtype: str, what: str = "a vector") -> np.ndarray | None:
        """A read-only view of a vector of numbers (`dtype` little-endian), or None when absent."""
        kind = np.dtype(dtype)
        found = self._vector(slot, kind.itemsize, what)
        if found is None:
            return None
        start, count = found
        if kind.itemsize > 1:  # bytes are only pointed at, never walked through here
            self.budget.read(count * kind.itemsize, self.where)
        return np.frombuffer(self.data, kind, count, start)

    def table(self, slot: int, what: str) -> Table | None:
        at = self._target(slot)
        return None if at is None else Table(self.data, at, f"{self.where}, {what}", self.budget)

    def tables(self, slot: int, what: str, cost: int, most: int = 1 << 16) -> list[Table]:
        """The tables of a vector, at most `most`; `cost` is the least that one honestly takes."""
        found = self._vector(slot, 4, f"the list of {what}s")
        if found is None:
            return []
        start, count = found
        if count > most:
            raise self.error(f"{count} {what}s; at most {most} are read")
        prefix = f"{self.where}, " if self.where != "model" else ""
        self.budget.read(count * cost, f"{prefix}{what}s")
        offsets = np.frombuffer(self.data, "<u4", count, start).tolist()
        return [
            Table(self.data, start + 4 * i + offset, f"{prefix}{what} {i}", self.budget)
            for i, offset in enumerate(offsets)
        ]


def root(data: bytes, budget: Budget) -> Table:
    """The model table of a file.

    Raises
    ------
    ModelFormatError
        Too short for a FlatBuffer, or the root offset points outside.
    """
    if len(data) < 8:
        raise ModelFormatError(f"the file has {len(data)} bytes, too few for a model")
    return Table(data, _UINT32.unpack_from(data, 0)[0], "model", budget)

"""A reader for the few parts of 32-bit ELF files that the emulator needs."""

from __future__ import annotations

import bisect
import struct
from dataclasses import dataclass
from pathlib import Path

SHF_WRITE, SHF_ALLOC, SHF_EXECINSTR = 1, 2, 4
SHT_SYMTAB, SHT_NOBITS = 2, 8
STT_OBJECT, STT_FUNC = 1, 2


@dataclass(frozen=True)
class Section:
    name: str
    address: int
    size: int
    flags: int
    data: bytes  # empty for .bss


class Elf:
    """Sections that occupy memory, and the functions in them.

    Attributes
    ----------
    sections : list of Section, those with memory
    functions : {name: (address, size)}, addresses without the Thumb bit
    objects : {name: (address, size)} of arrays and other variables, constant ones included
    """

    def __init__(self, path: Path) -> None:
        raw = path.read_bytes()
        if raw[:6] != b"\x7fELF\x01\x01":
            raise ValueError(f"{path} is not a 32-bit little-endian ELF file")
        (shoff,) = struct.unpack_from("<I", raw, 0x20)
        shentsize, shnum, shstrndx = struct.unpack_from("<HHH", raw, 0x2E)
        heads = [struct.unpack_from("<10I", raw, shoff + i * shentsize) for i in range(shnum)]

        def string(table: int, at: int) -> str:
            start = heads[table][4] + at
            return raw[start : raw.index(b"\0", start)].decode()

        self.sections: list[Section] = []
        self.functions: dict[str, tuple[int, int]] = {}
        self.objects: dict[str, tuple[int, int]] = {}
        for name, kind, flags, address, offset, size, link, *_ in heads:
            if flags & SHF_ALLOC and size:
                data = b"" if kind == SHT_NOBITS else raw[offset : offset + size]
                self.sections.append(Section(string(shstrndx, name), address, size, flags, data))
            if kind == SHT_SYMTAB:
                for at in range(offset, offset + size, 16):
                    sym, value, length, info, _, _ = struct.unpack_from("<IIIBBH", raw, at)
                    if info & 15 == STT_FUNC:
                        self.functions[string(link, sym)] = (value & ~1, length)
                    elif info & 15 == STT_OBJECT:
                        self.objects[string(link, sym)] = (value, length)
        self._starts = sorted((at, name) for name, (at, _) in self.functions.items())

    def function_at(self, address: int) -> str | None:
        """Name of the function that `address` lies in."""
        at = bisect.bisect_right(self._starts, (address, "\uffff")) - 1
        while at >= 0:
            start, name = self._starts[at]
            if address < start + max(self.functions[name][1], 2):
                return name
            if address - start > 1 << 20:
                break
            at -= 1
        return None

    def bytes_of(self, *, execute: bool, write: bool) -> int:
        """Bytes of the sections in the file's image that are (not) code and (not) writable."""
        return sum(
            s.size
            for s in self.sections
            if s.data
            and bool(s.flags & SHF_EXECINSTR) == execute
            and bool(s.flags & SHF_WRITE) == write
        )

    @property
    def static_bytes(self) -> int:
        """Bytes of RAM that variables take (.data and .bss)."""
        return sum(s.size for s in self.sections if s.flags & SHF_WRITE)

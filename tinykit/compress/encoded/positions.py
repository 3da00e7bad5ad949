"""Where the few are among the many: ascending places as a bitmap or as gaps, as is shorter.

Gaps follow Han, Mao, Dally ("Deep Compression", ICLR 2016): w bits say how many places are skipped.
A larger gap takes a symbol of its own that skips 2^w − 1 places; there a zero is stored as filler,
here nothing is.
"""

from __future__ import annotations

import numpy as np

from tinykit.compress.encoded.bits import Integers, byte_count, pack, unpack
from tinykit.compress.encoded.stream import Reader, varint
from tinykit.compress.encoded.symbols import read_symbols, symbol_bytes

BITMAP = 0
WIDEST = 16
#: tables of Huffman codes grow with 2^w; beyond this many bits no gaps were seen to gain
WIDTHS = range(1, 13)


def gap_symbols(index: Integers, width: int) -> Integers:
    """Gaps before each of `index` in symbols of `width` bits, the last one skipping only."""
    skip = (1 << width) - 1
    gaps = np.diff(index, prepend=-1) - 1
    skips = gaps // skip
    symbols = np.full(len(index) + int(skips.sum()), skip, dtype=np.int64)
    symbols[np.cumsum(skips + 1) - 1] = gaps % skip
    return symbols


def position_bytes(index: Integers, size: int) -> tuple[bytes, str]:
    """`index` (n,), ascending in [0, size), n not stored; and in words how it was written."""
    if len(index) in (0, size):
        return b"", "no positions"
    there = np.zeros(size, dtype=np.int64)
    there[index] = 1
    best, how = bytes([BITMAP]) + pack(there, 1), "bitmap"
    for width in WIDTHS:
        gaps = gap_symbols(index, width)
        if byte_count(len(gaps)) >= len(best):
            continue  # too long already with one bit for each
        coded, way = symbol_bytes(gaps, 1 << width)
        written = bytes([width]) + varint(len(gaps)) + coded
        if len(written) < len(best):
            best, how = written, f"{width}-bit gaps" + (" in Huffman" if way == "Huffman" else "")
    return best, how


def read_positions(reader: Reader, count: int, size: int) -> Integers:
    """What `position_bytes` wrote: int64 (count,), ascending.

    Raises
    ------
    ModelFormatError
        Ends too early, or not `count` places below `size`.
    """
    if count in (0, size):
        return np.arange(count)
    method = reader.byte()
    if method == BITMAP:
        index = np.flatnonzero(unpack(reader.take(byte_count(size)), 1, size))
    elif method <= WIDEST:
        skip = (1 << method) - 1
        number = reader.varint(count + size // skip)
        symbols = read_symbols(reader, 1 << method, number)
        ends = np.cumsum(np.where(symbols == skip, skip, symbols + 1)) - 1
        index = ends[symbols < skip]
    else:
        raise reader.error(f"no way to write positions has number {method}")
    if len(index) != count or index[-1] >= size:
        raise reader.error(f"positions that are not {count} among {size}")
    return index

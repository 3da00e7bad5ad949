"""A row of symbols of a small alphabet: packed at a fixed width or Huffman-coded, as is shorter."""

from __future__ import annotations

import numpy as np

from tinykit.compress.encoded import huffman
from tinykit.compress.encoded.bits import Integers, byte_count, pack, unpack, width_of
from tinykit.compress.encoded.stream import Reader

FIXED, HUFFMAN = 0, 1


def symbol_bytes(symbols: Integers, alphabet: int) -> tuple[bytes, str]:
    """`symbols` (n,), each in [0, alphabet), and in words how they were written."""
    width = width_of(alphabet)
    size = byte_count(len(symbols) * width)
    if size:
        counts = np.bincount(symbols, minlength=alphabet)
        lengths = huffman.code_lengths(counts)
        table = huffman.table_bytes(lengths)
        if len(table) + byte_count(int((counts * lengths).sum())) < size:
            return bytes([HUFFMAN]) + table + huffman.encode(symbols, lengths), "Huffman"
    return bytes([FIXED]) + pack(symbols, width), f"{width} bit"


def read_symbols(reader: Reader, alphabet: int, count: int) -> Integers:
    """What `symbol_bytes` wrote.

    Raises
    ------
    ModelFormatError
        Ends too early, or symbols outside the alphabet.
    """
    method = reader.byte()
    if method == HUFFMAN:
        return huffman.decode(reader, huffman.read_table(reader, alphabet), count)
    if method != FIXED:
        raise reader.error(f"no way to write symbols has number {method}")
    width = width_of(alphabet)
    symbols = unpack(reader.take(byte_count(count * width)), width, count)
    if count and symbols.max() >= alphabet:
        raise reader.error(f"a symbol {symbols.max()} in an alphabet of {alphabet}")
    return symbols

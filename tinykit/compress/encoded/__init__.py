"""A compressed model as a file: the honest count of its bytes is the length of one that reads back.

    encoded = encode([raw("fc1.bias", bias), Part(("fc1.weight",), (shape,), theta)])
    encoded.total, encoded.ratio, print(encoded)      # bytes, float32 bytes / bytes, a table
    parts = read(encoded.data)                        # the same Θ, bit for bit

Each Θ is written in the ways that its kind knows and the shortest is kept: positions as a bitmap
or as gaps of fixed width or Huffman-coded (Han, Mao, Dally, "Deep Compression", ICLR 2016), codes
packed or Huffman-coded, levels by a rule where a rule gives their very bits.

The format, version 1
---------------------
Numbers of several bytes are little-endian; `varint` is LEB128; bits fill bytes from the highest
down, and each run of bits ends on a whole byte.

    file       "TKLC", version u8, varint number of parts, parts, CRC-32 u32 of all before it
    part       varint number of parameters, for each: varint bytes, name in UTF-8, shape;
               view u8 (0 joined vector, 1 and 2 the matrix of that shaping), Θ
    shape      varint rank + 1, a varint for each size. For a Θ 0 may stand for the shape that is
               expected there: the matrix's; the only parameter's; (n,) for a joined vector; for
               a term that of its sum
    Θ          tag u8, shape, then by tag:
    0, 1       dense: float32 values; float16 values
    2 sparse   varint n, positions of n in the flattened tensor, n float32 values
    3 coded    flags u8 (1: codes are int16, else uint8; 2: one code left out), kind u8 (place in
               `levels.KINDS`), varint K, levels; symbols of all codes; or, with one left out,
               varint which, varint n of others, their positions, their symbols in an alphabet of
               K − 1 (codes above the one left out count one less)
    4 factors  varint rows, rank, columns, float32 left, float32 right, row by row
    5 sum      varint number of terms, each a Θ
    levels     rule u8, then what the rule needs (`levels`)
    symbols    of an alphabet of A, their number known: 0 u8, each in ⌈log₂ A⌉ bits; or 1 u8,
               table, canonical Huffman codes (in order of length, then of symbol)
    table      u8 (64: list form; low bits: w), then length + 1 of each symbol's code in w bits, 0
               for a symbol that does not occur; or in list form a bit for each symbol that tells
               whether it occurs, and w bits for each that does. The only symbol there is has a
               code of no bits
    positions  of n in a range of N; nothing where n is 0 or N; else u8: 0 a bitmap of N bits; or
               w in 1…16, varint number of symbols, symbols of an alphabet of 2^w: how many places
               are skipped before the next, or 2^w − 1 to skip that many with none following
"""

from tinykit.compress.encoded.container import Encoded, Part, Row, encode, raw, read, write

__all__ = ["Encoded", "Part", "Row", "encode", "raw", "read", "write"]

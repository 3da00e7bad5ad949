"""Canonical Huffman codes: the shortest that give each symbol bits of its own.

Huffman, "A Method for the Construction of Minimum-Redundancy Codes", Proc. IRE, 1952. Canonical:
codes go up in order of length, then of symbol, so that lengths alone tell them all.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tinykit.compress.encoded.bits import (
    Integers,
    byte_count,
    pack,
    pack_varied,
    unpack,
    width_of,
    windows,
)
from tinykit.compress.encoded.stream import Reader

#: a code this long takes F(58) ≈ 6e11 symbols, Fibonacci's sequence as their counts
LONGEST = 56
LIST_FORM = 64
CHUNK = 1 << 18


def code_lengths(counts: Integers) -> Integers:
    """Length in bits of each symbol's code; −1 for a symbol that does not occur.

    Parameters
    ----------
    counts : (A,) how often each symbol occurs

    Returns
    -------
    int64 (A,)
        Σ counts·length is the least of all prefix codes. A lone symbol needs no bits: 0.
    """
    lengths = np.full(len(counts), -1, dtype=np.int64)
    used = np.flatnonzero(counts)
    n = len(used)
    if n == 0:
        return lengths
    used = used[np.argsort(counts[used], kind="stable")]
    # two queues (van Leeuwen 1976): leaves by count, and joined nodes, which come about in order
    weight = counts[used].tolist() + [0] * (n - 1)
    parent = [0] * (2 * n - 1)
    leaf, inner = 0, n
    for node in range(n, 2 * n - 1):
        for _ in range(2):
            if leaf < n and (inner >= node or weight[leaf] <= weight[inner]):
                child, leaf = leaf, leaf + 1
            else:
                child, inner = inner, inner + 1
            weight[node] += weight[child]
            parent[child] = node
    depth = [0] * (2 * n - 1)
    for node in range(2 * n - 3, -1, -1):
        depth[node] = depth[parent[node]] + 1
    lengths[used] = depth[:n]
    return lengths


def canonical(lengths: Integers) -> tuple[Integers, NDArray[np.uint64]]:
    """The symbols that have a code, in order of their codes, and those codes."""
    used = np.flatnonzero(lengths >= 0)
    order = used[np.argsort(lengths[used], kind="stable")]
    codes: list[int] = []
    code = before = 0
    for length in lengths[order].tolist():
        code <<= length - before
        codes.append(code)
        code, before = code + 1, length
    return order, np.array(codes, dtype=np.uint64)


def encode(symbols: Integers, lengths: Integers) -> bytes:
    """The codes of `symbols` (n,), one after the other."""
    order, codes = canonical(lengths)
    table = np.zeros(len(lengths), dtype=np.uint64)
    table[order] = codes
    return pack_varied(table[symbols], lengths[symbols])


def table_bytes(lengths: Integers) -> bytes:
    """What `read_table` reads; the shorter of its two forms."""
    entries = lengths + 1
    width = int(entries.max(initial=0)).bit_length()
    there = (entries > 0).astype(np.int64)
    plain = pack(entries, width)
    listed = pack(there, 1) + pack(entries[entries > 0], width)
    if len(listed) < len(plain):
        return bytes([LIST_FORM | width]) + listed
    return bytes([width]) + plain


def read_table(reader: Reader, alphabet: int) -> Integers:
    """Lengths of a complete code over `alphabet` symbols, −1 for those without.

    Raises
    ------
    ModelFormatError
        Ends too early, or lengths that no complete code has.
    """
    form = reader.byte()
    width = form & (LIST_FORM - 1)
    if form >= 2 * LIST_FORM or width > width_of(LONGEST + 2):
        raise reader.error(f"no Huffman table starts with {form}")
    if form & LIST_FORM:
        there = np.flatnonzero(unpack(reader.take(byte_count(alphabet)), 1, alphabet))
    else:
        there = np.arange(alphabet)
    entries = np.zeros(alphabet, dtype=np.int64)
    entries[there] = unpack(reader.take(byte_count(len(there) * width)), width, len(there))
    lengths = entries - 1
    used = lengths[lengths >= 0]
    # Kraft's sum is 1 exactly, or some bits would mean nothing, or two things
    if (
        len(used) == 0
        or used.max() > LONGEST
        or sum(1 << LONGEST - n for n in used.tolist()) != (1 << LONGEST)
    ):
        raise reader.error("a Huffman table whose lengths make no code")
    return lengths


def decode(reader: Reader, lengths: Integers, count: int) -> Integers:
    """The next `count` symbols, and the rest of their last byte.

    Every place in the bits is looked at as if a code began there; then one walk from code to code
    finds where they do.
    """
    order, codes = canonical(lengths)
    sorted_lengths = lengths[order]
    if count == 0 or len(order) == 1:
        return np.full(count, order[0], dtype=np.int64)
    first = np.flatnonzero(np.diff(sorted_lengths, prepend=-1))  # of each length
    kinds = sorted_lengths[first]
    # codes moved to the top of 64 bits go up; those of a length lie from its first one on
    tops = codes[first] << (64 - kinds).astype(np.uint64)
    rest = reader.data[reader.at :]
    data = np.zeros(min(len(rest), byte_count(count * int(kinds[-1]))) + 8, dtype=np.uint8)
    data[:-8] = np.frombuffer(rest[: len(data) - 8], dtype=np.uint8)
    total = 8 * (len(data) - 8)
    if count * int(kinds[0]) > total:
        raise reader.error(f"ends too early: {total} bits for {count} codes")
    symbols = np.empty(count, dtype=np.int64)
    done = place = 0
    while done < count:
        if place >= total:
            raise reader.error(f"ends too early: {count - done} of {count} codes are missing")
        size = min(CHUNK, total - place)
        ahead = windows(data, place, size)
        kind = np.searchsorted(tops, ahead, side="right") - 1
        steps = kinds[kind].tolist()
        starts: list[int] = []
        at, wanted = 0, count - done
        while at < size and len(starts) < wanted:
            starts.append(at)
            at += steps[at]
        which = kind[starts]
        offset = (ahead[starts] - tops[which]) >> (64 - kinds[which]).astype(np.uint64)
        symbols[done : done + len(starts)] = order[first[which] + offset.astype(np.int64)]
        done, place = done + len(starts), place + at
    if place > total:
        raise reader.error("ends too early: within a code")
    reader.take(byte_count(place))
    return symbols

"""Huffman codes against the entropy and against Huffman's own algorithm on a heap."""

from __future__ import annotations

import heapq
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinykit.compress.encoded import bits, huffman
from tinykit.compress.encoded.positions import gap_symbols, position_bytes, read_positions
from tinykit.compress.encoded.stream import Reader, varint
from tinykit.compress.encoded.symbols import read_symbols, symbol_bytes
from tinykit.graph.errors import ModelFormatError

LIMIT = 1 << 22
counts = st.lists(st.integers(0, 1000) | st.sampled_from([0, 1, 10**6]), min_size=1, max_size=60)


def reader(data: bytes) -> Reader:
    return Reader(data, LIMIT)


def on_a_heap(symbols: dict[int, int]) -> int:
    """Bits that Huffman's code takes: the sum of all joined weights."""
    heap = [n for n in symbols.values() if n]
    heapq.heapify(heap)
    total = 0
    while len(heap) > 1:
        both = heapq.heappop(heap) + heapq.heappop(heap)
        total += both
        heapq.heappush(heap, both)
    return total


@given(counts)
@settings(max_examples=200, deadline=None)
def test_length_is_the_least_and_within_a_bit_of_entropy(counts: list[int]) -> None:
    n = np.array(counts)
    lengths = huffman.code_lengths(n)
    assert ((lengths < 0) == (n == 0)).all()
    total = int((n * lengths)[n > 0].sum())
    assert total == on_a_heap(dict(enumerate(counts)))
    p = n[n > 0] / max(n.sum(), 1)
    if len(p):
        entropy = float(-(p * np.log2(p)).sum())
        mean = total / n.sum()
        assert entropy - 1e-9 <= mean < entropy + 1
        assert (0.5 ** lengths[lengths >= 0]).sum() == 1


@given(counts)
@settings(max_examples=100, deadline=None)
def test_codes_are_prefix_free_and_canonical(counts: list[int]) -> None:
    lengths = huffman.code_lengths(np.array(counts))
    order, codes = huffman.canonical(lengths)
    texts = [
        format(c, "b").zfill(n) if n else "" for c, n in zip(codes, lengths[order], strict=True)
    ]
    assert all(len(t) == n for t, n in zip(texts, lengths[order], strict=True))
    assert texts == sorted(texts)
    for a in range(len(texts) - 1):  # sorted, so that a prefix would be next to its longer one
        assert not texts[a + 1].startswith(texts[a])
    keys = list(zip(lengths[order].tolist(), order.tolist(), strict=True))
    assert keys == sorted(keys)


@given(st.lists(st.integers(0, 40), max_size=300), st.integers(41, 70))
@settings(max_examples=150, deadline=None)
def test_symbols_there_and_back(symbols: list[int], alphabet: int) -> None:
    values = np.array(symbols, dtype=np.int64)
    data, _ = symbol_bytes(values, alphabet)
    source = reader(data)
    assert read_symbols(source, alphabet, len(values)).tolist() == symbols
    assert source.at == len(data)
    if symbols:  # the Huffman code itself, whether or not it was the shorter
        lengths = huffman.code_lengths(np.bincount(values, minlength=alphabet))
        table, coded = huffman.table_bytes(lengths), huffman.encode(values, lengths)
        assert len(coded) == (on_a_heap(Counter(symbols)) + 7) // 8
        source = reader(table + coded)
        again = huffman.read_table(source, alphabet)
        assert again.tolist() == lengths.tolist()
        assert huffman.decode(source, again, len(values)).tolist() == symbols
        assert source.at == len(table + coded)


def test_longest_codes_and_several_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts like Fibonacci's numbers give the longest codes; decoding goes on across chunks."""
    monkeypatch.setattr(huffman, "CHUNK", 97)
    fibonacci = [1, 1]
    while len(fibonacci) < huffman.LONGEST + 1:
        fibonacci.append(fibonacci[-1] + fibonacci[-2])
    lengths = huffman.code_lengths(np.array(fibonacci))
    assert lengths.max() == huffman.LONGEST
    rng = np.random.default_rng(0)
    symbols = rng.integers(0, len(lengths), 2000)
    table, coded = huffman.table_bytes(lengths), huffman.encode(symbols, lengths)
    assert len(coded) == (int(lengths[symbols].sum()) + 7) // 8
    source = reader(table + coded + b"rest")
    assert (huffman.decode(source, huffman.read_table(source, len(lengths)), 2000) == symbols).all()
    assert bytes(source.take(4)) == b"rest"
    for end in range(0, len(coded), 97):
        with pytest.raises(ModelFormatError, match="ends too early"):
            huffman.decode(reader(coded[:end]), lengths, 2000)


@pytest.mark.parametrize(
    ("entries", "width"), [([1, 1], 1), ([2, 3, 0], 2), ([0, 0], 1), ([2, 2, 2], 2), ([63, 63], 6)]
)
def test_tables_that_make_no_code(entries: list[int], width: int) -> None:
    data = bytes([width]) + bits.pack(np.array(entries), width)
    with pytest.raises(ModelFormatError, match="make no code"):
        huffman.read_table(reader(data), len(entries))


@given(st.integers(0, 21), st.lists(st.integers(0, 2**21), max_size=40))
@settings(max_examples=60, deadline=None)
def test_packed_integers(width: int, values: list[int]) -> None:
    array = np.array([v % (1 << width) for v in values], dtype=np.int64)
    data = bits.pack(array, width)
    text = "".join(format(v, "b").zfill(width) for v in array.tolist()) if width else ""
    assert data == bytes(int(text[i : i + 8].ljust(8, "0"), 2) for i in range(0, len(text), 8))
    assert bits.unpack(data, width, len(array)).tolist() == array.tolist()
    assert [bits.width_of(n) for n in (0, 1, 2, 3, 4, 5, 256, 257)] == [0, 0, 1, 2, 2, 3, 8, 9]


@given(st.sets(st.integers(0, 3000)), st.integers(3001, 5000), st.integers(1, 12))
@settings(max_examples=100, deadline=None)
def test_positions(places: set[int], size: int, width: int) -> None:
    index = np.array(sorted(places), dtype=np.int64)
    data, _ = position_bytes(index, size)
    source = reader(data)
    assert read_positions(source, len(index), size).tolist() == index.tolist()
    assert source.at == len(data)
    assert len(data) <= 1 + (size + 7) // 8  # never more than the bitmap
    # gaps mean what Deep Compression's do
    at, found = -1, []
    for symbol in gap_symbols(index, width).tolist():
        if symbol == (1 << width) - 1:
            at += symbol
        else:
            at += symbol + 1
            found.append(at)
    assert found == index.tolist()


@given(st.integers(0, 2**40))
def test_varint(value: int) -> None:
    source = reader(varint(value))
    assert source.varint(2**40) == value
    assert source.at == max(1, -(-value.bit_length() // 7))
    if value:
        with pytest.raises(ModelFormatError, match="above"):
            reader(varint(value)).varint(value - 1)

import contextlib
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinykit.data import DataError, idx

CODES = {"u1": 8, "i1": 9, "i2": 0xB, "i4": 0xC, "f4": 0xD, "f8": 0xE}


def pack(array: np.ndarray) -> bytes:
    """IDX by its definition, written independently of the parser."""
    kind = array.dtype.str[1:]
    head = bytes([0, 0, CODES[kind], array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.astype(f">{kind}").tobytes()


@settings(deadline=None, derandomize=True)
@given(
    st.sampled_from(sorted(CODES)).flatmap(
        lambda kind: hnp.arrays(np.dtype(kind), hnp.array_shapes(max_dims=4, max_side=5))
    )
)
def test_reads_what_the_format_says(array: np.ndarray) -> None:
    got = idx.parse(pack(array))
    assert got.dtype == array.dtype
    np.testing.assert_array_equal(got, array)


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "starts with nothing"),
        (b"\x1f\x8b\x08\x00rest", "starts with 1f8b0800"),
        (b"\0\0\x07\x01\0\0\0\x01a", "unknown IDX element type 0x07"),
        (b"\0\0\x08\x03\0\0\0\x01", "header of 3 dimensions"),
        (b"\0\0\x08\x00", "header of 0 dimensions"),
        (b"\0\0\x08\x01\0\0\0\x05abc", "promises 5 bytes of data .* has 3"),
        (b"\0\0\x08\x01\0\0\0\x02abc", "promises 2 bytes of data .* has 3"),
        (b"\0\0\x0e\x04" + b"\xff" * 16 + b"abc", "promises"),  # 2^131 bytes: nothing is allocated
    ],
)
def test_malformed_files_say_what_is_wrong(raw: bytes, why: str) -> None:
    with pytest.raises(DataError, match=why):
        idx.parse(raw, "the file")


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.binary(max_size=40), st.integers(0, 30), st.integers(0, 255))
def test_mutations_give_an_array_or_an_error(tail: bytes, where: int, value: int) -> None:
    raw = bytearray(pack(np.arange(12, dtype=np.uint8).reshape(3, 4)) + tail)
    raw[where % len(raw)] = value
    with contextlib.suppress(DataError):
        assert isinstance(idx.parse(bytes(raw)), np.ndarray)

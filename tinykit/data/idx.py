"""IDX, the file format of MNIST and its kin.

Two zero bytes, one byte for the type, one for the number of dimensions, each dimension as a
big-endian uint32, then the elements in row-major order, big-endian.
"""

from __future__ import annotations

import math
import struct

import numpy as np

from tinykit.data.errors import DataError

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def parse(raw: bytes, name: str = "IDX data") -> np.ndarray:
    """The array in `raw`, in native byte order.

    Raises
    ------
    DataError
        Wrong magic number, unknown type, or a length that contradicts the header.
    """
    if len(raw) < 4 or raw[:2] != b"\0\0":
        raise DataError(f"{name} is not an IDX file: it starts with {raw[:4].hex() or 'nothing'}")
    code, ndim = raw[2], raw[3]
    if code not in _TYPES:
        raise DataError(f"{name}: unknown IDX element type 0x{code:02x}")
    start = 4 + 4 * ndim
    if ndim == 0 or len(raw) < start:
        raise DataError(f"{name}: header of {ndim} dimensions does not fit {len(raw)} bytes")
    shape = struct.unpack(f">{ndim}I", raw[4:start])
    dtype = np.dtype(_TYPES[code])
    want = math.prod(shape) * dtype.itemsize  # Python integers: no overflow, nothing allocated
    if len(raw) - start != want:
        raise DataError(
            f"{name}: header promises {want} bytes of data {shape}, the file has {len(raw) - start}"
        )
    array = np.frombuffer(raw, dtype, offset=start).reshape(shape)
    return array.astype(dtype.newbyteorder("="))

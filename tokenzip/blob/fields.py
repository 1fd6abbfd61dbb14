"""The small fields of a blob's header: dtype, shape, and the numbers that stand for names."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from ..errors import CorruptError
from .varint import Reader, varint

MAGIC = b"\xf7TKZ"  # 0xF7 occurs in no UTF-8 text

#: A blob is of the oldest version that has all it needs: of version 2 only with its flags.
FIRST_VERSION = 1
VERSION = 2

#: What a .tkz file begins with whose blob comes after a preamble of names (files/named.py).
NAMES_MAGIC = b"\xf7TKN"

FLAG_LIST = 1
FLAG_SOLID = 2
FLAG_MODEL = 4
FLAG_EMBEDDED = 8
FLAG_BUNDLED = 16
FLAG_CHOICE = 32

#: The flags of version 2 that version 1 has not.
NEW_FLAGS = FLAG_BUNDLED | FLAG_CHOICE
#: All flags of each version.
FLAGS = {1: 15, 2: 15 | NEW_FLAGS}

#: Predictor names by their number. Number 0: every chunk is stored.
PREDICTORS = ("stored", "adaptive", "lstm", "conv3d", "hybrid")

#: Those whose blobs name a model.
WITH_MODEL = ("lstm", "conv3d", "hybrid")

#: Those that learn from chunk to chunk, so that their blobs may be solid.
SOLID = ("adaptive", "hybrid")

#: Bytes of a model's identity, a SHA-256.
IDENTITY_BYTES = 32

#: Most bytes of a choice note.
MAX_NOTE = 255

_DTYPES = ["bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]
_BIG_ENDIAN = 0x80
_LONG_DIMENSION = 15

MIN_ALPHABET = 2
MAX_ALPHABET = 65536
MAX_DIMENSIONS = 32

#: Largest product of the non-zero dimensions: an int64 array of this shape still has a byte count
#: that fits 63 bits, which is where numpy itself draws the line (also for empty arrays).
MAX_EXTENT = 2**60 - 1


def extent(shape: Sequence[int]) -> int:
    """Product of the non-zero dimensions, as an exact Python integer."""
    return math.prod(max(size, 1) for size in shape)


def write_dtype(dtype: np.dtype[Any]) -> bytes:
    code = _DTYPES.index(dtype.newbyteorder("=").name)
    big = dtype.itemsize > 1 and dtype.newbyteorder(">") == dtype
    return bytes([code | (_BIG_ENDIAN if big else 0)])


def read_dtype(reader: Reader) -> np.dtype[Any]:
    code = reader.byte("dtype")
    number, big = code & ~_BIG_ENDIAN, bool(code & _BIG_ENDIAN)
    if number >= len(_DTYPES) or (big and np.dtype(_DTYPES[number]).itemsize == 1):
        raise CorruptError(f"dtype code {code} does not exist", where="header")
    return _dtype(number, big)


@cache
def _dtype(number: int, big: bool) -> np.dtype[Any]:
    # One object for all grids: a blob can hold very many.
    dtype: np.dtype[Any] = np.dtype(_DTYPES[number]).newbyteorder(">" if big else "<")
    return dtype


def write_shape(shape: Sequence[int]) -> bytes:
    """Dimension count, one nibble a dimension (high first; 15: see below), then the long ones."""
    nibbles = [min(size, _LONG_DIMENSION) for size in shape]
    nibbles += [0] * (len(nibbles) % 2)
    packed = bytes(high << 4 | low for high, low in zip(nibbles[::2], nibbles[1::2], strict=True))
    long = [varint(size - _LONG_DIMENSION) for size in shape if size >= _LONG_DIMENSION]
    return bytes([len(shape)]) + packed + b"".join(long)


def read_shape(reader: Reader) -> tuple[int, ...]:
    dimensions = reader.byte("shape")
    if dimensions > MAX_DIMENSIONS:
        raise CorruptError(f"{dimensions} dimensions; the most is {MAX_DIMENSIONS}", where="header")
    packed = reader.take((dimensions + 1) // 2, "shape")
    nibbles = [nibble for byte in packed for nibble in (byte >> 4, byte & 15)]
    if any(nibbles[dimensions:]):
        raise CorruptError("the padding of the shape is not zero", where="header")
    shape = []
    for nibble in nibbles[:dimensions]:
        long = nibble == _LONG_DIMENSION
        size = reader.varint("shape") + _LONG_DIMENSION if long else nibble
        shape.append(size)
    if extent(shape) > MAX_EXTENT:
        raise CorruptError(f"the shape {tuple(shape)} is impossibly large", where="header")
    return tuple(shape)


def bits_per_raw_token(alphabet: int) -> int:
    """ceil(log2 alphabet): the width of a bit-packed token."""
    return (alphabet - 1).bit_length()

""".npy files, parsed so that nothing in them is trusted: no pickles, no silent truncation."""

from __future__ import annotations

import io
import math
import mmap
import os
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy_format

from ..errors import FileFormatError
from .reasons import first_line

# numpy itself refuses headers beyond 10,000 characters; the magic and the length come before.
_HEAD_BYTES = 16_384

# Smaller files are simply read: mapping pays only where a second copy would hurt.
MAP_FROM_BYTES = 1 << 26


def parse_npy(data: bytes | mmap.mmap, name: str) -> np.ndarray[Any, Any]:
    """The array in `data`, the whole content of a .npy file: a read-only view of it, not a copy.

    Any dtype without Python objects passes (encode judges it), in the file's byte order and memory
    order. Raises FileFormatError, naming `name`, for anything that is not exactly one array:
    wrong magic, a damaged header, pickled objects, too few bytes, bytes after the array.
    """
    stream = io.BytesIO(data[:_HEAD_BYTES])
    try:
        version = npy_format.read_magic(stream)  # type: ignore[no-untyped-call]
        if version == (1, 0):
            header = npy_format.read_array_header_1_0(stream)  # type: ignore[no-untyped-call]
        elif version == (2, 0):
            header = npy_format.read_array_header_2_0(stream)  # type: ignore[no-untyped-call]
        else:
            raise FileFormatError(
                f"{name}: .npy version {version[0]}.{version[1]} is for named fields, "
                "which tokens do not have; save a plain integer array"
            )
        shape, fortran, dtype = header
    except FileFormatError:
        raise
    except Exception as error:  # numpy leaks several kinds: ValueError, SyntaxError, TypeError ...
        raise FileFormatError(f"{name}: not a readable .npy file ({first_line(error)})") from error
    if dtype.hasobject:
        raise FileFormatError(
            f"{name}: holds pickled Python objects, which are never loaded; "
            "save a plain integer array, one for each clip (np.savez keeps several)"
        )
    # numpy takes True for a length, until it has to reshape.
    if dtype.itemsize == 0 or any(type(n) is not int or n < 0 for n in shape):
        raise FileFormatError(f"{name}: impossible header, shape {shape} of {dtype}")
    offset = stream.tell()
    count = math.prod(shape)
    want, have = count * dtype.itemsize, len(data) - offset
    if have < want:
        raise FileFormatError(
            f"{name}: truncated, {have:,} bytes of data where shape {shape} of {dtype} "
            f"needs {want:,}"
        )
    if have > want:
        raise FileFormatError(
            f"{name}: {have - want:,} bytes follow the array; "
            "a .npy file must hold exactly one array (use .npz for several)"
        )
    try:
        flat = np.frombuffer(data, dtype=dtype, count=count, offset=offset if count else 0)
        return flat.reshape(shape, order="F" if fortran else "C")
    except ValueError as error:  # more than 64 dimensions, or a zero beside absurd sizes
        raise FileFormatError(f"{name}: impossible header ({first_line(error)})") from error


def read_npy(path: str) -> np.ndarray[Any, Any]:
    """The array of the .npy file at `path`; see `parse_npy`. Large files are memory-mapped."""
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size >= MAP_FROM_BYTES:
            return parse_npy(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), path)
        return parse_npy(file.read(), path)


def map_npy(path: str) -> np.ndarray[Any, Any]:
    """As read_npy, but memory-mapped whatever its size, to read a slice of it."""
    with open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            return parse_npy(b"", path)  # cannot be mapped; says what is wrong
        return parse_npy(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), path)


def write_npy(file: BinaryIO, array: np.ndarray[Any, Any]) -> None:
    """Write `array` as .npy to `file`, which need not be seekable."""
    target: Any = file
    if isinstance(file, io.BufferedIOBase) and not file.seekable():
        # numpy would ask what is below it for a position, which a pipe does not have.
        target = _Stream(file)
    npy_format.write_array(target, np.asanyarray(array), allow_pickle=False)  # type: ignore[no-untyped-call]


class _Stream:
    """A file of which nothing is known but that it can be written to."""

    def __init__(self, file: io.BufferedIOBase) -> None:
        self.write = file.write

"""One way in for every kind of token file."""

from __future__ import annotations

import io
import os
import stat
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from ..errors import FileError, FileFormatError, OptionError
from .formats import (
    MAGIC_LENGTH,
    SUFFIXES,
    Format,
    format_of_content,
    format_of_suffix,
)
from .npy import parse_npy, read_npy
from .npz import read_npz
from .raw import parse_dtype, parse_raw, parse_shape
from .reasons import os_error_text

STDIN = "-"

#: What tells token files apart without being told more; raw files need a dtype.
READABLE_SUFFIXES = tuple(s for s, kind in SUFFIXES.items() if kind != "raw")


@dataclass(frozen=True)
class TokenFile:
    """The arrays of one file.

    Attributes:
        path: where it was read from, "-" for standard input.
        format: "npy", "npz", "h5" or "raw".
        arrays: (name, array) pairs; the name is "" where the format has none (npy, raw).
        left_out: what the file holds besides, in words; empty if `arrays` is all of it.
    """

    path: str
    format: Format
    arrays: tuple[tuple[str, np.ndarray[Any, Any]], ...]
    left_out: tuple[str, ...] = ()


def read_stdin() -> bytes:
    """All of standard input.

    Piece by piece: between two pieces Python heeds signals, while a single read() can overlook one
    and wait for ever.
    """
    stream = cast(io.BufferedReader, sys.stdin.buffer)
    pieces = []
    while piece := stream.read1(1 << 20):
        pieces.append(piece)
    return b"".join(pieces)


def _decide(path: str, head: bytes, raw: bool) -> Format:
    """The format of a file with this name and first bytes.

    Its suffix decides. Without a known one, `raw` (the caller gave a dtype) does, then the content.
    """
    named = None if path == STDIN else format_of_suffix(path)
    if named is not None and named != "raw":
        return named
    if raw:
        return "raw"
    found = format_of_content(head)
    if found is not None:
        return found
    if not head:
        raise FileFormatError(f"{path}: empty")
    raise FileFormatError(
        f"{path}: not .npy, .npz or .h5; for raw binary say what it holds, "
        "e.g. --dtype uint16 --shape -1,8,16"
    )


def format_of_file(path: str) -> Format:
    """The format of a file on disk, by its suffix or else its first bytes."""
    with open(path, "rb") as file:
        return _decide(path, file.read(MAGIC_LENGTH), False)


def read_tokens(
    path: str | os.PathLike[str],
    *,
    select: Sequence[str] = (),
    dtype: str | None = None,
    shape: str | Sequence[int] | None = None,
) -> TokenFile:
    """Read a token file: .npy, .npz, .h5/.hdf5 or raw binary, or "-" for standard input.

    Args:
        path: the file. Its suffix tells the format (.npy, .npz, .h5, .hdf5); a file with another
            suffix and standard input are raw if `dtype` is given, and else known by their first
            bytes.
        select: keys (.npz) or dataset paths (.h5), as names, groups or shell patterns; none means
            every integer or bool array. Not for .npy and raw, which have no names.
        dtype: numpy name of an integer dtype, for raw files.
        shape: for raw files, C order, one length may be -1; default: one dimension.

    Returns: a TokenFile. Arrays may be read-only and, for large .npy files, memory-mapped.

    Raises FileError (missing, unreadable, larger than memory, no such dataset), FileFormatError
    (content and format do not agree, pickled objects, truncated, more than one array in a .npy),
    OptionError or DTypeError (dtype, shape or select make no sense).
    """
    name = os.fspath(path)
    kind = None if dtype is None else parse_dtype(dtype)
    lengths = parse_shape(shape) if isinstance(shape, str) else shape
    if lengths is not None and kind is None:
        raise OptionError("a shape is for raw files and needs a dtype as well, e.g. --dtype uint16")
    try:
        return _read(name, list(select), kind, (-1,) if lengths is None else lengths)
    except FileError:
        raise
    except MemoryError as error:
        raise FileError(f"{name}: not enough memory to read it") from error
    except OSError as error:
        raise FileError(f"{name}: cannot be read: {os_error_text(error)}") from error


def _read(
    name: str, select: list[str], dtype: np.dtype[Any] | None, shape: Sequence[int]
) -> TokenFile:
    data: bytes | None = None
    if name == STDIN:
        data = read_stdin()
        head = data[:MAGIC_LENGTH]
    else:
        with open(name, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                data = file.read()  # a pipe or device: it can be read only once
                head = data[:MAGIC_LENGTH]
            else:
                head = file.read(MAGIC_LENGTH)
    kind = _decide(name, head, dtype is not None)
    if select and kind in ("npy", "raw"):
        raise OptionError(f"{name}: a {kind} file has no named arrays to choose from")
    if kind == "npy":
        array = read_npy(name) if data is None else parse_npy(data, name)
        return TokenFile(name, kind, (("", array),))
    if kind == "raw":
        if dtype is None:
            raise FileFormatError(
                f"{name}: say what this raw file holds, e.g. --dtype uint16 --shape -1,8,16"
            )
        if data is None:
            with open(name, "rb") as file:
                data = file.read()
        return TokenFile(name, kind, (("", parse_raw(data, name, dtype, shape)),))
    if kind == "npz":
        arrays, left_out = read_npz(name if data is None else io.BytesIO(data), name, select)
    else:
        from .hdf5 import read_h5

        if data is None and format_of_content(head) != "h5":
            _check_user_block(name, head)
        arrays, left_out = read_h5(name if data is None else io.BytesIO(data), name, select)
    return TokenFile(name, kind, tuple(arrays), tuple(left_out))


def _check_user_block(name: str, head: bytes) -> None:
    """HDF5 may begin after a user block of 512, 1024, 2048 ... bytes: h5py finds out.

    A file that is something else entirely gets a plainer message than h5py's.
    """
    other = format_of_content(head)
    if other is not None or not head:
        what = f"it is a .{other} file" if other else "it is empty"
        raise FileFormatError(f"{name}: not an HDF5 file: {what}")


def open_tokens(
    path: str | os.PathLike[str],
    dataset: str | None = None,
    key: str | None = None,
    dtype: str | None = None,
    shape: str | Sequence[int] | None = None,
) -> list[tuple[str, np.ndarray[Any, Any]]]:
    """The (name, array) pairs of a token file; `dataset` (.h5) or `key` (.npz) picks some of them.

    See `read_tokens` for the rest.
    """
    select = [choice for choice in (dataset, key) if choice is not None]
    return list(read_tokens(path, select=select, dtype=dtype, shape=shape).arrays)

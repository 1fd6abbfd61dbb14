""".npz files: zip archives of .npy members, read with every length checked first."""

from __future__ import annotations

import lzma
import struct
import zipfile
import zlib
from collections.abc import Sequence
from typing import IO, Any, BinaryIO, cast

import numpy as np

from ..errors import FileError, FileFormatError
from .memory import check_fits
from .npy import parse_npy, write_npy
from .reasons import first_line
from .select import ArraySelection

_PIECE_BYTES = 1 << 20

# What zipfile raises on damaged archives, next to its own BadZipFile.
_ZIP_ERRORS = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    IndexError,
    KeyError,
    NotImplementedError,  # a compression method that this Python does not have
    OSError,
    OverflowError,
    RuntimeError,  # an encrypted member
    UnicodeDecodeError,
    ValueError,
)


def read_npz(
    source: str | IO[bytes], name: str, keys: Sequence[str]
) -> tuple[list[tuple[str, np.ndarray[Any, Any]]], list[str]]:
    """The arrays of an .npz file in the order of the archive, and what was left out of it.

    Args:
        source: path or seekable binary file.
        name: how errors call it.
        keys: names or patterns of the wanted arrays; none means every integer or bool array.

    Raises FileFormatError for a damaged archive, FileError for one that would not fit in memory.
    """
    selection = ArraySelection(name, keys, what="array")
    arrays: list[tuple[str, np.ndarray[Any, Any]]] = []
    left_out: list[str] = []
    try:
        with zipfile.ZipFile(source) as archive:
            members = archive.infolist()
            names = [member.filename for member in members]
            if len(set(names)) != len(names):
                raise FileFormatError(f"{name}: two members of the archive have the same name")
            keyed = [(n[:-4] if n.endswith(".npy") else n) for n in names]
            selection.offer(keyed)
            for key, member in zip(keyed, members, strict=True):
                if not member.filename.endswith(".npy") or not selection.wants(key):
                    left_out.append(f"member {member.filename}")
                    continue
                check_fits(member.file_size, f"{name}[{key}]")
                with archive.open(member) as stream:
                    data = _content(stream, member.file_size)
                if len(data) != member.file_size:
                    raise FileFormatError(
                        f"{name}[{key}]: {len(data):,} bytes, {member.file_size:,} were announced"
                    )
                array = parse_npy(data, f"{name}[{key}]")
                if array.dtype.kind in "biu" or keys:
                    arrays.append((key, array))
                else:
                    left_out.append(f"array {key} ({array.dtype})")
    except FileError:
        raise
    except _ZIP_ERRORS as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's fault, not the archive's; the caller words it
        raise FileFormatError(f"{name}: not a readable .npz file ({first_line(error)})") from error
    selection.check_found(arrays, left_out)
    return arrays, left_out


def _content(stream: IO[bytes], announced: int) -> bytes:
    """What a member holds, as far as one byte beyond what was announced.

    In pieces: asked for all at once, zipfile makes room for whatever the directory claims.
    """
    pieces = []
    left = announced + 1
    while left > 0 and (piece := stream.read(min(_PIECE_BYTES, left))):
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


def list_npz(path: str, keys: Sequence[str]) -> list[str]:
    """The names of the wanted arrays of an .npz file, unread; errors are those of read_npz."""
    selection = ArraySelection(path, keys, what="array")
    try:
        with zipfile.ZipFile(path) as archive:
            names = [n[:-4] for n in archive.namelist() if n.endswith(".npy")]
    except _ZIP_ERRORS as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise FileFormatError(f"{path}: not a readable .npz file ({first_line(error)})") from error
    selection.offer(names)
    return [name for name in names if selection.wants(name)]


def write_npz(file: BinaryIO, arrays: Sequence[tuple[str, np.ndarray[Any, Any]]]) -> None:
    """Write named arrays as an uncompressed .npz (as np.savez does) to `file`, seekable or not.

    The bytes depend on names and arrays alone: members carry no time of day.
    """
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for key, array in arrays:
            info = zipfile.ZipInfo(key + ".npy")
            info.external_attr = 0o644 << 16
            with archive.open(info, "w", force_zip64=True) as stream:
                write_npy(cast(BinaryIO, stream), array)

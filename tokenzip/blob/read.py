"""From a blob's bytes to a checked BlobInfo, with work bounded by the header's own length.

Nothing here allocates by what a field says: counts are compared with the bytes that are left
before anything is made from them, and products are exact Python integers.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from ..errors import (
    CorruptError,
    NotABlobError,
    TrailingDataError,
    TruncatedError,
    UnsupportedVersionError,
)
from .chunks import chunk_bounds, chunk_count
from .fields import (
    FLAG_LIST,
    FLAG_MODEL,
    FLAG_SOLID,
    MAGIC,
    MAX_ALPHABET,
    MIN_ALPHABET,
    NAMES_MAGIC,
    PREDICTORS,
    VERSION,
    read_dtype,
    read_shape,
)
from .info import BlobInfo, ChunkInfo, GridInfo
from .varint import MAX_BYTES, Reader

#: Smallest possible record of a grid (dtype, shape, alphabet, chunk frames) and of a chunk.
_GRID_RECORD = 4
_CHUNK_RECORD = 9

_FIXED = len(MAGIC) + 1


def read_header(blob: memoryview) -> BlobInfo:
    """Parse and check the header of a blob, given whole as a view of bytes.

    Raises:
        NotABlobError: empty, or another magic number.
        UnsupportedVersionError: written by a newer tokenzip.
        TruncatedError: shorter than the header says.
        CorruptError: the header's checksum or one of its fields is wrong.
        TrailingDataError: longer than the header says.
    """
    fields, header_bytes = _checked_fields(blob)
    reader = Reader(fields)
    flags = reader.byte("flags")
    if flags & ~(FLAG_LIST | FLAG_SOLID | FLAG_MODEL):
        raise _corrupt(f"flags {flags:#04x} are unknown")
    number = reader.byte("predictor")
    if number >= len(PREDICTORS):
        raise UnsupportedVersionError(
            f"predictor {number} is unknown to this tokenzip; a newer version can decode this blob"
        )
    parameters = reader.take(reader.varint("predictor parameters"), "predictor parameters")
    model = None
    if flags & FLAG_MODEL:
        model = reader.take(reader.varint("model identity"), "model identity")
    is_list, solid = bool(flags & FLAG_LIST), bool(flags & FLAG_SOLID)
    if PREDICTORS[number] == "stored" and (parameters or model is not None or solid):
        raise _corrupt("a stored blob has no parameters, no model, and is not solid")
    count = reader.varint("grid count") if is_list else 1
    if count * _GRID_RECORD > reader.left:
        raise _corrupt(f"{count} grids cannot be described in {reader.left} bytes")
    offset = header_bytes
    grids = []
    for index in range(count):
        where = f"grid {index}" if is_list else "the grid"
        grid = _read_grid(reader, offset, where, predicted=number != 0)
        grids.append(grid)
        offset += grid.payload_bytes
    if reader.left:
        raise _corrupt(f"{reader.left} bytes are left over after the last field")
    if blob.nbytes < offset:
        raise TruncatedError(
            f"the blob is cut off: its header announces {offset} bytes, {blob.nbytes} are here"
        )
    if blob.nbytes > offset:
        raise TrailingDataError(f"{blob.nbytes - offset} bytes follow the end of the blob")
    return BlobInfo(
        version=VERSION,
        predictor=PREDICTORS[number],
        parameters=parameters,
        model=model,
        solid=solid,
        is_list=is_list,
        grids=tuple(grids),
        header_bytes=header_bytes,
        total_bytes=blob.nbytes,
    )


def _checked_fields(blob: memoryview) -> tuple[bytes, int]:
    """The header's fields, their checksum already verified, and the length of the header."""
    start = bytes(blob[: _FIXED + MAX_BYTES])
    if not start:
        raise NotABlobError("empty: there is no blob here")
    magic = start[: len(MAGIC)]
    if magic == NAMES_MAGIC:
        raise NotABlobError(
            "the content of a .tkz file with names, not a blob alone: take the blob out with "
            "members, blob = tokenzip.files.split_names(data)"
        )
    if magic != MAGIC[: len(magic)]:
        raise NotABlobError(f"not a tokenzip blob: it begins with {magic!r}, not {MAGIC!r}")
    if len(start) < _FIXED:
        raise TruncatedError(f"the blob is cut off after {len(start)} bytes")
    version = start[len(MAGIC)]
    if version > VERSION:
        raise UnsupportedVersionError(
            f"the blob is of format version {version}; this tokenzip reads up to {VERSION}: upgrade"
        )
    if version == 0:
        raise _corrupt("there is no format version 0")
    reader = Reader(start, _FIXED)
    length = reader.varint("header length")
    end = reader.position + length
    if end + 4 > blob.nbytes:
        raise TruncatedError(
            f"the blob is cut off: its header takes {end + 4} bytes, {blob.nbytes} are here"
        )
    header = bytes(blob[:end])
    if zlib.crc32(header) != int.from_bytes(blob[end : end + 4], "little"):
        raise _corrupt("the header's checksum does not match; the blob was damaged")
    return header[reader.position :], end + 4


def _read_grid(reader: Reader, offset: int, where: str, *, predicted: bool) -> GridInfo:
    dtype = read_dtype(reader)
    shape = read_shape(reader)
    alphabet = reader.varint("alphabet") + MIN_ALPHABET
    if alphabet > MAX_ALPHABET:
        raise _corrupt(f"{where} has an alphabet of {alphabet}; the largest is {MAX_ALPHABET}")
    chunk_frames = reader.varint("chunk frames")
    grid = GridInfo(shape, dtype, alphabet, chunk_frames or None, ())
    if grid.tokens == 0:
        if chunk_frames:
            raise _corrupt(f"{where} is empty but divided into chunks")
        return grid
    count = chunk_count(grid.frames, chunk_frames) if chunk_frames else 1
    if chunk_frames and count < 2:
        raise _corrupt(f"{where} has one chunk, which must be written as such")
    if count * _CHUNK_RECORD > reader.left:
        raise _corrupt(f"{count} chunks of {where} cannot be listed in {reader.left} bytes")
    chunks = tuple(_read_chunks(reader, grid, offset, where, predicted=predicted))
    return GridInfo(shape, dtype, alphabet, grid.chunk_frames, chunks)


def _read_chunks(
    reader: Reader, grid: GridInfo, offset: int, where: str, *, predicted: bool
) -> Iterator[ChunkInfo]:
    for start, stop in chunk_bounds(grid.frames, grid.chunk_frames or grid.frames):
        packed = ((stop - start) * grid.frame_tokens * grid.bits + 7) // 8
        code = reader.varint("chunk table")
        if code and not predicted:
            raise _corrupt(f"{where} has a predicted chunk in a stored blob")
        size = code - 1 if code else packed
        if code and size >= packed:
            raise _corrupt(f"{where} has a predicted chunk that is no smaller than a stored one")
        kind = "predicted" if code else "stored"
        payload_crc, token_crc = reader.u32("chunk table"), reader.u32("chunk table")
        yield ChunkInfo(kind, start, stop - start, offset, size, payload_crc, token_crc)
        offset += size


def _corrupt(message: str) -> CorruptError:
    return CorruptError(message, where="header")

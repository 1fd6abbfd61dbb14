"""From a blob's bytes to a checked BlobInfo, with work bounded by the header's own length.

Nothing here allocates by what a field says: counts are compared with the bytes that are left
before anything is made from them, and products are exact Python integers.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import replace

from ..errors import (
    CorruptError,
    LimitError,
    NotABlobError,
    TrailingDataError,
    TruncatedError,
    UnsupportedVersionError,
)
from .choice import GIVEN, read_choice
from .chunks import chunk_bounds, chunk_count
from .fields import (
    FLAG_BUNDLED,
    FLAG_CHOICE,
    FLAG_EMBEDDED,
    FLAG_LIST,
    FLAG_MODEL,
    FLAG_SOLID,
    FLAGS,
    IDENTITY_BYTES,
    MAGIC,
    MAX_ALPHABET,
    MIN_ALPHABET,
    NAMES_MAGIC,
    NEW_FLAGS,
    PREDICTORS,
    SOLID,
    VERSION,
    WITH_MODEL,
    read_dtype,
    read_shape,
)
from .info import BlobInfo, ChunkInfo, GridInfo
from .source import BlobBytes
from .varint import MAX_BYTES, Reader

#: Smallest possible record of a grid (dtype, shape, alphabet, chunk frames) and of a chunk.
_GRID_RECORD = 4
_CHUNK_RECORD = 9

_FIXED = len(MAGIC) + 1


def read_header(
    blob: BlobBytes, *, max_tokens: int | None = None, some_frames: bool = False
) -> BlobInfo:
    """Parse and check the header of a blob, given as a view of its bytes or as what reads them.

    Args:
        blob: all of it.
        max_tokens: the most tokens that may have to be decoded; None if none will be.
        some_frames: only some frames will be decoded, so that the limit holds for solid blobs
            only; of others it is the caller's to check.

    Raises:
        NotABlobError: empty, or another magic number.
        UnsupportedVersionError: written by a newer tokenzip.
        TruncatedError: shorter than the header says.
        CorruptError: the header's checksum or one of its fields is wrong.
        TrailingDataError: longer than the header says.
        LimitError: good, but of more than max_tokens.
    """
    version, fields, header_bytes = _checked_fields(blob)
    reader = Reader(fields)
    flags = reader.byte("flags")
    if flags & ~FLAGS[version]:
        raise _corrupt(f"flags {flags:#04x} are unknown")
    if version > 1 and not flags & NEW_FLAGS:
        raise _corrupt("a blob of version 2 that is of version 1 by its flags")
    number = reader.byte("predictor")
    if number >= len(PREDICTORS):
        raise UnsupportedVersionError(
            f"predictor {number} is unknown to this tokenzip; a newer version can decode this blob"
        )
    parameters = reader.take(reader.varint("predictor parameters"), "predictor parameters")
    model = bundled = choice = None
    embedded = 0
    named = bool(flags & (FLAG_MODEL | FLAG_BUNDLED))
    if named != (PREDICTORS[number] in WITH_MODEL):
        takes = "no model" if named else "a model, but names none"
        raise _corrupt(f"the predictor {PREDICTORS[number]} takes {takes}")
    if flags & FLAG_BUNDLED:
        if flags & (FLAG_MODEL | FLAG_EMBEDDED):
            raise _corrupt("a model is named in two ways")
        bundled = reader.varint("number of a model")
        if bundled == 0:
            raise _corrupt("no model has the number 0")
    if flags & FLAG_MODEL:
        model = reader.take(IDENTITY_BYTES, "model identity")
    if flags & FLAG_EMBEDDED:
        embedded = reader.varint("model length")
        if model is None or not embedded:
            raise _corrupt("a model is embedded but not named, or has no bytes")
    if flags & FLAG_CHOICE:
        if number == 0:
            raise _corrupt("a stored blob has nothing to choose")
        which = GIVEN if model is not None else bundled
        choice = read_choice(reader, PREDICTORS[number], which)
    is_list, solid = bool(flags & FLAG_LIST), bool(flags & FLAG_SOLID)
    if PREDICTORS[number] == "stored" and parameters:
        raise _corrupt("a stored blob has no parameters")
    if solid and PREDICTORS[number] not in SOLID:
        raise _corrupt(f"a blob of the predictor {PREDICTORS[number]} is not solid")
    count = reader.varint("grid count") if is_list else 1
    if count * _GRID_RECORD > reader.left:
        raise _corrupt(f"{count} grids cannot be described in {reader.left} bytes")
    if some_frames and not solid:
        max_tokens = None
    offset = header_bytes + embedded
    tokens = 0
    grids = []
    for index in range(count):
        where = f"grid {index}" if is_list else "the grid"
        grid = _read_grid(reader, where)
        tokens += grid.tokens
        chunks = _read_chunks(reader, grid, offset, where, predicted=number != 0)
        if max_tokens is None or tokens <= max_tokens:
            grids.append(replace(grid, chunks=tuple(chunks)))
            offset += grids[-1].payload_bytes
        else:
            # Refused in the end: the rest is checked and counted, but nothing is kept of it.
            grids.clear()
            offset += sum(chunk.bytes for chunk in chunks)
    if reader.left:
        raise _corrupt(f"{reader.left} bytes are left over after the last field")
    if blob.nbytes < offset:
        raise TruncatedError(
            f"the blob is cut off: its header announces {offset} bytes, {blob.nbytes} are here"
        )
    if blob.nbytes > offset:
        raise TrailingDataError(f"{blob.nbytes - offset} bytes follow the end of the blob")
    if max_tokens is not None:
        check_limit(tokens, max_tokens)
    return BlobInfo(
        version=version,
        predictor=PREDICTORS[number],
        parameters=parameters,
        model=model,
        embedded_bytes=embedded,
        solid=solid,
        is_list=is_list,
        grids=tuple(grids),
        header_bytes=header_bytes,
        total_bytes=blob.nbytes,
        bundled=bundled,
        choice=choice,
    )


def check_limit(tokens: int, max_tokens: int) -> None:
    """LimitError if more tokens than allowed would have to be decoded."""
    if tokens > max_tokens:
        raise LimitError(
            f"{tokens} tokens would have to be decoded, but max_tokens is {max_tokens}; "
            f"if you trust this blob, pass max_tokens={tokens}"
        )


def _checked_fields(blob: BlobBytes) -> tuple[int, bytes, int]:
    """Version, the header's fields, their checksum already verified, and the header's length."""
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
    return version, header[reader.position :], end + 4


def _read_grid(reader: Reader, where: str) -> GridInfo:
    """A grid up to its chunk table, which has room in what is left."""
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
    return grid


def _read_chunks(
    reader: Reader, grid: GridInfo, offset: int, where: str, *, predicted: bool
) -> Iterator[ChunkInfo]:
    if grid.tokens == 0:
        return
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

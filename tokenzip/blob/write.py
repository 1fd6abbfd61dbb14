"""From coded chunks to the bytes of a blob. FORMAT.md describes the layout."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .choice import Choice, write_choice
from .fields import (
    FIRST_VERSION,
    FLAG_BUNDLED,
    FLAG_CHOICE,
    FLAG_EMBEDDED,
    FLAG_LIST,
    FLAG_MODEL,
    FLAG_SOLID,
    MAGIC,
    NEW_FLAGS,
    PREDICTORS,
    VERSION,
    write_dtype,
    write_shape,
)
from .varint import varint


@dataclass(frozen=True)
class CodedChunk:
    """A chunk's payload (stored: bit-packed; else predicted) and the CRC-32 of its tokens."""

    stored: bool
    payload: bytes
    token_crc: int

    @property
    def table_entry(self) -> bytes:
        # 0 says stored, whose length follows from the shape; else one more than the length.
        size = varint(0 if self.stored else len(self.payload) + 1)
        return size + _u32(zlib.crc32(self.payload)) + _u32(self.token_crc)


@dataclass(frozen=True)
class CodedGrid:
    """A grid ready to be written; chunk_frames is None when there is at most one chunk."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    alphabet: int
    chunk_frames: int | None
    chunks: tuple[CodedChunk, ...]

    @property
    def record(self) -> bytes:
        return b"".join(
            [
                write_dtype(self.dtype),
                write_shape(self.shape),
                varint(self.alphabet - 2),
                varint(self.chunk_frames or 0),
                *(chunk.table_entry for chunk in self.chunks),
            ]
        )

    @property
    def size(self) -> int:
        """Bytes that this grid adds to a blob."""
        return len(self.record) + sum(len(chunk.payload) for chunk in self.chunks)

    @property
    def all_stored(self) -> bool:
        return all(chunk.stored for chunk in self.chunks)


def write_blob(
    grids: Sequence[CodedGrid],
    *,
    is_list: bool,
    predictor: str = "stored",
    parameters: bytes = b"",
    model: bytes | None = None,
    embedded: bytes | None = None,
    solid: bool = False,
    bundled: int | None = None,
    choice: Choice | None = None,
) -> bytes:
    """The blob of these grids.

    If no chunk is predicted the blob is written as one of predictor "stored", whatever the
    predictor was that did not pay: decoding it then needs nothing but unpacking.

    model: the identity of the model that decoding needs. embedded: that model, packed. bundled:
    its number instead, if it comes with tokenzip. choice: what was tried.
    """
    if all(grid.all_stored for grid in grids):
        predictor, parameters, model, embedded, solid = "stored", b"", None, None, False
        bundled = choice = None
    note = b"" if choice is None else write_choice(choice)
    flags = FLAG_LIST * is_list | FLAG_SOLID * solid | FLAG_MODEL * (model is not None)
    flags |= FLAG_EMBEDDED * (embedded is not None)
    flags |= FLAG_BUNDLED * (bundled is not None) | FLAG_CHOICE * bool(note)
    body = [bytes([flags, PREDICTORS.index(predictor)]), varint(len(parameters)), parameters]
    if bundled is not None:
        body.append(varint(bundled))
    if model is not None:
        body.append(model)
    if embedded is not None:
        body.append(varint(len(embedded)))
    body.append(note)
    if is_list:
        body.append(varint(len(grids)))
    fields = b"".join(body + [grid.record for grid in grids])
    version = VERSION if flags & NEW_FLAGS else FIRST_VERSION
    header = MAGIC + bytes([version]) + varint(len(fields)) + fields
    payloads = (chunk.payload for grid in grids for chunk in grid.chunks)
    return b"".join([header, _u32(zlib.crc32(header)), embedded or b"", *payloads])


def _u32(value: int) -> bytes:
    return value.to_bytes(4, "little")

"""Reading .tkz files, for the commands that take them."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..codec import Codec, inspect
from ..errors import CorruptError, FileError
from ..files.formats import format_of_content
from ..files.named import Member, split_names
from ..files.read import STDIN, read_stdin
from ..files.reasons import os_error_text
from ..limits import DEFAULTS, Limits


@dataclass(frozen=True)
class Compressed:
    """A .tkz file, its names taken off.

    Attributes:
        members: the files in it, or None for a bare blob.
        blob: the blob, not yet looked at.
        size: length of the whole file.
        status: status of the file; None for standard input.
    """

    members: tuple[Member, ...] | None
    blob: bytes | memoryview
    size: int
    status: os.stat_result | None


def load(path: str, limits: Limits = DEFAULTS) -> Compressed:
    """Read a .tkz file, or standard input for "-". Raises FileError or BlobError naming it."""
    status: os.stat_result | None = None
    if path == STDIN:
        data = read_stdin()
    else:
        try:
            with open(path, "rb") as file:
                status = os.fstat(file.fileno())
                data = file.read()
        except OSError as error:
            raise FileError(f"{path}: cannot be read: {os_error_text(error)}") from error
        if not stat.S_ISREG(status.st_mode):
            status = None
    kind = format_of_content(data[:8])
    if kind is not None:
        raise FileError(f"{path}: is a .{kind} file, not compressed by tokenzip")
    members, blob = split_names(data, limits)
    return Compressed(members, blob, len(data), status)


def members_of(compressed: Compressed) -> tuple[Member, ...] | None:
    """The members, held against the number of grids in the blob's header. Raises BlobError."""
    if compressed.members is not None:
        named = sum(len(member.arrays) for member in compressed.members)
        grids = len(inspect(compressed.blob).grids)
        if named != grids:
            raise CorruptError(f"{named} names for {grids} arrays", where="names")
    return compressed.members


def decode_all(
    compressed: Compressed, codec: Codec, frames: slice | None = None
) -> list[np.ndarray[Any, Any]]:
    """All arrays of the blob, as a list even if it holds a single one. Raises BlobError."""
    decoded = codec.decode(compressed.blob, frames=frames)
    return decoded if isinstance(decoded, list) else [decoded]


def labels_of(members: Sequence[Member] | None, count: int) -> list[str]:
    """What to call each of `count` arrays: file and array name, or a number; "" if it is alone."""
    if members is None:
        return [""] if count == 1 else [f"arr_{i}" for i in range(count)]
    return ["/".join(p for p in (m.name, name) if p) for m in members for name in m.arrays]

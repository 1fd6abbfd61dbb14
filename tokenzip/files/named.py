"""The names around a blob: what a `.tkz` file holds where file name and blob do not say it all.

A blob holds arrays but no names. `clip.npy.tkz` needs none: it *is* the blob, and the file's own
name says what to restore. A .npz or .h5 file has names inside, and a solid set of files has many,
so there the blob follows a short preamble: a magic number, a version, and a compressed JSON object
with its length and CRC-32. FORMAT.md, section 13, has it byte by byte.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from ..blob.fields import NAMES_MAGIC
from ..errors import (
    CorruptError,
    FileError,
    LimitError,
    TruncatedError,
    UnsupportedVersionError,
)
from ..limits import DEFAULTS, Limits
from .formats import FORMATS, Format

VERSION = 1
_HEAD = struct.Struct("<4sBII")
NAMES_HEAD_BYTES = _HEAD.size

# Far more than any real set of names; little enough to be harmless.
MAX_NAMES_BYTES = DEFAULTS.json_bytes


@dataclass(frozen=True)
class Member:
    """One file in a `.tkz` file.

    Attributes:
        name: relative path with forward slashes, "" if the .tkz file's own name tells it.
        format: format of the file.
        arrays: names of its arrays, as many as it has grids in the blob.
    """

    name: str
    format: Format
    arrays: tuple[str, ...]


def is_plain_path(name: str) -> bool:
    """Whether `name` is a path of non-empty parts that stays below where it is joined to."""
    return "\0" not in name and all(part not in ("", ".", "..") for part in name.split("/"))


def is_safe_file_name(name: str) -> bool:
    """Whether a relative file name stays below its directory on every system."""
    return is_plain_path(name) and "\\" not in name and ":" not in name.split("/")[0]


def join_names(members: Sequence[Member], blob: bytes) -> bytes:
    """A `.tkz` file with names: preamble and blob. A member without a name must be alone.

    Raises FileError for a name that `split_names` would not take back.
    """
    entries: list[dict[str, Any]] = []
    for member in members:
        if member.name and not is_safe_file_name(member.name):
            raise FileError(f"the file name {member.name!r} cannot be kept; rename the file")
        for array in member.arrays:
            if array and not is_plain_path(array):
                raise FileError(f"the array name {array!r} cannot be kept; rename the array")
        entry: dict[str, Any] = {"name": member.name} if member.name else {}
        entries.append({**entry, "format": member.format, "arrays": list(member.arrays)})
    text = json.dumps({"files": entries}, ensure_ascii=False, separators=(",", ":"))
    content = text.encode("utf-8", "surrogateescape")
    if len(content) >= MAX_NAMES_BYTES:
        raise FileError(f"{len(content):,} bytes of names are too many; compress fewer at a time")
    packed = zlib.compress(content, 9)
    return _HEAD.pack(NAMES_MAGIC, VERSION, len(packed), zlib.crc32(packed)) + packed + blob


def split_names(
    data: bytes, limits: Limits = DEFAULTS
) -> tuple[tuple[Member, ...] | None, bytes | memoryview]:
    """Members and blob of a `.tkz` file's content; members are None where it is a bare blob.
    The blob is not copied.

    Whether the blob is one is left to decode or inspect. Raises UnsupportedVersionError,
    TruncatedError or CorruptError (`where` is "names") if the preamble is damaged, LimitError if
    the names take more than `limits.json_bytes`.
    """
    if not data.startswith(NAMES_MAGIC):
        return None, data
    if len(data) < _HEAD.size:
        raise TruncatedError("the file ends inside the preamble that holds its names")
    length, checksum = _checked_head(data)
    packed = data[_HEAD.size : _HEAD.size + length]
    if len(packed) < length:
        raise TruncatedError("the file ends inside the preamble that holds its names")
    if zlib.crc32(packed) != checksum:
        raise CorruptError("the file's names are damaged: wrong CRC-32", where="names")
    return _parse(packed, limits), memoryview(data)[_HEAD.size + length :]


def names_bytes(head: bytes) -> int:
    """Where the blob begins in a `.tkz` file whose first NAMES_HEAD_BYTES bytes these are."""
    if not head.startswith(NAMES_MAGIC):
        return 0
    if len(head) < _HEAD.size:
        raise TruncatedError("the file ends inside the preamble that holds its names")
    return _HEAD.size + _checked_head(head)[0]


def _checked_head(data: bytes) -> tuple[int, int]:
    """Length and CRC-32 of the packed names."""
    _, version, length, checksum = _HEAD.unpack_from(data)
    if version != VERSION:
        raise UnsupportedVersionError(
            f"the file's names are stored in version {version}, this tokenzip knows {VERSION}; "
            "update tokenzip"
        )
    return length, checksum


def _parse(packed: bytes, limits: Limits) -> tuple[Member, ...]:
    def bad(what: str) -> CorruptError:
        return CorruptError(f"the file's names make no sense: {what}", where="names")

    unzip = zlib.decompressobj()
    try:
        text = unzip.decompress(packed, limits.json_bytes + 1)
        limits.check("json_bytes", len(text), "bytes, at least, of the names in the file")
        complete = unzip.eof and not unzip.unused_data
        document = json.loads(text.decode("utf-8", "surrogateescape")) if complete else None
    except LimitError:
        raise
    except (zlib.error, ValueError, RecursionError) as error:
        raise bad(str(error)) from error
    if not isinstance(document, dict) or not isinstance(document.get("files"), list):
        raise bad("no list of files")
    members: list[Member] = []
    for entry in document["files"]:
        if not isinstance(entry, dict):
            raise bad("a file that is no object")
        name, kind, arrays = entry.get("name", ""), entry.get("format"), entry.get("arrays")
        if kind not in FORMATS:
            raise bad(f"unknown format {kind!r}")
        if not isinstance(name, str) or (name and not is_safe_file_name(name)):
            raise bad(f"unsafe file name {name!r}")
        if not isinstance(arrays, list) or not all(isinstance(a, str) for a in arrays):
            raise bad("array names that are no strings")
        if not arrays or len(set(arrays)) != len(arrays):
            raise bad("a file without arrays, or two arrays of the same name")
        if any(a and not is_plain_path(a) for a in arrays):
            raise bad("an unsafe array name")
        members.append(Member(name, cast(Format, kind), tuple(arrays)))
    names = [member.name for member in members]
    if not members or len(set(names)) != len(names) or (len(names) > 1 and "" in names):
        raise bad("files without names, or two of the same name")
    return tuple(members)

"""Records: what an archive is a sequence of. FORMAT.md, section 14, is their text.

A record is written once and never changed. Its head has a checksum of its own and says how long
the record is, so that a file can be read from record to record without any index.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..errors import ArchiveError, OptionError
from ..files.named import is_safe_file_name
from .bytesource import ByteSource

MAGIC = b"\xf7TKR"

CLIP, ATTRIBUTES, REMOVAL, MODEL, INDEX, VOID = 1, 2, 3, 4, 5, 6
KINDS = (CLIP, ATTRIBUTES, REMOVAL, MODEL, INDEX, VOID)

#: The record takes the place of one of the same name.
REPLACES = 1

#: magic, kind, flags, bytes of the name, of the attributes, of the body; CRC-32 of the body
_HEAD = struct.Struct("<4sBBHIQI")
_CRC = struct.Struct("<I")
HEAD_BYTES = _HEAD.size + _CRC.size

MAX_NAME_BYTES = 1024
#: Far more than any description of a clip; little enough to be harmless.
MAX_ATTRIBUTE_BYTES = 1 << 26

_SEARCH_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Record:
    """Where a record is, and what its head says.

    Attributes:
        start: of the head, from the beginning of the file.
        kind: one of KINDS.
        flags: REPLACES or 0.
        name: of the clip or model; "" for attributes of the archive and for an index.
        attributes: bytes of the attributes' text.
        body: bytes of the body.
        body_crc: their CRC-32.
    """

    start: int
    kind: int
    flags: int
    name: str
    attributes: int
    body: int
    body_crc: int

    @property
    def attributes_start(self) -> int:
        return self.start + HEAD_BYTES + len(self.name.encode())

    @property
    def body_start(self) -> int:
        return self.attributes_start + self.attributes

    @property
    def end(self) -> int:
        return self.body_start + self.body


def head_bytes(
    kind: int, name: str, attributes: bytes, body_bytes: int, body_crc: int, flags: int = 0
) -> bytes:
    """A record up to its body."""
    raw = name.encode()
    head = _HEAD.pack(MAGIC, kind, flags, len(raw), len(attributes), body_bytes, body_crc)
    crc = zlib.crc32(attributes, zlib.crc32(raw, zlib.crc32(head)))
    return head + _CRC.pack(crc) + raw + attributes


def read_record(source: ByteSource, start: int, size: int) -> Record | None:
    """The record that begins at `start` of a file of `size` bytes; None if there is none.

    Its head is whole and as it was written; its body is inside the file, but not checked.
    """
    fixed = source.read_at(start, HEAD_BYTES) if start + HEAD_BYTES <= size else b""
    if len(fixed) < HEAD_BYTES or not fixed.startswith(MAGIC):
        return None
    _, kind, flags, name_bytes, attributes, body, body_crc = _HEAD.unpack_from(fixed)
    end = start + HEAD_BYTES + name_bytes + attributes + body
    if (
        kind not in KINDS
        or flags & ~REPLACES
        or name_bytes > MAX_NAME_BYTES
        or attributes > MAX_ATTRIBUTE_BYTES
        or end > size
    ):
        return None
    texts = source.read_at(start + HEAD_BYTES, name_bytes + attributes)
    (crc,) = _CRC.unpack_from(fixed, _HEAD.size)
    if zlib.crc32(texts, zlib.crc32(fixed[: _HEAD.size])) != crc:
        return None
    try:
        name = texts[:name_bytes].decode()
    except UnicodeDecodeError:
        return None
    named = kind in (CLIP, REMOVAL, MODEL)
    if (named or name) and (kind in (INDEX, VOID) or not is_name(name)):
        return None
    return Record(start, kind, flags, name, attributes, body, body_crc)


def walk(source: ByteSource, start: int, size: int) -> Iterator[Record | tuple[int, int]]:
    """All records from `start` on; where there is none, (from, to) of what had to be skipped."""
    while start < size:
        record = read_record(source, start, size)
        if record is not None:
            yield record
            start = record.end
            continue
        found = _search(source, start + 1, size)
        yield start, found
        start = found


def _search(source: ByteSource, start: int, size: int) -> int:
    """Where the next record begins; `size` if nowhere."""
    while start < size:
        block = source.read_at(start, min(_SEARCH_BYTES + len(MAGIC) - 1, size - start))
        at = block.find(MAGIC)
        while at >= 0:
            if read_record(source, start + at, size) is not None:
                return start + at
            at = block.find(MAGIC, at + 1)
        start += _SEARCH_BYTES
    return size


def is_name(name: str) -> bool:
    """Whether a clip or model may be called so: a relative path that stays below its directory."""
    try:
        length = len(name.encode())
    except UnicodeEncodeError:
        return False
    return is_safe_file_name(name) and length <= MAX_NAME_BYTES


def check_name(name: Any) -> str:
    """The name of a clip, or OptionError."""
    if not isinstance(name, str) or not is_name(name):
        raise OptionError(
            f"a clip cannot be called {name!r}: names are text of 1 to {MAX_NAME_BYTES} bytes in "
            "UTF-8, parts between slashes, none of them empty, '.' or '..', no backslash"
        )
    return name


def attributes_text(attributes: Any, what: str) -> bytes:
    """Attributes as JSON; b"" if there are none. Raises OptionError for what JSON cannot hold."""
    if not attributes:
        return b""
    try:
        text = json.dumps(
            dict(attributes), separators=(",", ":"), allow_nan=False, default=_plain
        ).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise OptionError(f"the attributes of {what} do not go into JSON: {error}") from error
    if len(text) > MAX_ATTRIBUTE_BYTES:
        raise OptionError(
            f"the attributes of {what} take {len(text):,} bytes; at most {MAX_ATTRIBUTE_BYTES:,}"
        )
    return text


def parse_attributes(text: bytes, what: str) -> dict[str, Any]:
    """The attributes in a JSON text. Raises ArchiveError if it is none."""
    if not text:
        return {}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ArchiveError(f"the attributes of {what} are not JSON: {error}") from error
    if not isinstance(found, dict):
        raise ArchiveError(f"the attributes of {what} are not a JSON object")
    return found


def _plain(value: Any) -> Any:
    """numpy's numbers and arrays as Python's."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is not JSON")

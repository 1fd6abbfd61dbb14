"""The index at the end of an archive, and the page at its beginning that says where it is.

The index is a record, so that its bytes are checked like all others. Its body holds the rows of the
clips, their names, and HDF5's description of all that, which only other programs read.
"""

from __future__ import annotations

import json
import struct
import zlib
from typing import Any

import numpy as np

from ..errors import LimitError, NotAnArchiveError
from ..files.memory import physical_memory
from ..limits import DEFAULTS, Limits
from . import hdf5
from .bytesource import ByteSource
from .contents import ROW, Contents, Kind
from .records import (
    HEAD_BYTES,
    INDEX,
    MAX_ATTRIBUTE_BYTES,
    MAX_NAME_BYTES,
    Record,
    head_bytes,
    is_name,
    read_record,
)

#: Where the first record begins. Before it: superblock, locator, zeros.
START = 128

_LOCATOR_MAGIC = b"TKZARCH\x01"
_LOCATOR = struct.Struct("<8sQQ")  # magic, where the index record begins, number of clips
_CRC = struct.Struct("<I")
_LOCATOR_BYTES = _LOCATOR.size + _CRC.size
_PREFIX = struct.Struct("<QQQQ")  # clips, bytes of the catalog, of its JSON, address of the root

_FORMAT = "tokenzip archive 1"
_MAX_FRAMES = 1 << 60
#: Of the catalog besides names. A writer does not heed it: beyond it, readers walk.
_MAX_TEXT = 1 << 26


class BadIndexError(Exception):
    """Why there is no index to be used; never leaves the package."""


def first_page(index: int, clips: int, end: int, root: int) -> bytes:
    """The first START bytes of an archive, which make an index the valid one."""
    locator = _LOCATOR.pack(_LOCATOR_MAGIC, index, clips)
    page = hdf5.superblock(end, root) + locator + _CRC.pack(zlib.crc32(locator))
    return page.ljust(START, b"\0")


def is_archive(head: bytes) -> bool:
    """Whether a file that begins so was meant to be an archive, even if its page is damaged."""
    signs = (
        head.startswith(hdf5.SIGNATURE),
        head[hdf5.SUPERBLOCK_BYTES :].startswith(_LOCATOR_MAGIC),
        head[START : START + 4] == b"\xf7TKR",
    )
    return sum(signs) >= 2


def index_record(contents: Contents, start: int) -> tuple[bytes, int]:
    """The record, to begin at `start`, that stands for an archive; and the address of its root.

    All records before it, from START on, are the dataset `payload`.
    """
    rows = contents.rows()
    text = json.dumps(
        {
            "attrs": contents.attrs,
            "kinds": [[k.frame, k.dtype, k.alphabet, k.predictor] for k in contents.kinds],
            "names": list(contents),
            "changed": contents.changed,
            "models": contents.models,
        },
        separators=(",", ":"),
    ).encode()
    catalog = zlib.compress(text, 6)
    rows_at = start + HEAD_BYTES + _PREFIX.size
    catalog_at = rows_at + rows.nbytes
    headers = b""
    links: dict[str, int] = {}
    models: dict[str, int] = {}

    def add(header: bytes) -> int:
        nonlocal headers
        headers += header
        return catalog_at + len(catalog) + len(headers) - len(header)

    byte = hdf5.unsigned(1)
    fields = hdf5.compound([(str(n), ROW[str(n)].itemsize) for n in ROW.names or ()])
    shifted = rows.copy()
    shifted["offset"] -= START  # as others see it: places in the dataset `payload`
    links["payload"] = add(hdf5.Dataset(byte, 1, start - START, START).header())
    links["index"] = add(hdf5.Dataset(fields, ROW.itemsize, len(rows), rows_at).header())
    links["catalog"] = add(hdf5.Dataset(byte, 1, len(catalog), catalog_at).header())
    for identity, (offset, length, _) in contents.models.items():
        models[identity] = add(hdf5.Dataset(byte, 1, length, offset).header())
    links["models"] = add(hdf5.group(models))
    root = add(hdf5.group(links, {"format": _FORMAT}))
    prefix = _PREFIX.pack(len(rows), len(catalog), len(text), root)
    body = b"".join([prefix, shifted.tobytes(), catalog, headers])
    return head_bytes(INDEX, "", b"", len(body), zlib.crc32(body)) + body, root


def locate(source: ByteSource, size: int) -> tuple[int, int]:
    """(where the index record begins, number of clips) as the first page says."""
    page = source.read_at(0, START)
    locator = page[hdf5.SUPERBLOCK_BYTES :][:_LOCATOR_BYTES]
    if len(locator) < _LOCATOR_BYTES:
        raise BadIndexError("the file is cut off in its first bytes")
    magic, index, clips = _LOCATOR.unpack_from(locator)
    (crc,) = _CRC.unpack_from(locator, _LOCATOR.size)
    if magic[:-1] != _LOCATOR_MAGIC[:-1] or crc != zlib.crc32(locator[: _LOCATOR.size]):
        raise BadIndexError("the first page is damaged: wrong CRC-32")
    if magic != _LOCATOR_MAGIC:
        raise NotAnArchiveError(
            f"{source.name}: an archive of format version {magic[-1]}; this tokenzip reads "
            f"{_LOCATOR_MAGIC[-1]}: update tokenzip"
        )
    return index, clips


def read_index(
    source: ByteSource, start: int, size: int, limits: Limits = DEFAULTS
) -> tuple[Contents, Record]:
    """What the index record at `start` says, checked. Raises BadIndexError, LimitError."""
    record = read_record(source, start, size)
    if record is None or record.kind != INDEX:
        if start >= size:
            raise BadIndexError(
                f"the file is cut off: its index begins at {start:,}, it ends at {size:,}"
            )
        raise BadIndexError(f"there is no whole index at {start:,}")
    memory = physical_memory()
    if memory is not None and record.body > memory:
        raise BadIndexError(f"the index claims {record.body:,} bytes, more than fit in memory")
    body = source.read_at(record.body_start, record.body)
    if zlib.crc32(body) != record.body_crc:
        raise BadIndexError("the index is damaged: wrong CRC-32")
    contents = parse_index(body, start, limits)
    contents.end = record.end
    return contents, record


def parse_index(body: bytes, start: int, limits: Limits = DEFAULTS) -> Contents:
    """The contents in the body of an index record that begins at `start`.

    Raises BadIndexError, or LimitError for more clips or JSON than the limits allow.
    """
    if len(body) < _PREFIX.size:
        raise BadIndexError("the index is too short")
    count, catalog_bytes, text_bytes, _ = _PREFIX.unpack_from(body)
    rows_end = _PREFIX.size + count * ROW.itemsize
    if rows_end + catalog_bytes > len(body):
        raise BadIndexError(f"the index says that it holds {count:,} clips, for which it is short")
    limits.check("clips", count, "clips of the archive")
    rows = np.frombuffer(body, ROW, count, _PREFIX.size).copy()
    contents = Contents()
    try:
        if text_bytes > _MAX_TEXT + (MAX_NAME_BYTES + 64) * count:
            raise BadIndexError(f"the catalog claims {text_bytes:,} bytes, which is too much")
        beside = text_bytes - (MAX_NAME_BYTES + 64) * count
        limits.check("json_bytes", beside, "bytes, at least, that the catalog has beside names")
        catalog = _catalog(body[rows_end : rows_end + catalog_bytes], text_bytes)
        contents.attrs = _of_type(catalog["attrs"], dict)
        kinds = [_kind(item) for item in _of_type(catalog["kinds"], list)]
        names = _of_type(catalog["names"], list)
        changed = _of_type(catalog["changed"], dict)
        models = _of_type(catalog["models"], dict)
    except LimitError:
        raise
    except (KeyError, TypeError, ValueError, RecursionError, zlib.error) as error:
        raise BadIndexError(f"the index makes no sense: {error!r}") from error
    if not all(isinstance(name, str) and is_name(name) for name in names):
        raise BadIndexError("a clip's name is unsafe")
    different = set(names)
    if len(names) != count or len(different) != count:
        raise BadIndexError(f"{len(names):,} names for {count:,} clips, or two alike")
    if not all(isinstance(a, dict) and name in different for name, a in changed.items()):
        raise BadIndexError("attributes of no clip")
    room = max(0, start - START)
    if count:
        # As Python's integers or compared before they are added: sums of these could wrap around.
        inside = (rows["offset"] <= room) & (rows["length"] <= room)
        inside &= rows["length"] <= room - np.minimum(rows["offset"], room)
        inside &= (rows["attributes"] <= rows["offset"]) & (
            rows["attributes"] <= MAX_ATTRIBUTE_BYTES
        )
        if (
            not inside.all()
            or (rows["kind"] >= len(kinds)).any()
            or (rows["frames"] >= _MAX_FRAMES).any()
        ):
            number = int(np.argmin(inside))
            raise BadIndexError(f"the row of a clip, perhaps {names[number]!r}, is impossible")
    rows["offset"] += START
    contents.fill(kinds, names, rows)
    contents.changed = changed
    for identity, place in models.items():
        if not is_name(identity) or not _is_place(place, start):
            raise BadIndexError("a model's place is impossible")
        contents.models[identity] = (place[0], place[1], place[2])
    return contents


def _catalog(packed: bytes, text_bytes: int) -> dict[str, Any]:
    # zlib makes at most 1032 bytes of one: a claim beyond that is a lie.
    if text_bytes > 1032 * len(packed) + 64:
        raise ValueError("the catalog claims an impossible length")
    unzip = zlib.decompressobj()
    text = unzip.decompress(packed, text_bytes + 1)
    if len(text) != text_bytes or not unzip.eof or unzip.unused_data:
        raise ValueError("the catalog is not of the length it claims")
    catalog: dict[str, Any] = _of_type(json.loads(text), dict)
    return catalog


def _kind(item: Any) -> Kind:
    frame, dtype, alphabet, predictor = item
    if frame is not None:
        frame = tuple(_of_type(frame, list))
        if len(frame) > 31 or not all(type(n) is int and 0 <= n < _MAX_FRAMES for n in frame):
            raise ValueError("impossible shape of a frame")
    if np.dtype(_of_type(dtype, str)).kind not in "bui" or type(alphabet) is not int:
        raise ValueError("impossible dtype or alphabet")
    return Kind(frame, dtype, alphabet, _of_type(predictor, str))


def _of_type(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"{type(value).__name__} where {kind.__name__} belongs")
    return value


def _is_place(place: Any, start: int) -> bool:
    if not isinstance(place, list) or len(place) != 3 or not all(type(n) is int for n in place):
        return False
    offset, length, crc = place
    return bool(offset >= START and 0 <= length <= start - offset and 0 <= crc < 1 << 32)

"""Archives: opening them, with and without recovery, and reading all that is in them."""

from __future__ import annotations

import contextlib
import io
import json
import random
import struct
import zlib

import numpy as np

import tokenzip
from tokenzip.archive.index import START
from tokenzip.archive.records import HEAD_BYTES, INDEX, MAGIC
from tokenzip.errors import TokenzipError

from ..edits import edited, edited_json
from ..target import Target, WrongError
from . import blob

_HEAD = struct.Struct("<4sBBHIQI")
_LOCATOR = 48  # where the first page says where the index is


def run(data: bytes) -> bool:
    """Open and read. Whether every clip was good; a bad one must not hide the others."""
    good = True
    recover = bool(zlib.crc32(data) & 1)
    options = {"recover": recover, "max_tokens": blob.MOST_TOKENS}
    with tokenzip.open(io.BytesIO(data), **options) as archive:
        repr(archive.attrs)
        for name in archive:
            good &= _reads(archive, name)
        for identity in archive.models:
            with contextlib.suppress(TokenzipError):
                archive.models[identity]
    return good


def _reads(archive: tokenzip.Archive, name: str) -> bool:
    """Read one clip in three ways, which must agree; False if it cannot be read."""
    try:
        clip = archive[name]
        dict(clip.attrs)
        array = clip[...]
        if array.shape != clip.shape or array.dtype != clip.dtype:
            raise WrongError("a clip of another form than it says")
        if clip.shape and not np.array_equal(clip[1:3], array[1:3]):
            raise WrongError("frames that are not those of the whole clip")
        whole = clip.blob()
        info = tokenzip.inspect(whole)
    except TokenzipError:
        return False
    blob.check_array(info.grids[0], array)
    return True


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Damage to one record or to the first page, all checksums right again."""
    records = _records(data)
    kind = rng.randrange(12)
    if kind == 0 or not records:
        return edited(data, rng)
    if kind == 1:
        return _page(data, rng)
    if kind == 2:  # records gone, doubled, or in another order
        parts = [data[a:b] for a, b in records]
        rng.choice((rng.shuffle, lambda p: p.append(rng.choice(p)), lambda p: p.pop()))(parts)
        return data[:START] + b"".join(parts)
    start, end = rng.choice(records)
    if kind > 8:  # the index more often than the rest
        start, end = next(((a, b) for a, b in records if data[a + 4] == INDEX), (start, end))
    changed = _record(data[start:end], rng)
    return data[:start] + changed + data[end:]


def _records(data: bytes) -> list[tuple[int, int]]:
    """Where records begin and end, one behind the other."""
    found = []
    start = START
    while len(data) >= start + HEAD_BYTES and data[start : start + 4] == MAGIC:
        _, _, _, name, attributes, body, _ = _HEAD.unpack_from(data, start)
        end = start + HEAD_BYTES + name + attributes + body
        if end > len(data):
            break
        found.append((start, end))
        start = end
    return found


def _record(record: bytes, rng: random.Random) -> bytes:
    _, kind, flags, names, texts, _, _ = _HEAD.unpack_from(record)
    at = HEAD_BYTES
    name, text = record[at : at + names], record[at + names : at + names + texts]
    body = record[at + names + texts :]
    what = rng.randrange(6)
    if kind == INDEX and what < 5:
        body = _index(body, rng)
    elif what == 0:
        name = rng.choice((edited(name, rng), b"../x", b"/x", b"a\\b", b"\xff", b"a" * 1025))
    elif what == 1:
        with contextlib.suppress(ValueError):
            text = json.dumps(edited_json(json.loads(text or b"{}"), rng)).encode()
    elif what == 2:
        kind, flags = rng.randrange(8), rng.choice((0, 1, 2, 255))
    elif what == 3 and len(body) > 1:
        body = edited(body, rng)
    elif body:
        body = blob.mutate(body, rng)
    head = _HEAD.pack(MAGIC, kind, flags, len(name), len(text), len(body), zlib.crc32(body))
    crc = zlib.crc32(text, zlib.crc32(name, zlib.crc32(head)))
    return head + struct.pack("<I", crc) + name + text + body


def _index(body: bytes, rng: random.Random) -> bytes:
    """Rows or catalog of an index changed; lengths right again, mostly."""
    try:
        count, packed, _, root = struct.unpack_from("<QQQQ", body)
        rows, rest = body[32 : 32 + 36 * count], body[32 + 36 * count :]
        text = zlib.decompress(rest[:packed])
        catalog = json.loads(text)
    except (struct.error, zlib.error, ValueError, OverflowError):
        return edited(body, rng)
    kind = rng.randrange(4)
    if kind == 0:
        rows = edited(rows, rng)
    elif kind == 1:
        return edited(body[:32], rng)[:32].ljust(32, b"\0") + body[32:]
    else:
        text = json.dumps(edited_json(catalog, rng)).encode()
    new = zlib.compress(text, 1)
    prefix = struct.pack("<QQQQ", count, len(new), len(text), root)
    return prefix + rows + new + rest[packed:]


def _page(data: bytes, rng: random.Random) -> bytes:
    """The first page with another place or number, and a right checksum."""
    page = bytearray(data[:START])
    where = _LOCATOR + rng.choice((8, 16))
    number = rng.choice(
        (0, 1, START, len(data), len(data) - 1, 2**63, rng.randrange(len(data) + 9))
    )
    page[where : where + 8] = struct.pack("<Q", number)
    locator = bytes(page[_LOCATOR : _LOCATOR + 24])
    page[_LOCATOR + 24 : _LOCATOR + 28] = struct.pack("<I", zlib.crc32(locator))
    return bytes(page) + data[START:]


TARGET = Target("archive", run, mutate)

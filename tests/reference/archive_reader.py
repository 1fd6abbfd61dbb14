"""A second reader of archives, written from FORMAT.md section 14 alone; it knows nothing of the
package. Plain Python, and no tolerance: whatever the text does not allow is an AssertionError."""

from __future__ import annotations

import json
import struct
import zlib
from typing import Any

HEAD = struct.Struct("<4sBBHIQII")


def records(data: bytes) -> list[dict[str, Any]]:
    """All records, from byte 128 to the end."""
    found = []
    at = 128
    while at < len(data):
        magic, kind, flags, name, attributes, body, body_crc, head_crc = HEAD.unpack_from(data, at)
        assert magic == b"\xf7TKR" and kind in range(1, 7) and flags in (0, 1)
        texts = data[at + 28 : at + 28 + name + attributes]
        assert zlib.crc32(data[at : at + 24] + texts) == head_crc
        start = at + 28 + name + attributes
        assert zlib.crc32(data[start : start + body]) == body_crc
        found.append(
            {
                "at": at,
                "kind": kind,
                "flags": flags,
                "name": texts[:name].decode(),
                "attributes": json.loads(texts[name:] or b"{}"),
                "body": data[start : start + body],
            }
        )
        at = start + body
    assert at == len(data)
    return found


def by_walking(data: bytes) -> tuple[dict[str, tuple[bytes, dict]], dict[str, Any]]:
    """(blob and attributes of each clip, attributes of the archive), from the records."""
    clips: dict[str, tuple[bytes, dict]] = {}
    archive: dict[str, Any] = {}
    for record in records(data):
        name = record["name"]
        if record["kind"] == 1:
            assert (name in clips) == (record["flags"] == 1)
            clips.pop(name, None)
            clips[name] = (record["body"], record["attributes"])
        elif record["kind"] == 2 and name:
            clips[name] = (clips[name][0], record["attributes"])
        elif record["kind"] == 2:
            archive = record["attributes"]
        elif record["kind"] == 3:
            del clips[name]
    return clips, archive


def by_index(data: bytes) -> tuple[dict[str, tuple[bytes, dict]], dict[str, Any]]:
    """The same from the index."""
    magic, where, count, crc = struct.unpack_from("<8sQQI", data, 48)
    assert magic == b"TKZARCH\x01" and zlib.crc32(data[48:72]) == crc
    assert data[76:128] == bytes(52)
    (index,) = [record for record in records(data) if record["at"] == where]
    assert index["kind"] == 5 and index["name"] == ""
    body = index["body"]
    clips_, catalog_bytes, text_bytes, _ = struct.unpack_from("<QQQQ", body)
    assert clips_ == count
    at = 32 + 36 * count
    text = zlib.decompress(body[at : at + catalog_bytes])
    assert len(text) == text_bytes
    catalog = json.loads(text)
    clips = {}
    for number, name in enumerate(catalog["names"]):
        offset, length, _frames, _kind, crc, attributes = struct.unpack_from(
            "<QQQIII", body, 32 + 36 * number
        )
        blob = data[128 + offset : 128 + offset + length]
        assert zlib.crc32(blob) == crc
        found = json.loads(data[128 + offset - attributes : 128 + offset] or b"{}")
        clips[name] = (blob, catalog["changed"].get(name, found))
    assert len(clips) == count
    return clips, catalog["attrs"]

"""Blobs: tokenzip.decode, whole and in part, and tokenzip.inspect."""

from __future__ import annotations

import random
import struct
import zlib

import numpy as np

import tokenzip
from tokenzip.blob.varint import Reader, varint
from tokenzip.errors import BlobError, TokenzipError

from ..edits import NUMBERS, edited
from ..target import Target, WrongError

#: Enough for every seed; a lie is refused or done soon.
MOST_TOKENS = 4096


def run(data: bytes) -> bool:
    """Decode; what decodes has the checksums it claims, slices alike, and survives a round trip."""
    decoded = tokenzip.decode(data, max_tokens=MOST_TOKENS)
    info = tokenzip.inspect(data)
    arrays = decoded if isinstance(decoded, list) else [decoded]
    if info.is_list != isinstance(decoded, list) or len(arrays) != len(info.grids):
        raise WrongError("not as many arrays as the header says")
    for grid, array in zip(info.grids, arrays, strict=True):
        check_array(grid, array)
    again = tokenzip.decode(tokenzip.encode(decoded, predictor="stored"), max_tokens=MOST_TOKENS)
    if not same(decoded, again):
        raise WrongError("another array after a second round")
    if all(grid.shape for grid in info.grids):
        first = zlib.crc32(data) % 7
        part = slice(first, first + 1 + zlib.crc32(data) % 5)
        some = tokenzip.decode(data, max_tokens=MOST_TOKENS, frames=part)
        wanted = [array[part] for array in decoded] if info.is_list else decoded[part]
        if not same(some, wanted):
            raise WrongError("frames that are not those of the whole")
    return True


def check_array(grid: tokenzip.GridInfo, array: np.ndarray) -> None:
    """WrongError unless the array is what the header says, down to every checksum."""
    if array.shape != grid.shape or array.dtype != grid.dtype:
        raise WrongError("another shape or dtype than the header says")
    flat = array.reshape(array.shape or (1,))
    tokens = flat.astype("<u2")
    if (tokens != flat).any() or (tokens >= grid.alphabet).any():
        raise WrongError("a token outside of the alphabet")
    for chunk in grid.chunks:
        part = tokens[chunk.start : chunk.start + chunk.frames]
        if zlib.crc32(np.ascontiguousarray(part).tobytes()) != chunk.token_crc:
            raise WrongError("tokens with another checksum than the header says")


def same(a: object, b: object) -> bool:
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    assert isinstance(a, np.ndarray) and isinstance(b, np.ndarray)
    return a.dtype == b.dtype and a.shape == b.shape and bool((a == b).all())


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Damage to fields or payloads, with all checksums but those of tokens right again."""
    try:
        info = tokenzip.inspect(data)
        reader = Reader(data, 5)
        fields = reader.take(reader.varint("length"), "fields")
    except TokenzipError:
        return resealed(edited(data, rng), rng)
    rest = data[reader.position + 4 :]
    chunks = [chunk for grid in info.grids for chunk in grid.chunks]
    kind = rng.randrange(5)
    if kind == 0:
        return edited(data, rng)
    if kind <= 2 or not chunks:
        fields = edited_fields(fields, rng)
        return sealed(fields, edited(rest, rng) if rng.random() < 0.1 else rest, data[4])
    if kind == 3 and info.embedded_bytes:
        packed = rest[: info.embedded_bytes]
        position = rng.randrange(len(packed))
        changed = packed[:position] + rng.randbytes(1) + packed[position + 1 :]
        return sealed(fields, changed + rest[info.embedded_bytes :], data[4])
    chunk = rng.choice(chunks)
    start = chunk.offset - info.header_bytes
    payload = rest[start : start + chunk.bytes]
    changed = edited(payload, rng)
    # Mostly of the old length, so that what comes next stays where it was.
    if rng.random() < 0.8:
        changed = changed[: len(payload)].ljust(len(payload), b"\0")
    old = struct.pack("<II", chunk.payload_crc, chunk.token_crc)
    new = struct.pack("<II", zlib.crc32(changed), chunk.token_crc)
    fields = fields.replace(old, new)
    return sealed(fields, rest[:start] + changed + rest[start + chunk.bytes :], data[4])


def edited_fields(fields: bytes, rng: random.Random) -> bytes:
    """Fields with edits, some of which put another varint at some place."""
    if rng.random() < 0.4:
        at = rng.randrange(len(fields) + 1)
        number = varint(abs(rng.choice(NUMBERS)) % 2**63)
        return fields[:at] + number + fields[at + rng.randint(0, 2) :]
    return edited(fields, rng)


def sealed(fields: bytes, payload: bytes, version: int = 1) -> bytes:
    """A blob of these header fields with a right length and checksum."""
    header = b"\xf7TKZ" + bytes([version]) + varint(len(fields)) + fields
    return header + zlib.crc32(header).to_bytes(4, "little") + payload


def resealed(data: bytes, rng: random.Random) -> bytes:
    """Bytes that are no blob (any more) with the header's checksum where its length says."""
    try:
        reader = Reader(data, 5)
        length = reader.varint("length")
    except BlobError:
        return data
    end = reader.position + length
    if end > len(data):
        return sealed(data[reader.position :], b"", rng.choice((1, 2)))
    return data[:end] + zlib.crc32(data[:end]).to_bytes(4, "little") + data[end + 4 :]


TARGET = Target("blob", run, mutate)

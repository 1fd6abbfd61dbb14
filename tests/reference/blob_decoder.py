"""A second reader of blobs, written from FORMAT.md and not from the package's code.

Plain Python, one byte after the other, no numpy. It knows the header and stored chunks, and gives
the payloads of predicted chunks as bytes.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Grid:
    dtype: str = ""
    big_endian: bool = False
    shape: list[int] = field(default_factory=list)
    alphabet: int = 0
    chunk_frames: list[int] = field(default_factory=list)
    table: list[tuple[int, int, int]] = field(default_factory=list)
    tokens: list[Any] = field(default_factory=list)  # one list of tokens, or bytes, a chunk


@dataclass
class Blob:
    flags: int
    predictor: int
    parameters: bytes
    model: bytes | None
    embedded: bytes
    grids: list[Grid]
    version: int = 1
    bundled: int = 0  # number of a model; 0: none
    tried: int = 0  # tokens
    costs: list[tuple[int, int, int]] = field(default_factory=list)  # predictor, model, millibits


class Cursor:
    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data, self.at = data, at

    def byte(self) -> int:
        self.at += 1
        return self.data[self.at - 1]

    def bytes(self, count: int) -> bytes:
        self.at += count
        assert self.at <= len(self.data)
        return self.data[self.at - count : self.at]

    def u32(self) -> int:
        return int.from_bytes(self.bytes(4), "little")

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.byte()
            value += (byte % 128) << shift
            shift += 7
            if byte < 128:
                return value


def parse(data: bytes) -> Blob:
    cursor = Cursor(data)
    assert cursor.bytes(4) == bytes([0xF7, 0x54, 0x4B, 0x5A])
    version = cursor.byte()
    assert version in (1, 2)
    length = cursor.varint()
    end_of_fields = cursor.at + length
    checksum = int.from_bytes(data[end_of_fields : end_of_fields + 4], "little")
    assert zlib.crc32(data[:end_of_fields]) == checksum
    flags = cursor.byte()
    predictor = cursor.byte()
    parameters = cursor.bytes(cursor.varint())
    assert flags < (64 if version == 2 else 16) and (version == 2) == (flags >= 16)
    bundled = cursor.varint() if flags & 16 else 0
    model = cursor.bytes(32) if flags & 4 else None
    embedded_length = cursor.varint() if flags & 8 else 0
    tried, costs = read_note(cursor.bytes(cursor.varint())) if flags & 32 else (0, [])
    count = cursor.varint() if flags & 1 else 1
    grids = [read_grid(cursor) for _ in range(count)]
    assert cursor.at == end_of_fields
    cursor.at += 4
    embedded = cursor.bytes(embedded_length)
    for grid in grids:
        read_payloads(cursor, grid)
    assert cursor.at == len(data)
    return Blob(
        *(flags, predictor, parameters, model, embedded, grids, version, bundled, tried, costs)
    )


def read_note(data: bytes) -> tuple[int, list[tuple[int, int, int]]]:
    cursor = Cursor(data)
    tried, costs = cursor.varint(), []
    while cursor.at < len(data):
        costs.append((cursor.byte(), cursor.varint(), cursor.varint()))
    return tried, costs


def read_grid(cursor: Cursor) -> Grid:
    grid = Grid()
    code = cursor.byte()
    grid.big_endian = code >= 128
    names = ["bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]
    grid.dtype = names[code % 128]
    dimensions = cursor.byte()
    nibbles = "".join(f"{cursor.byte():02x}" for _ in range((dimensions + 1) // 2))
    for digit in nibbles[:dimensions]:
        size = int(digit, 16)
        grid.shape.append(size if size < 15 else 15 + cursor.varint())
    grid.alphabet = cursor.varint() + 2
    per_chunk = cursor.varint()
    frames = grid.shape[0] if grid.shape else 1
    if 0 in grid.shape:
        grid.chunk_frames = []
    elif per_chunk == 0:
        grid.chunk_frames = [frames]
    else:
        left = frames
        while 2 * left >= 3 * per_chunk:
            grid.chunk_frames.append(per_chunk)
            left -= per_chunk
        grid.chunk_frames.append(left)
    grid.table = [(cursor.varint(), cursor.u32(), cursor.u32()) for _ in grid.chunk_frames]
    return grid


def read_payloads(cursor: Cursor, grid: Grid) -> None:
    frame_tokens = 1
    for size in grid.shape[1:]:
        frame_tokens *= size
    width = 1
    while 2**width < grid.alphabet:
        width += 1
    for frames, (code, payload_crc, token_crc) in zip(grid.chunk_frames, grid.table, strict=True):
        count = frames * frame_tokens
        payload = cursor.bytes(code - 1 if code else -(-count * width // 8))
        assert zlib.crc32(payload) == payload_crc
        if code:
            grid.tokens.append(payload)
            continue
        number = int.from_bytes(payload, "big") >> (-count * width % 8)
        tokens = [number >> width * (count - 1 - i) & (2**width - 1) for i in range(count)]
        assert zlib.crc32(b"".join(t.to_bytes(2, "little") for t in tokens)) == token_crc
        grid.tokens.append(tokens)

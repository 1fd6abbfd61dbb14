"""Any blob to its tokens: which of the decoders a blob is for, and the adaptive one's chunks."""

from __future__ import annotations

import zlib
from math import prod
from typing import Any

from . import adaptive_decoder, blob_decoder, hybrid_decoder, network_decoder

STORED, ADAPTIVE, HYBRID = 0, 1, 4


def decode(data: bytes, model: network_decoder.Model | None = None) -> list[list[int]]:
    """The tokens of each grid, in C order; `model` is what the blob needs and does not bring."""
    blob = blob_decoder.parse(data)
    if blob.predictor == STORED:
        return [[t for chunk in grid.tokens for t in chunk] for grid in blob.grids]
    if blob.predictor == ADAPTIVE:
        return adaptive(blob)
    module = hybrid_decoder if blob.predictor == HYBRID else network_decoder
    return module.decode_blob(data, model)


def adaptive(blob: blob_decoder.Blob) -> list[list[int]]:
    """Section 8: one state for every chunk, or for all grids of a group."""
    assert blob.parameters == b"\1"
    solid = bool(blob.flags & 2)
    size: dict[Any, int] = {}
    for grid in blob.grids:
        size[group(grid)] = size.get(group(grid), 0) + prod(grid.shape)
    groups = {
        key: adaptive_decoder.Decoder(key[0], key[1], tokens)
        for key, tokens in size.items()
        if solid and tokens
    }
    found = []
    for grid in blob.grids:
        alphabet, frame = group(grid)
        tokens: list[int] = []
        for frames, what, (_, _, crc) in zip(
            grid.chunk_frames, grid.tokens, grid.table, strict=True
        ):
            largest = max(grid.chunk_frames) * prod(frame)
            if isinstance(what, bytes):
                decoder = (
                    groups[alphabet, frame]
                    if solid
                    else adaptive_decoder.Decoder(alphabet, frame, largest)
                )
                part = decoder.decode(what, frames, prod(frame))
            else:
                part = what
                if solid:
                    groups[alphabet, frame].observe(part)
            assert zlib.crc32(b"".join(token.to_bytes(2, "little") for token in part)) == crc
            assert all(token < alphabet for token in part)
            tokens += part
        found.append(tokens)
    return found


def group(grid: blob_decoder.Grid) -> tuple[int, tuple[int, ...]]:
    """Grids of one group share a state in a solid blob."""
    return grid.alphabet, tuple(grid.shape[1:])

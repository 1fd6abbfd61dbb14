"""What a blob's header says, as plain frozen dataclasses."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .choice import Choice
from .fields import bits_per_raw_token


def dtype_name(dtype: np.dtype[Any]) -> str:
    """numpy's short name, byte order included: bool, <u2, >i4."""
    return "bool" if dtype.kind == "b" else dtype.str


@dataclass(frozen=True, slots=True)
class ChunkInfo:
    """One run of frames that was coded as a unit.

    Attributes:
        kind: "stored" (bit-packed) or "predicted".
        start: its first frame.
        frames: number of frames.
        offset: where its payload begins, in bytes from the start of the blob.
        bytes: length of its payload.
        payload_crc: CRC-32 of the payload.
        token_crc: CRC-32 of the tokens as little-endian uint16 in C order.
    """

    kind: str
    start: int
    frames: int
    offset: int
    bytes: int
    payload_crc: int
    token_crc: int


@dataclass(frozen=True, slots=True)
class GridInfo:
    """One token grid.

    Attributes:
        shape: the shape that decode returns; axis 0 is time.
        dtype: the dtype that decode returns, byte order included.
        alphabet: number of symbols.
        chunk_frames: frames of every chunk but the last; None if there is at most one chunk.
        chunks: the chunks in order of time; none if the grid has no tokens.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    alphabet: int
    chunk_frames: int | None
    chunks: tuple[ChunkInfo, ...]

    @property
    def frames(self) -> int:
        """Number of frames; a grid of shape () counts as one frame of one token."""
        return self.shape[0] if self.shape else 1

    @property
    def frame(self) -> tuple[int, ...]:
        """Shape of one frame."""
        return self.shape[1:]

    @property
    def frame_tokens(self) -> int:
        return math.prod(self.frame)

    @property
    def largest_chunk_tokens(self) -> int:
        """Tokens of the largest chunk: of the last or, like all others, of the first one."""
        ends = (self.chunks[0].frames, self.chunks[-1].frames) if self.chunks else (0,)
        return max(ends) * self.frame_tokens

    @property
    def tokens(self) -> int:
        return math.prod(self.shape)

    @property
    def bits(self) -> int:
        """ceil(log2 alphabet): bits of one token when bit-packed."""
        return bits_per_raw_token(self.alphabet)

    @property
    def raw_bytes(self) -> int:
        """Size of the bit-packed tokens: what all ratios refer to."""
        return (self.tokens * self.bits + 7) // 8

    @property
    def payload_bytes(self) -> int:
        return sum(chunk.bytes for chunk in self.chunks)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able copy of all fields and sums."""
        return {
            "shape": list(self.shape),
            "dtype": dtype_name(self.dtype),
            "alphabet": self.alphabet,
            "tokens": self.tokens,
            "raw_bytes": self.raw_bytes,
            "payload_bytes": self.payload_bytes,
            "chunk_frames": self.chunk_frames,
            "chunks": [asdict(chunk) for chunk in self.chunks],
        }


@dataclass(frozen=True)
class BlobInfo:
    """Everything that a blob's header says; nothing is decoded to get it.

    Attributes:
        version: format version.
        predictor: name of the predictor of the chunks that are not stored; "stored" if all are.
        parameters: the predictor's own parameter bytes.
        model: identity (SHA-256) of the model that decoding needs; None if it needs none, or one
            that comes with tokenzip.
        embedded_bytes: size of that model inside the blob, right behind the header; 0: not there.
        solid: whether one coder state runs through all chunks.
        is_list: whether decode returns a list of arrays.
        grids: the token grids, in order.
        header_bytes: size of everything before the first payload.
        total_bytes: size of the blob.
        bundled: number of the model that decoding needs, if that comes with tokenzip; else None.
        choice: what the encoder tried before it chose this predictor, or None.
    """

    version: int
    predictor: str
    parameters: bytes
    model: bytes | None
    embedded_bytes: int
    solid: bool
    is_list: bool
    grids: tuple[GridInfo, ...]
    header_bytes: int
    total_bytes: int
    bundled: int | None = None
    choice: Choice | None = None

    @property
    def payload_bytes(self) -> int:
        return sum(grid.payload_bytes for grid in self.grids)

    @property
    def tokens(self) -> int:
        return sum(grid.tokens for grid in self.grids)

    @property
    def raw_bytes(self) -> int:
        """Size of all tokens bit-packed with ceil(log2 alphabet) bits each, grid by grid."""
        return sum(grid.raw_bytes for grid in self.grids)

    @property
    def ratio(self) -> float:
        """raw_bytes over total_bytes: above 1 is smaller than raw; 0.0 when there are no tokens."""
        return self.raw_bytes / self.total_bytes

    @property
    def bits_per_token(self) -> float | None:
        """Bits of the whole blob per token; None when there are no tokens."""
        return 8 * self.total_bytes / self.tokens if self.tokens else None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able copy of all fields and sums; bytes become hexadecimal text."""
        return {
            "version": self.version,
            "predictor": self.predictor,
            "parameters": self.parameters.hex(),
            "model": None if self.model is None else self.model.hex(),
            "embedded_bytes": self.embedded_bytes,
            "bundled": self.bundled,
            "choice": None if self.choice is None else self.choice.to_dict(),
            "solid": self.solid,
            "is_list": self.is_list,
            "header_bytes": self.header_bytes,
            "payload_bytes": self.payload_bytes,
            "total_bytes": self.total_bytes,
            "tokens": self.tokens,
            "raw_bytes": self.raw_bytes,
            "ratio": self.ratio,
            "bits_per_token": self.bits_per_token,
            "grids": [grid.to_dict() for grid in self.grids],
        }

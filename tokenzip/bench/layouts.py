"""Orders in which tokens can be written as bytes, for compressors that know nothing but bytes.

Each layout turns a list of grids into bytes and back. Tokens take one byte when the alphabet fits
into one, else two, little-endian; the packed layouts take ceil(log2 A) bits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tokenzip.blob.fields import bits_per_raw_token
from tokenzip.predictors.stored import pack, packed_size, unpack

Grid = npt.NDArray[np.uint16]  # (T, *frame)


@dataclass(frozen=True)
class Layout:
    """One way of writing tokens.

    ``by_position``: all frames of the first position, then of the second ...: comma.ai's way, good
    for video, where a position repeats itself; otherwise frame after frame. ``form``: "words",
    "planes" (all low bytes, then all high bytes) or "packed" (no unused bits).
    """

    by_position: bool
    form: str

    @property
    def name(self) -> str:
        order = "position" if self.by_position else "frame"
        return order if self.form == "words" else f"{order} {self.form}"

    def to_bytes(self, grids: Sequence[Grid], alphabet: int) -> bytes:
        """All grids, one after another."""
        return b"".join(self._write(grid, alphabet) for grid in grids)

    def from_bytes(
        self, data: bytes, shapes: Sequence[tuple[int, ...]], alphabet: int
    ) -> list[Grid]:
        """The grids again, uint16; ``shapes`` are those of the grids that were written."""
        grids, start = [], 0
        for shape in shapes:
            size = self.size([shape], alphabet)
            grids.append(self._read(data[start : start + size], shape, alphabet))
            start += size
        if start != len(data):
            raise ValueError(f"{len(data)} bytes where the shapes ask for {start}")
        return grids

    def size(self, shapes: Sequence[tuple[int, ...]], alphabet: int) -> int:
        """Bytes of grids of these shapes."""
        bits = bits_per_raw_token(alphabet) if self.form == "packed" else 8 * _width(alphabet)
        return sum(packed_size(math.prod(shape), bits) for shape in shapes)

    def _write(self, grid: Grid, alphabet: int) -> bytes:
        frames = grid.reshape(len(grid), -1) if grid.size else grid.reshape(0, 1)
        flat = np.ascontiguousarray(frames.T if self.by_position else frames).ravel()
        if self.form == "packed":
            return pack(flat, bits_per_raw_token(alphabet))
        words = flat.astype(f"<u{_width(alphabet)}")
        if self.form == "planes":
            words = words.view(np.uint8).reshape(-1, _width(alphabet)).T
        written: bytes = words.tobytes()
        return written

    def _read(self, data: bytes, shape: tuple[int, ...], alphabet: int) -> Grid:
        tokens = math.prod(shape)
        raw = np.frombuffer(data, dtype=np.uint8)
        if tokens == 0:
            return np.zeros(shape, dtype=np.uint16)
        if self.form == "packed":
            flat = unpack(data, tokens, bits_per_raw_token(alphabet))
        else:
            if self.form == "planes":
                raw = np.ascontiguousarray(raw.reshape(-1, tokens).T).ravel()
            flat = raw.view(f"<u{_width(alphabet)}")
        if self.by_position:
            flat = flat.reshape(-1, shape[0]).T
        return np.ascontiguousarray(flat).reshape(shape).astype(np.uint16)


def layouts_for(alphabet: int) -> list[Layout]:
    """The layouts worth trying: with one byte a token, planes and words are the same."""
    forms = ["words", "planes", "packed"] if _width(alphabet) == 2 else ["words", "packed"]
    return [Layout(by_position, form) for by_position in (True, False) for form in forms]


def layout_named(name: str) -> Layout:
    """The layout whose ``name`` this is; ValueError if there is none."""
    for layout in layouts_for(65536):
        if layout.name == name:
            return layout
    raise ValueError(f"no layout is called {name!r}")


def _width(alphabet: int) -> int:
    return 1 if alphabet <= 256 else 2

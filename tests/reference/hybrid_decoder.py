"""A second decoder of hybrid blobs, written from FORMAT.md section 10.8 and not from the package.

It puts together the two that were written from sections 9 and 10. Its own constants are read from
the table of 10.8.
"""

from __future__ import annotations

import re
import zlib
from math import prod
from typing import Any

from . import adaptive_decoder as adaptive
from . import blob_decoder
from . import network_decoder as network
from .network_decoder import Corrupt, Model, need

__all__ = ["Corrupt", "constants", "decode_blob"]


def constants() -> dict[str, int]:
    """Those of section 9.1, with the rows | `NAME` | value | of section 10.8."""
    text = adaptive.FORMAT.read_text(encoding="utf-8")
    section = text.partition("\n### 10.8 ")[2].partition("\n## 11. ")[0]
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \|$", section, re.MULTILINE)
    changed = {name: adaptive.number(value) for name, value in rows}
    assert changed and set(changed) < set(adaptive.C)
    return adaptive.C | changed


CONSTANTS = constants()


class Layout:
    """What section 9 calls rows, columns, planes, symbols and classes."""

    def __init__(self, model: Model, tokens: int) -> None:
        sizes = network.Sizes(model.spec)
        self.symbols, self.planes = sizes.symbols, sizes.planes
        self.rows, self.columns = model.spec["height"], model.spec["width"] * sizes.planes
        self.positions = self.rows * self.columns
        self.split = sizes.alphabet > CONSTANTS["LARGEST_WHOLE"]
        self.step = 2 if self.split else 1
        if sizes.sites > 1:
            self.step = sizes.planes
        self.classes = CONSTANTS["CLASSES" if self.planes == 1 else "CLASSES_OF_A_PLANE"]
        if self.symbols <= CONSTANTS["LARGEST_IDENTITY"]:
            self.classes = self.symbols
        self.learns = self.classes < self.symbols
        self.to_come = tokens * (2 if self.split else 1)
        self.family = "video"
        if self.rows == 1:
            self.family = "stream" if self.columns == self.step else "row"


class Mixer(adaptive.Mixer):
    """The state of chunks that follow one another, made for so many tokens."""

    def __init__(self, model: Model, tokens: int) -> None:
        super().__init__(Layout(model, tokens), CONSTANTS)


class Chunk(network.Chunk):
    """One chunk: what the network says of a symbol goes through the mixer.

    known: the tokens, where the chunk is stored and only teaches the mixer.
    """

    def __init__(
        self,
        model: Model,
        payload: bytes,
        frames: int,
        mixer: Mixer,
        known: list[int] | None = None,
    ) -> None:
        self.mixer, self.known = mixer, known
        self.so_far: list[int] = []
        super().__init__(model, payload, frames)

    def number_of_lanes(self) -> int:
        return 1 if self.known is not None else super().number_of_lanes()

    def decode(self) -> list[int]:
        tokens = super().decode()
        self.mixer.segments.append(self.so_far)
        return tokens

    def decode_frame(self, t: int) -> None:
        self.mixer.begin_block(self.so_far)
        self.so_far += [-1] * self.mixer.layout.positions
        self.rows_of: dict[int, Any] = {}
        super().decode_frame(t)
        self.mixer.end_block(self.so_far, dict(sorted(self.rows_of.items())))

    def read(self, t: int, site: int, p: int, scores: list[int]) -> int:
        top = max(scores)
        mass = sum(network.EXP2[min(top - score, 1601)] for score in scores)
        above = top + adaptive.lg(mass) - 24 * 64
        plain = [min(above - score, CONSTANTS["MOST_STEPS"]) for score in scores]
        i = t * self.mixer.layout.positions + site * self.sizes.planes + p

        def symbol(i: int, freq: list[int]) -> int:
            if self.known is not None:
                return self.symbol_of(self.known, i)
            cumulative = [sum(freq[:s]) for s in range(len(freq) + 1)]
            return network.decode_symbol(self.lane_of(site), cumulative)

        self.so_far[i], self.rows_of[i] = self.mixer.code(self.so_far, i, plain, symbol)
        return self.so_far[i]

    def symbol_of(self, tokens: list[int], i: int) -> int:
        """Symbol i of tokens."""
        half = self.sizes.half
        return divmod(tokens[i // 2], 2**half)[i % 2] if half else tokens[i]


def decode_blob(data: bytes, model: Model | None = None) -> list[list[int]]:
    """The tokens of each grid, in C order; the embedded model serves where `model` is None."""
    blob = blob_decoder.parse(data)
    need(blob.predictor == 4 and blob.parameters == b"\1")
    if blob.flags & 8:
        assert blob.model is not None
        model = network.read_embedded(blob.embedded, blob.model)
    assert model is not None
    need(blob.model in (None, model.identity()))  # None: the caller knows the number's model
    size: dict[Any, int] = {}
    for grid in blob.grids:
        size[group(grid)] = size.get(group(grid), 0) + prod(grid.shape)
    mixers: dict[Any, Mixer] = {}
    found = []
    for grid in blob.grids:
        spec = model.spec
        need(grid.alphabet <= spec["alphabet"])
        frame = network.frame_of(grid.shape[1:])
        need(frame == (spec["height"], spec["width"], spec["codebooks"]))
        tokens = []
        for frames, what, (_, _, crc) in zip(
            grid.chunk_frames, grid.tokens, grid.table, strict=True
        ):
            if blob.flags & 2:
                mixer = mixers.setdefault(group(grid), Mixer(model, size[group(grid)]))
            else:
                mixer = Mixer(model, max(grid.chunk_frames) * prod(grid.shape[1:]))
            if isinstance(what, bytes):
                part = Chunk(model, what, frames, mixer).decode()
            elif blob.flags & 2:
                part = Chunk(model, b"", frames, mixer, what).decode()
                assert part == what
            else:
                part = what
            need(all(token < grid.alphabet for token in part))
            need(zlib.crc32(b"".join(token.to_bytes(2, "little") for token in part)) == crc)
            tokens += part
        found.append(tokens)
    return found


def group(grid: blob_decoder.Grid) -> Any:
    """Grids of one group share a state in a solid blob."""
    return grid.alphabet, tuple(grid.shape[1:])

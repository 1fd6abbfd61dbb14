"""A second decoder of hybrid blobs, written from FORMAT.md sections 10.8 and 10.10 and not from the
package.

It puts together the two that were written from sections 9 and 10. Its own constants are read from
the table of 10.8.
"""

from __future__ import annotations

import re
import zlib
from math import isqrt, prod
from typing import Any

from . import adaptive_decoder as adaptive
from . import blob_decoder
from . import network_decoder as network
from .network_decoder import Corrupt, Model, need

__all__ = ["Corrupt", "constants", "decode_blob"]


def constants(version: int) -> dict[str, int]:
    """Those of section 9.1, with the rows | `NAME` | value | of 10.8 and, in version 2, 10.10."""
    text = adaptive.FORMAT.read_text(encoding="utf-8")
    found = dict(adaptive.C)
    for section in ("10.8", "10.10")[:version]:
        part = text.partition(f"\n### {section} ")[2].partition("\n##")[0]
        rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \|$", part, re.MULTILINE)
        changed = {name: adaptive.number(value) for name, value in rows}
        assert changed and set(changed) < set(adaptive.C)
        found |= changed
    return found


CONSTANTS = {version: constants(version) for version in (1, 2)}


class Layout:
    """What section 9 calls rows, columns, planes, symbols and classes."""

    def __init__(self, model: Model, tokens: int) -> None:
        sizes = network.Sizes(model.spec)
        self.symbols, self.planes = sizes.symbols, sizes.planes
        self.rows, self.columns = model.spec["height"], model.spec["width"] * sizes.planes
        self.positions = self.rows * self.columns
        self.split = sizes.alphabet > adaptive.C["LARGEST_WHOLE"]
        self.step = 2 if self.split else 1
        if sizes.sites > 1:
            self.step = sizes.planes
        self.classes = adaptive.C["CLASSES" if self.planes == 1 else "CLASSES_OF_A_PLANE"]
        if self.symbols <= adaptive.C["LARGEST_IDENTITY"]:
            self.classes = self.symbols
        self.learns = self.classes < self.symbols
        self.to_come = tokens * (2 if self.split else 1)
        self.family = "video"
        if self.rows == 1:
            self.family = "stream" if self.columns == self.step else "row"


class Mixer(adaptive.Mixer):
    """The state of chunks that follow one another, made for so many tokens.

    heads: the layers of the planes' heads, where they learn.
    """

    def __init__(self, model: Model, tokens: int, version: int) -> None:
        super().__init__(Layout(model, tokens), CONSTANTS[version])
        self.heads, self.version = None, version
        if version < 2:
            return
        planes, sizes = range(self.layout.planes), network.Sizes(model.spec)
        if -(-32 // sizes.sites) * sizes.sites * sizes.planes * sizes.symbols <= 2**26:
            self.heads = [LearningHead(model, p) for p in planes]
        if self.layout.learns:
            self.class_of = [classes_of_embedding(model, z, self.layout.classes) for z in planes]

    def begin_block(self, symbols: list[int]) -> None:
        if self.version < 2:
            super().begin_block(symbols)


def classes_of_embedding(model: Model, z: int, classes: int) -> list[int]:
    """The classes of plane z in version 2 (10.10)."""
    symbols = network.Sizes(model.spec).symbols
    rows = model.tensors["embedding"].rows()[z * (symbols + 1) :][:symbols]
    table = [row[:64] for row in rows]
    sums = [sum(column) for column in zip(*table, strict=True)]
    vectors = [
        {f: symbols * v - total for f, (v, total) in enumerate(zip(row, sums, strict=True))}
        for row in table
    ]
    for vector in vectors:
        adaptive.normalise(vector)
    label = [-1] * symbols
    for k in range(classes):
        label[k * symbols // classes] = k
    return adaptive.after_rounds(vectors, label, classes)


class LearningHead(network.Layer):
    """A layer head.p whose weights follow the tokens (10.10)."""

    def __init__(self, model: Model, p: int) -> None:
        super().__init__(model, f"head.{p}")
        sizes = network.Sizes(model.spec)
        output = network.Layer(model, f"output.{p}")
        symbols, hidden = sizes.symbols, len(self.weight)
        self.period = -(-32 // sizes.sites)
        self.most = min(2**15 - 1, 2**23 // (self.period * sizes.sites))
        self.columns = list(zip(*output.weight, strict=True))
        top = max(1, *output.multiplier)
        self.share = [min((u << 15) // top, 2**15 - 1) for u in output.multiplier]
        pairs = zip(output.weight[:symbols], self.share, strict=False)
        squares = sum((v * share) ** 2 for row, share in pairs for v in row)
        strength = isqrt((squares << 32) // (symbols * hidden))
        site_bias = model.tensors[f"head.{p}.site_bias"].rows()
        largest_bias = [max(map(abs, column)) for column in zip(*site_bias, strict=True)]
        self.rate = []
        for j, multiplier in enumerate(self.multiplier):
            largest = 2**14 * len(self.weight[j]) + abs(self.bias[j]) + largest_bias[j]
            safe = largest < 2**31 and multiplier * largest + 2**self.shift <= 2**62
            divisor = strength * multiplier
            rate = min(2 ** (50 + self.shift) // divisor, 2**28 - 1) if safe and divisor else 0
            self.rate.append(rate)
        self.weight = [list(row) for row in self.weight]
        self.fine = [[weight << 16 for weight in row] for row in self.weight]
        self.first = self.fine.copy()
        self.waiting = [[0] * len(row) for row in self.fine]

    def collect(
        self, x: int, freq: list[int], candidates: list[int], inputs: list[int], z: list[int]
    ) -> None:
        """What a symbol, coded by the table freq, adds to the sums that wait to be learned."""
        error = [(f - (2**24 if n == x else 0) + 2**9) >> 10 for n, f in enumerate(freq)]
        error += [error[y] if y < len(freq) else 0 for y in candidates]
        weighed = [
            network.clip((e * share + 2**14) >> 15, -16319, 16319)
            for e, share in zip(error, self.share, strict=True)
        ]
        for j, column in enumerate(self.columns):
            if not 0 < z[j] < 127:
                continue
            total = sum(e * v for e, v in zip(weighed, column, strict=True))
            step = network.clip((total * self.rate[j] + 2**31) >> 32, -self.most, self.most)
            if step:
                self.waiting[j] = [
                    s + step * v for s, v in zip(self.waiting[j], inputs, strict=True)
                ]

    def learn(self) -> None:
        for j, rate in enumerate(self.rate):
            if rate > 0:
                self.fine[j] = [
                    network.clip(fine - total - ((fine - first) >> 9), -(2**23), 127 * 2**16)
                    for fine, total, first in zip(
                        self.fine[j], self.waiting[j], self.first[j], strict=True
                    )
                ]
                self.weight[j] = [(fine + 2**15) >> 16 for fine in self.fine[j]]
            self.waiting[j] = [0] * len(self.waiting[j])


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
        if mixer.heads is not None:
            self.head = list(mixer.heads)

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
        heads = self.mixer.heads
        if heads and ((t + 1) % heads[0].period == 0 or t + 1 == self.frames):
            for head in heads:
                head.learn()

    def scores(self, t: int, site: int, p: int, body: list[int]) -> list[int]:
        self.body_output = body
        return super().scores(t, site, p, body)

    def read(self, t: int, site: int, p: int, scores: list[int]) -> int:
        top = max(scores)
        mass = sum(network.EXP2[min(top - score, 1601)] for score in scores)
        above = top + adaptive.lg(mass) - 24 * 64
        plain = [min(above - score, adaptive.C["MOST_STEPS"]) for score in scores]
        i = t * self.mixer.layout.positions + site * self.sizes.planes + p

        def symbol(i: int, freq: list[int]) -> int:
            x = known_or_read(i, freq)
            if self.mixer.heads is not None:
                self.teach(self.mixer.heads[p], t, site, p, x, freq)
            return x

        def known_or_read(i: int, freq: list[int]) -> int:
            if self.known is not None:
                return self.symbol_of(self.known, i)
            cumulative = [sum(freq[:s]) for s in range(len(freq) + 1)]
            return network.decode_symbol(self.lane_of(site), cumulative)

        self.so_far[i], self.rows_of[i] = self.mixer.code(self.so_far, i, plain, symbol)
        return self.so_far[i]

    def teach(self, head: LearningHead, t: int, site: int, p: int, x: int, freq: list[int]) -> None:
        inputs = self.body_output + self.head_inputs(t, site, p)
        sums = [a + b for a, b in zip(head.sums(inputs), self.site_bias[p][site], strict=True)]
        z = [network.clip(v, 0, 127) for v in head.scaled(sums)]
        candidates = [self.at(t, site, place)[p] for place in self.features["candidates"]]
        head.collect(x, freq, candidates, inputs, z)

    def symbol_of(self, tokens: list[int], i: int) -> int:
        """Symbol i of tokens."""
        half = self.sizes.half
        return divmod(tokens[i // 2], 2**half)[i % 2] if half else tokens[i]


def decode_blob(data: bytes, model: Model | None = None) -> list[list[int]]:
    """The tokens of each grid, in C order; the embedded model serves where `model` is None."""
    blob = blob_decoder.parse(data)
    need(blob.predictor == 4 and blob.parameters in (b"\1", b"\2"))
    version = blob.parameters[0]
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
                mixer = mixers.setdefault(group(grid), Mixer(model, size[group(grid)], version))
            else:
                mixer = Mixer(model, max(grid.chunk_frames) * prod(grid.shape[1:]), version)
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

"""A second decoder of network payloads and models, written from FORMAT.md section 10 alone.

Plain Python integers and lists, no numpy, no numba, no torch, and slow. `decode_blob` gives the
tokens of all grids of a blob of predictor 2 or 3; `read_model_file` and `read_embedded` read its
model.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import isqrt, prod
from operator import mul
from typing import Any

from . import blob_decoder, range_decoder

FAMILIES = {2: "lstm", 3: "conv3d"}
ITEM_SIZE = {"int8": 1, "int16": 2, "int32": 4}
CODE = {"I8": "int8", "I16": "int16", "I32": "int32"}  # of safetensors
TOTAL = 2**24 - 2


class Corrupt(Exception):
    """What the text calls invalid."""


def need(truth: bool) -> None:
    if not truth:
        raise Corrupt


def clip(value: int, low: int, high: int) -> int:
    return min(max(value, low), high)


# Models (10.1)


@dataclass
class Tensor:
    dtype: str
    shape: tuple[int, ...]
    entries: list[int]  # in C order

    def rows(self) -> list[list[int]]:
        """The entries as rows of the last dimension."""
        size = self.shape[-1]
        return [self.entries[i : i + size] for i in range(0, len(self.entries), size)]


def split_half(alphabet: int) -> int:
    """Bits of the second symbol of a token; 0 where a token is one symbol."""
    return (alphabet - 1).bit_length() // 2 if alphabet > 4096 else 0


class Sizes:
    """The letters of the tables of 10.1."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.alphabet = spec["alphabet"]
        self.sites = spec["height"] * spec["width"]
        self.half = split_half(self.alphabet)
        self.planes = spec["codebooks"] * (2 if self.half else 1)
        self.symbols = self.alphabet
        if self.half:
            self.symbols = max(2**self.half, ((self.alphabet - 1) >> self.half) + 1)
        self.embedding, self.state = spec["embedding"], spec["state"]
        self.squeeze, self.hidden = spec["squeeze"], spec["hidden"]
        features = spec["features"]
        p, e, d = self.planes, self.embedding, self.state
        own = p if p > 1 else 0
        self.inputs = (len(features["window"]) * p + 1) * e + len(features["past"]) * p
        self.body = d if spec["family"] == "lstm" else 4 * d
        self.head = (len(features["neighbours"]) * p + own) * e + len(features["now"]) * p + own
        self.candidates = len(features["candidates"])


def layers(spec: dict[str, Any]) -> dict[str, tuple[int, int]]:
    """(outputs, inputs) of every layer."""
    s = Sizes(spec)
    d, q = s.state, s.squeeze
    if spec["family"] == "lstm":
        found = {"lstm": (4 * d, s.inputs + d)}
    else:
        found = {
            "window": (2 * d, s.inputs),
            "time_near": (2 * d, 3 * d),
            "time_far": (2 * d, 3 * d),
            "squeeze": (q, d),
            "space": (2 * d, d + 9 * q),
        }
    for p in range(s.planes):
        found[f"head.{p}"] = (s.hidden, s.body + s.head)
        found[f"output.{p}"] = (s.symbols + s.candidates, s.hidden)
    return found


def tensors_of(spec: dict[str, Any]) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Dtype and shape of every tensor, in the order of their names."""
    s = Sizes(spec)
    found: dict[str, tuple[str, tuple[int, ...]]] = {
        "embedding": ("int8", (s.planes, s.symbols + 1, s.embedding)),
        "position": ("int8", (s.sites, s.embedding)),
        "sigmoid": ("int16", (4095,)),
        "tanh": ("int16", (4095,)),
    }
    for name, (outputs, inputs) in layers(spec).items():
        found[f"{name}.weight"] = ("int8", (outputs, inputs))
        found[f"{name}.bias"] = ("int32", (outputs,))
        found[f"{name}.multiplier"] = ("int32", (outputs,))
        found[f"{name}.shift"] = ("int32", ())
    for p in range(s.planes):
        found[f"head.{p}.site_bias"] = ("int32", (s.sites, s.hidden))
    return dict(sorted(found.items()))


@dataclass
class Model:
    spec: dict[str, Any]
    tensors: dict[str, Tensor]

    def identity(self) -> bytes:
        digest = hashlib.sha256(b"tokenzip-model 1\n")
        text = json.dumps(self.spec, sort_keys=True, separators=(",", ":"))
        digest.update(text.encode() + b"\n")
        for name in sorted(self.tensors):
            tensor = self.tensors[name]
            digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
            size = ITEM_SIZE[tensor.dtype]
            for entry in tensor.entries:
                digest.update(entry.to_bytes(size, "little", signed=True))
        return digest.digest()

    def check(self) -> None:
        """The shapes of the tables, and no overflow."""
        expected = tensors_of(self.spec)
        need(list(expected) == sorted(self.tensors))
        for name, (dtype, shape) in expected.items():
            tensor = self.tensors[name]
            need((tensor.dtype, tensor.shape) == (dtype, shape))
            need(len(tensor.entries) == prod(shape))
        for name in layers(self.spec):
            self.check_layer(name)

    def check_layer(self, name: str) -> None:
        bias = [abs(b) for b in self.tensors[f"{name}.bias"].entries]
        if name.startswith("head."):
            sites = self.tensors[f"{name}.site_bias"].rows()
            bias = [b + max(abs(row[m]) for row in sites) for m, b in enumerate(bias)]
        shift = self.tensors[f"{name}.shift"].entries[0]
        need(1 <= shift <= 40)
        rows = self.tensors[f"{name}.weight"].rows()
        for row, most, factor in zip(
            rows, bias, self.tensors[f"{name}.multiplier"].entries, strict=True
        ):
            largest = 128 * sum(map(abs, row)) + most
            need(largest < 2**31)
            need(factor >= 0)
            need(largest * factor + 2**shift <= 2**62)


def entries_of(data: bytes, dtype: str) -> list[int]:
    size = ITEM_SIZE[dtype]
    return [
        int.from_bytes(data[i : i + size], "little", signed=True) for i in range(0, len(data), size)
    ]


def read_model_file(data: bytes) -> Model:
    """A safetensors file: u64 length, JSON of that length, then the tensors' bytes."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    metadata = header.pop("__metadata__")
    need(metadata["format"] == "tokenzip-model")
    need(metadata["version"] == "1")
    body = data[8 + length :]
    tensors = {}
    for name, record in header.items():
        dtype = CODE[record["dtype"]]
        begin, end = record["data_offsets"]
        tensors[name] = Tensor(dtype, tuple(record["shape"]), entries_of(body[begin:end], dtype))
    model = Model(json.loads(metadata["spec"]), tensors)
    model.check()
    need(model.identity().hex() == metadata["identity"])
    return model


# Embedded models (10.7)


def read_embedded(data: bytes, identity: bytes) -> Model:
    cursor = blob_decoder.Cursor(data)
    version = cursor.byte()
    need(version in (1, 2))
    text = unpack(cursor.bytes(cursor.varint()))
    need(len(text) <= 2**20)
    spec = json.loads(text)
    expected = tensors_of(spec)
    need(sum(prod(shape) for _, shape in expected.values()) <= 2**26)
    tensors = {}
    for name, (dtype, shape) in expected.items():
        if dtype == "int8" and version == 2:
            entries = read_matrix(cursor, prod(shape), shape[-1])
        elif dtype == "int8":
            packed = unpack(cursor.bytes(cursor.varint()))
            entries = read_weights(cursor, packed, prod(shape))
        else:
            packed = unpack(cursor.bytes(cursor.varint()))
            entries = entries_of(interleave(packed, ITEM_SIZE[dtype]), dtype)
            if dtype == "int16" and version == 2:
                entries = from_differences(entries)
        tensors[name] = Tensor(dtype, shape, entries)
    need(cursor.at == len(data))
    model = Model(spec, tensors)
    model.check()
    need(model.identity() == identity)
    return model


def unpack(stream: bytes) -> bytes:
    inflater = zlib.decompressobj()
    data = inflater.decompress(stream)
    need(inflater.eof and not inflater.unused_data)
    return data


def read_weights(cursor: blob_decoder.Cursor, packed: bytes, count: int) -> list[int]:
    need(len(packed) == 4 * 257)
    cumulative = [int.from_bytes(packed[i : i + 4], "little") for i in range(0, 4 * 257, 4)]
    need(cumulative[0] == 0 and cumulative[-1] == TOTAL)
    need(all(a < b for a, b in pairwise(cumulative)))
    lane = range_decoder.Decoder([cursor.u32() for _ in range(cursor.varint())])
    return [decode_symbol(lane, cumulative) - 128 for _ in range(count)]


def from_differences(seconds: list[int]) -> list[int]:
    """The int16 numbers whose second differences these are."""
    numbers = [0, 0]
    for second in seconds:
        number = (second + 2 * numbers[-1] - numbers[-2]) % 2**16
        numbers.append(number - 2**16 if number >= 2**15 else number)
    return numbers[2:]


class Decisions:
    """Yes or no, by chances that are counted."""

    def __init__(self, lane: range_decoder.Decoder) -> None:
        self.lane = lane
        self.counts: dict[tuple[str, int, int], list[int]] = {}

    def ask(self, *what: Any) -> int:
        counts = self.counts.setdefault(what, [0, 0])
        yes = TOTAL * (2 * counts[1] + 1) // (2 * sum(counts) + 2)
        answer = decode_symbol(self.lane, [0, TOTAL - yes, TOTAL])
        counts[answer] += 1
        if sum(counts) == 1024:
            counts[:] = [count >> 1 for count in counts]
        return answer

    def coin(self) -> int:
        return decode_symbol(self.lane, [0, TOTAL - (2**23 - 1), TOTAL])


def read_matrix(cursor: blob_decoder.Cursor, count: int, columns: int) -> list[int]:
    grid = cursor.byte()
    need(1 <= grid <= 128)
    lane = range_decoder.Decoder([cursor.u32() for _ in range(cursor.varint())])
    decisions = Decisions(lane)
    row, column = 256, [256] * columns
    weights = []
    for i in range(count):
        mean = row + column[i % columns]
        size = mean.bit_length()
        level = 4 * size + ((mean >> (size - 3)) % 4 if size >= 3 else 0)
        digits = 0
        while digits < 8 and decisions.ask("digits", level, digits):
            digits += 1
        magnitude = min(digits, 1)
        for _ in range(digits - 1):
            magnitude = 2 * magnitude + decisions.ask("bit", digits, magnitude)
        negative = magnitude > 0 and decisions.coin()
        weights.append(grid * (-magnitude if negative else magnitude))
        need(-128 <= weights[-1] <= 127)
        row += (256 * magnitude - row) >> 5
        column[i % columns] += (256 * magnitude - column[i % columns]) >> 5
    return weights


def interleave(planes: bytes, size: int) -> bytes:
    """The first bytes of all entries, the second bytes ...: back to entry after entry."""
    count = len(planes) // size
    return bytes(planes[b * count + i] for i in range(count) for b in range(size))


def decode_symbol(lane: range_decoder.Decoder, cumulative: list[int]) -> int:
    symbol = lane.decode(cumulative)
    need(symbol >= 0)
    return symbol


# Layers (10.3)


class Layer:
    def __init__(self, model: Model, name: str) -> None:
        self.weight = model.tensors[f"{name}.weight"].rows()
        self.bias = model.tensors[f"{name}.bias"].entries
        self.multiplier = model.tensors[f"{name}.multiplier"].entries
        self.shift = model.tensors[f"{name}.shift"].entries[0]

    def sums(self, x: list[int]) -> list[int]:
        return [b + sum(map(mul, row, x)) for row, b in zip(self.weight, self.bias, strict=True)]

    def scaled(self, sums: list[int]) -> list[int]:
        half = 2 ** (self.shift - 1)
        return [(v * m + half) >> self.shift for v, m in zip(sums, self.multiplier, strict=True)]

    def dense(self, x: list[int], low: int, high: int = 127) -> list[int]:
        return [clip(v, low, high) for v in self.scaled(self.sums(x))]

    def arguments(self, x: list[int]) -> list[int]:
        return self.dense(x, -2047, 2047)


class Curves:
    """SIGMOID and TANH."""

    def __init__(self, model: Model) -> None:
        self._sigmoid = model.tensors["sigmoid"].entries
        self._tanh = model.tensors["tanh"].entries

    def sigmoid(self, v: int) -> int:
        return self._sigmoid[v + 2047]

    def tanh(self, v: int) -> int:
        return self._tanh[v + 2047]

    def gated(self, layer: Layer, x: list[int]) -> list[int]:
        v = layer.arguments(x)
        pairs = zip(v[: len(v) // 2], v[len(v) // 2 :], strict=True)
        return [min((self.sigmoid(o) * self.tanh(g) + 2**22) >> 23, 127) for o, g in pairs]


# Bodies (10.4)


class Lstm:
    def __init__(self, model: Model) -> None:
        self.curves = Curves(model)
        self.layer = Layer(model, "lstm")
        size, sites = model.spec["state"], model.spec["height"] * model.spec["width"]
        self.h = [[0] * size for _ in range(sites)]
        self.c = [[0] * size for _ in range(sites)]

    def frame(self, inputs: list[list[int]]) -> list[list[int]]:
        for site, x in enumerate(inputs):
            self.step(site, x)
        return self.h

    def step(self, site: int, x: list[int]) -> None:
        sigmoid, tanh = self.curves.sigmoid, self.curves.tanh
        v = self.layer.arguments(x + self.h[site])
        size = len(v) // 4
        for k, c in enumerate(self.c[site]):
            i, f, o, g = v[k], v[size + k], v[2 * size + k], v[3 * size + k]
            c = (sigmoid(f) * c + ((sigmoid(i) * tanh(g)) >> 3) + 2**14) >> 15
            c = clip(c, -32767, 32767)
            self.c[site][k] = c
            inner = clip(c >> 4, -2047, 2047)
            self.h[site][k] = min((sigmoid(o) * tanh(inner) + 2**22) >> 23, 127)


class Conv3d:
    def __init__(self, model: Model) -> None:
        self.curves = Curves(model)
        names = ["window", "time_near", "squeeze", "space", "time_far"]
        self.layers = {name: Layer(model, name) for name in names}
        self.height, self.width = model.spec["height"], model.spec["width"]
        zero = [[0] * model.spec["state"] for _ in range(self.height * self.width)]
        self.outside = [0] * model.spec["squeeze"]
        self.a = [zero] * 3  # the newest first
        self.c = [zero] * 7

    def frame(self, inputs: list[list[int]]) -> list[list[int]]:
        gated, layers = self.curves.gated, self.layers
        sites = range(self.height * self.width)
        self.a = [[gated(layers["window"], x) for x in inputs], *self.a[:-1]]
        near = self.a
        b = [gated(layers["time_near"], near[0][s] + near[1][s] + near[2][s]) for s in sites]
        q = [layers["squeeze"].dense(values, -127) for values in b]
        c = [gated(layers["space"], b[s] + self.around(q, s)) for s in sites]
        self.c = [c, *self.c[:-1]]
        far = self.c
        d = [gated(layers["time_far"], far[0][s] + far[3][s] + far[6][s]) for s in sites]
        return [near[0][s] + b[s] + c[s] + d[s] for s in sites]

    def around(self, q: list[list[int]], site: int) -> list[int]:
        row, column = divmod(site, self.width)
        found: list[int] = []
        for y in (row - 1, row, row + 1):
            for x in (column - 1, column, column + 1):
                inside = 0 <= y < self.height and 0 <= x < self.width
                found += q[y * self.width + x] if inside else self.outside
        return found


# Head (10.5)


def _root64(power: int) -> int:
    """floor(2^(power / 64))."""
    value = 1 << power
    for _ in range(6):
        value = isqrt(value)
    return value


EXP2 = [*((_root64(1600 - d) + 1) // 2 for d in range(1601)), 0]


def cumulative_counts(score: list[int]) -> list[int]:
    top = max(score)
    weights = [EXP2[min(top - s, 1601)] for s in score]
    factor = ((TOTAL - len(score)) << 32) // sum(weights)
    counts = [1 + ((w * factor) >> 32) for w in weights]
    counts[score.index(top)] += TOTAL - sum(counts)
    cumulative = [0]
    for count in counts:
        cumulative.append(cumulative[-1] + count)
    return cumulative


# Chunks (10.2, 10.4 to 10.6)


class Chunk:
    """Decodes one chunk: the symbols of its frames, plane after plane of site after site."""

    def __init__(self, model: Model, payload: bytes, frames: int) -> None:
        spec = model.spec
        self.sizes = sizes = Sizes(spec)
        self.height, self.width = spec["height"], spec["width"]
        self.features = spec["features"]
        self.frames = frames
        self.none = sizes.symbols
        self.embedding = model.tensors["embedding"].rows()
        self.position = model.tensors["position"].rows()
        self.body = Lstm(model) if spec["family"] == "lstm" else Conv3d(model)
        planes = range(sizes.planes)
        self.head = [Layer(model, f"head.{p}") for p in planes]
        self.site_bias = [model.tensors[f"head.{p}.site_bias"].rows() for p in planes]
        self.output = [Layer(model, f"output.{p}") for p in planes]
        self.symbols: list[list[list[int]]] = []  # [frame][site][plane]
        self.lanes = lanes_of(payload, self.number_of_lanes())

    def number_of_lanes(self) -> int:
        every = self.frames * self.sizes.sites * self.sizes.planes
        return max(1, min(self.height, 8, every // 2048))

    def decode(self) -> list[int]:
        for t in range(self.frames):
            self.decode_frame(t)
        for lane in self.lanes:
            need(next(lane.words, None) is None)
        return [token for frame in self.symbols for site in frame for token in self.tokens(site)]

    def tokens(self, planes: list[int]) -> list[int]:
        half = self.sizes.half
        if not half:
            return planes
        for low in planes[1::2]:
            need(low < 2**half)
        return [(h << half) + low for h, low in zip(planes[::2], planes[1::2], strict=True)]

    def decode_frame(self, t: int) -> None:
        sizes = self.sizes
        self.symbols.append([[self.none] * sizes.planes for _ in range(sizes.sites)])
        body = self.body.frame([self.inputs(t, site) for site in range(sizes.sites)])
        for wave in self.wavefronts():
            for p in range(sizes.planes):
                for site in wave:
                    scores = self.scores(t, site, p, body[site])
                    self.symbols[t][site][p] = self.read(t, site, p, scores)

    def read(self, t: int, site: int, p: int, scores: list[int]) -> int:
        """The symbol with these scores."""
        return decode_symbol(self.lane_of(site), cumulative_counts(scores))

    def lane_of(self, site: int) -> range_decoder.Decoder:
        return self.lanes[site // self.width % len(self.lanes)]

    def wavefronts(self) -> Iterator[list[int]]:
        """The sites of each wavefront, by rising rows."""
        for number in range(self.width + 2 * (self.height - 1)):
            at = [(y, number - 2 * y) for y in range(self.height)]
            yield [y * self.width + x for y, x in at if 0 <= x < self.width]

    def at(self, t: int, site: int, place: list[int]) -> list[int]:
        """The symbols of the planes at a place."""
        back, down, right = place
        y, x = divmod(site, self.width)
        y, x, t = y + down, x + right, t - back
        if t < 0 or not 0 <= y < self.height or not 0 <= x < self.width:
            return [self.none] * self.sizes.planes
        return self.symbols[t][y * self.width + x]

    def embedded(self, t: int, site: int, place: list[int]) -> list[int]:
        found: list[int] = []
        for p, symbol in enumerate(self.at(t, site, place)):
            found += self.embedding[p * (self.none + 1) + symbol]
        return found

    def equal(self, t: int, site: int, pair: list[list[int]]) -> list[int]:
        one, other = (self.at(t, site, place) for place in pair)
        return [64 * (a == b != self.none) for a, b in zip(one, other, strict=True)]

    def inputs(self, t: int, site: int) -> list[int]:
        x: list[int] = []
        for place in self.features["window"]:
            x += self.embedded(t, site, place)
        x += self.position[site]
        for pair in self.features["past"]:
            x += self.equal(t, site, pair)
        return x

    def head_inputs(self, t: int, site: int, p: int) -> list[int]:
        x: list[int] = []
        planes, size = self.sizes.planes, self.sizes.embedding
        for place in self.features["neighbours"]:
            x += self.embedded(t, site, place)
        if planes > 1:
            x += self.embedded(t, site, [0, 0, 0])[: p * size] + [0] * ((planes - p) * size)
        for pair in self.features["now"]:
            x += self.equal(t, site, pair)
        if planes > 1:
            x += self.equal(t, site, [[0, 0, 0], [1, 0, 0]])[:p] + [0] * (planes - p)
        return x

    def scores(self, t: int, site: int, p: int, body: list[int]) -> list[int]:
        head, output = self.head[p], self.output[p]
        sums = head.sums(body + self.head_inputs(t, site, p))
        sums = [v + b for v, b in zip(sums, self.site_bias[p][site], strict=True)]
        z = [clip(v, 0, 127) for v in head.scaled(sums)]
        v = output.dense(z, -8191, 8191)
        score = v[: self.none]
        for j, place in enumerate(self.features["candidates"]):
            symbol = self.at(t, site, place)[p]
            if symbol != self.none:
                score[symbol] += v[self.none + j]
        return score


def lanes_of(payload: bytes, count: int) -> list[range_decoder.Decoder]:
    need(len(payload) % 4 == 0)
    words = [int.from_bytes(payload[i : i + 4], "little") for i in range(0, len(payload), 4)]
    need(len(words) >= count - 1)
    numbers, words = words[: count - 1], words[count - 1 :]
    need(sum(numbers) <= len(words))
    lanes = []
    for number in [*numbers, len(words) - sum(numbers)]:
        lanes.append(range_decoder.Decoder(words[:number]))
        words = words[number:]
    return lanes


# Blobs


def frame_of(shape: list[int]) -> tuple[int, int, int]:
    """Height, width and codebooks of a frame shape (10.2)."""
    if not shape:
        return 1, 1, 1
    if len(shape) == 1:
        return (1, 1, shape[0]) if shape[0] <= 32 else (1, shape[0], 1)
    if len(shape) == 2:
        return shape[0], shape[1], 1
    if shape[-1] <= 32:
        return prod(shape[:-2]), shape[-2], shape[-1]
    return prod(shape[:-1]), shape[-1], 1


def decode_blob(data: bytes, model: Model | None = None) -> list[list[int]]:
    """The tokens of each grid, in C order; the embedded model serves where `model` is None."""
    blob = blob_decoder.parse(data)
    need(blob.predictor in FAMILIES and blob.parameters == b"\1")
    need(blob.flags & 2 == 0)
    if blob.flags & 8:
        assert blob.model is not None
        embedded = read_embedded(blob.embedded, blob.model)
        model = model or embedded
    assert model is not None
    need(blob.model in (None, model.identity()))  # None: the caller knows the number's model
    need(model.spec["family"] == FAMILIES[blob.predictor])
    return [decode_grid(grid, model) for grid in blob.grids]


def decode_grid(grid: blob_decoder.Grid, model: Model) -> list[int]:
    spec = model.spec
    need(grid.alphabet <= spec["alphabet"])
    need(frame_of(grid.shape[1:]) == (spec["height"], spec["width"], spec["codebooks"]))
    found = []
    for frames, what, (_, _, crc) in zip(grid.chunk_frames, grid.tokens, grid.table, strict=True):
        tokens = Chunk(model, what, frames).decode() if isinstance(what, bytes) else what
        need(all(token < grid.alphabet for token in tokens))
        need(zlib.crc32(b"".join(token.to_bytes(2, "little") for token in tokens)) == crc)
        found += tokens
    return found

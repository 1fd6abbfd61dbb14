"""Models: model files (safetensors), and packed ones as they stand in blobs and archives."""

from __future__ import annotations

import json
import random
import struct
import zlib

import numpy as np

import tokenzip
from tokenzip.blob.varint import Reader, varint
from tokenzip.errors import ModelError, TokenzipError
from tokenzip.models import Model, Spec, packed

from ..edits import NUMBERS, edited, edited_json
from ..target import Target, WrongError

#: Far more than any seed has.
LIMITS = tokenzip.Limits(model_weights=2**20)
#: A model that does more for a token is only loaded.
MOST_MACS = 100_000
#: A model is run once in so many times.
RUN = 4


def run(data: bytes) -> bool:
    """Load; what loads is the same after a round trip, and codes without loss."""
    model = packed.unpack(data, LIMITS) if data[:1] in (b"\1", b"\2") else Model.from_bytes(data)
    if zlib.crc32(data) % RUN == 0:
        if Model.from_bytes(model.to_bytes()).identity != model.identity:
            raise WrongError("another model after writing it")
        if packed.unpack(packed.pack(model)).identity != model.identity:
            raise WrongError("another model after packing it")
        code_with(model)
    return True


def code_with(model: Model) -> None:
    """Encode and decode a few frames, if the model is a small one."""
    spec = model.spec
    g = spec.geometry
    if spec.macs["total"] * g.frame_tokens > MOST_MACS or g.alphabet > 2048:
        return
    rng = np.random.default_rng(1)
    few = rng.integers(0, min(g.alphabet, 3), (8, g.height, g.width, g.codebooks))
    # A frame shape of this geometry, if there is one.
    shapes = [s for s in _shapes(model) if type(g).of(s, g.alphabet) == g]
    for shape in shapes[:1]:
        tokens = few.reshape(8, *shape)
        for predictor in (spec.family, "hybrid"):
            blob = tokenzip.encode(tokens, alphabet=g.alphabet, model=model, predictor=predictor)
            if not np.array_equal(tokenzip.decode(blob, model=model), tokens):
                raise WrongError("a model that loses tokens")


def _shapes(model: Model) -> list[tuple[int, ...]]:
    g = model.spec.geometry
    return [(g.height, g.width), (g.codebooks,), (g.width,), (g.height, g.width, g.codebooks)]


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Damage to spec or weights, with lengths and (of files) the identity right again."""
    if rng.random() < 0.1:
        return edited(data, rng)
    if data[:1] in (b"\1", b"\2"):
        return _packed(data, rng)
    return _file(data, rng)


def _packed(data: bytes, rng: random.Random) -> bytes:
    try:
        reader = Reader(data, 1)
        text = zlib.decompress(reader.take(reader.varint("spec"), "spec"))
        spec = json.loads(text)
    except (TokenzipError, zlib.error, ValueError):
        return edited(data, rng)
    rest = data[reader.position :]
    if rng.random() < 0.5:
        text = json.dumps(edited_json(spec, rng)).encode()
    else:
        rest = edited(rest, rng)
    new = zlib.compress(text, 1)
    return data[:1] + varint(len(new)) + new + rest


def _file(data: bytes, rng: random.Random) -> bytes:
    try:
        (length,) = struct.unpack_from("<Q", data)
        header = json.loads(data[8 : 8 + length])
        metadata = header["__metadata__"]
    except (struct.error, ValueError, KeyError, TypeError):
        return edited(data, rng)
    body = data[8 + length :]
    kind = rng.randrange(4)
    if kind == 0:
        header = edited_json(header, rng)
    elif kind == 1:
        try:
            spec = json.dumps(edited_json(json.loads(metadata["spec"]), rng))
            header = {**header, "__metadata__": {**metadata, "spec": spec}}
        except (ValueError, KeyError, TypeError):
            pass
    else:
        # Of the same length: tensors must fill the file. Small ones first: biases, shifts.
        name = rng.choice([key for key in header if key != "__metadata__"] or [""])
        try:
            first, last = header[name]["data_offsets"]
            if not 0 <= first <= last <= len(body):
                raise ValueError("a place that an edit made")
            part = edited(body[first:last], rng)[: last - first].ljust(last - first, b"\x7f")
            if rng.random() < 0.3 and last - first >= 4:
                number = rng.choice(NUMBERS) % 2**32
                part = struct.pack("<I", number) + part[4:]
            body = body[:first] + part + body[last:]
        except (KeyError, TypeError, ValueError):
            pass
    text = json.dumps(header).encode()
    changed = struct.pack("<Q", len(text)) + text + body
    return _identified(changed, header) if rng.random() < 0.8 else changed


def _identified(data: bytes, header: dict) -> bytes:
    """The same file with the identity that it has, if it is a model."""
    import safetensors.numpy

    try:
        metadata = header["__metadata__"]
        spec = Spec.from_dict(json.loads(metadata["spec"]))
        model = Model(spec, safetensors.numpy.load(data))
    except (ModelError, ValueError, KeyError, TypeError):
        return data
    except Exception:  # safetensors' own, in Rust
        return data
    text = json.dumps({**header, "__metadata__": {**metadata, "identity": model.identity.hex()}})
    (length,) = struct.unpack_from("<Q", data)
    return struct.pack("<Q", len(text.encode())) + text.encode() + data[8 + length :]


class ModelTarget(Target):
    def seeds(self) -> list[bytes]:
        """Packed ones are committed; their files are made of them."""
        committed = super().seeds()
        return committed + [packed.unpack(data).to_bytes() for data in committed]

    def prepare(self) -> None:
        super().prepare()
        for data in super().seeds():
            code_with(packed.unpack(data))


TARGET = ModelTarget("model", run, mutate, most_bytes=3 << 28)

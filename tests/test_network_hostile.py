"""Network blobs and models made to do harm: a TokenzipError each time, in little memory and time.

The patterns are those of test_hostile.py, which holds the other predictors to the same.
"""

from __future__ import annotations

import json
import time
import tracemalloc
import zlib
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any

import numpy as np
import pytest
from network_cases import FAMILIES, calm_tokens, tiny_model
from test_hostile import consistent, mutate, opened, sealed

import tokenzip
from tokenzip.blob import CodedChunk, CodedGrid, write_blob
from tokenzip.blob.varint import Reader, varint
from tokenzip.errors import (
    BlobError,
    CorruptError,
    MissingModelError,
    ModelError,
    ModelFormatError,
    TokenzipError,
    TruncatedError,
    UnsupportedVersionError,
)
from tokenzip.models import Model
from tokenzip.models.magnitudes import encode_matrix
from tokenzip.models.packed import VERSIONS, pack, unpack

LIMIT = 4096
FRAME, ALPHABET = (2, 3), 11


@cache
def model_of(family: str) -> Model:
    return tiny_model(family, FRAME, ALPHABET, coarse=True)


@pytest.fixture(params=FAMILIES)
def model(request: pytest.FixtureRequest) -> Model:
    return model_of(request.param)


def small_grid() -> np.ndarray:
    return calm_tokens((30, *FRAME), ALPHABET, dtype="int16")


@pytest.fixture(params=["alone", "hybrid", "solid"])
def how(request: pytest.FixtureRequest) -> str:
    """The network alone, or the hybrid, chunk by chunk or solid."""
    return request.param


def predictor_of(model: Model, how: str) -> str:
    return model.spec.family if how == "alone" else "hybrid"


def small_blob(model: Model, how: str) -> bytes:
    blob = tokenzip.encode(
        [small_grid(), small_grid() > 4],
        model=model,
        predictor=predictor_of(model, how),
        solid=how == "solid",
        chunk_frames=15,
    )
    assert {chunk.kind for chunk in tokenzip.inspect(blob).grids[0].chunks} == {"predicted"}
    return blob


def decode(blob: bytes, model: Model) -> list[np.ndarray] | None:
    """The arrays of a blob; None if it was refused as it should be. Other exceptions pass."""
    try:
        decoded = tokenzip.decode(blob, max_tokens=LIMIT, model=model)
    except (BlobError, MissingModelError):
        return None
    return decoded if isinstance(decoded, list) else [decoded]


class TestOneBlob:
    def test_every_single_bit_flip(self, model: Model, how: str) -> None:
        blob = small_blob(model, how)
        for position in range(8 * len(blob)):
            flipped = bytearray(blob)
            flipped[position // 8] ^= 1 << position % 8
            with pytest.raises(BlobError):
                tokenzip.decode(flipped, max_tokens=LIMIT, model=model)

    def test_every_prefix(self, model: Model, how: str) -> None:
        blob = small_blob(model, how)
        for length in range(len(blob)):
            with pytest.raises(BlobError) as caught:
                tokenzip.decode(blob[:length], max_tokens=LIMIT, model=model)
            assert length == 0 or isinstance(caught.value, TruncatedError)

    def test_random_damage(self, model: Model, how: str) -> None:
        rng = np.random.default_rng(11)
        blob = small_blob(model, how)
        for _ in range(2000):
            mutated = mutate(blob, rng)
            if mutated != blob:
                assert decode(mutated, model) is None

    def test_damaged_fields_under_a_right_checksum(self, model: Model, how: str) -> None:
        rng = np.random.default_rng(12)
        fields, payload = opened(small_blob(model, how))
        flips = (
            fields[:at] + bytes([fields[at] ^ 1 << bit]) + fields[at + 1 :]
            for at in range(len(fields))
            for bit in range(8)
        )
        accepted = 0
        for damaged in (*flips, *(mutate(fields, rng) for _ in range(600))):
            blob = sealed(damaged, payload)
            arrays = decode(blob, model)
            if arrays is not None:
                accepted += 1
                assert consistent(blob, arrays)
        assert 0 < accepted < 300

    def test_payloads_of_nonsense(self, model: Model, how: str) -> None:
        """Right checksums around words that no encoder wrote."""
        rng = np.random.default_rng(13)
        tokens = small_grid()
        predictor, solid = predictor_of(model, how), how == "solid"
        blob = tokenzip.encode(tokens, model=model, predictor=predictor, solid=solid)
        chunk = tokenzip.inspect(blob).grids[0].chunks[0]
        original = blob[chunk.offset :]
        crc = zlib.crc32(tokens.astype("<u2").tobytes())
        size = (tokens.size * 4 + 7) // 8
        for number in range(200):
            payload = [
                rng.bytes(int(rng.integers(0, size))),
                mutate(original, rng)[: size - 1],
                bytes([int(rng.integers(0, 256))]) * int(rng.integers(0, size)),
            ][number % 3]
            damaged = blob_of(model, tokens, payload, crc, predictor=predictor, solid=solid)
            arrays = decode(damaged, model)
            assert arrays is None or np.array_equal(arrays[0], tokens)

    @pytest.mark.parametrize("payload", [b"", bytes(4), bytes(8), b"\xff" * 8])
    def test_invalid_words_are_no_zeros(self, model: Model, how: str, payload: bytes) -> None:
        """Words that no encoder writes are refused even where tokens of zeros have their sums."""
        tokens = np.zeros((30, *FRAME), np.int16)
        predictor, solid = predictor_of(model, how), how == "solid"
        crc = zlib.crc32(tokens.tobytes())
        blob = blob_of(model, tokens, payload, crc, predictor=predictor, solid=solid)
        with pytest.raises(CorruptError):
            tokenzip.decode(blob, model=model)

    def test_second_symbols_beyond_their_range(self) -> None:
        """A token split in two has one pair of symbols, though others would give it too."""
        model = tiny_model("lstm", (), 5000, coarse=True)
        geometry = model.spec.geometry
        assert geometry.symbols > 1 << geometry.split
        symbols = np.full((1, 1, 2), geometry.symbols - 1, np.int32)
        with pytest.raises(CorruptError):
            geometry.to_tokens(symbols)


def blob_of(model: Model, tokens: np.ndarray, payload: bytes, crc: int, **fields: Any) -> bytes:
    chunk = CodedChunk(False, payload, crc)
    alphabet = fields.pop("alphabet", ALPHABET)
    shape = fields.pop("shape", tokens.shape)
    identity = fields.pop("identity", model.identity)
    grid = CodedGrid(shape, tokens.dtype, alphabet, None, (chunk,))
    fields = {"predictor": "hybrid", **fields}
    settings: dict[str, Any] = {
        "parameters": b"\2" if fields["predictor"] == "hybrid" else b"\1",
        "model": identity,
        **fields,
    }
    return write_blob([grid], is_list=False, **settings)


class TestLies:
    """Headers that contradict the model."""

    @pytest.fixture(params=["alone", "hybrid"])
    def how(self, request: pytest.FixtureRequest) -> str:
        return request.param

    def good(self, model: Model, how: str, **fields: Any) -> bytes:
        tokens = small_grid()
        predictor = predictor_of(model, how)
        blob = tokenzip.encode(tokens, model=model, predictor=predictor)
        chunk = tokenzip.inspect(blob).grids[0].chunks[0]
        fields = {"predictor": predictor, **fields}
        return blob_of(model, tokens, blob[chunk.offset :], chunk.token_crc, **fields)

    def test_the_good_one(self, model: Model, how: str) -> None:
        predictor = predictor_of(model, how)
        wanted = tokenzip.encode(small_grid(), model=model, predictor=predictor)
        assert self.good(model, how) == wanted

    @pytest.mark.parametrize("parameters", [b"", b"\0", b"\1\1", b"\3", b"\xff", bytes(50)])
    def test_parameters(self, model: Model, how: str, parameters: bytes) -> None:
        kind = UnsupportedVersionError if parameters in (b"\3", b"\xff") else CorruptError
        with pytest.raises(kind):
            tokenzip.decode(self.good(model, how, parameters=parameters), model=model)

    @pytest.mark.parametrize("shape", [(180,), (30, 6), (30, 3, 2), (15, 2, 6), (3, 64, 70)])
    def test_other_frames(self, model: Model, how: str, shape: tuple[int, ...]) -> None:
        with pytest.raises(CorruptError):
            tokenzip.decode(self.good(model, how, shape=shape), model=model)

    def test_a_larger_alphabet(self, model: Model, how: str) -> None:
        with pytest.raises(CorruptError):
            tokenzip.decode(self.good(model, how, alphabet=ALPHABET + 1), model=model)

    def test_another_predictor(self, model: Model, how: str) -> None:
        for other in {*FAMILIES, "hybrid"} - {predictor_of(model, how)}:
            with pytest.raises(CorruptError):
                tokenzip.decode(self.good(model, how, predictor=other), model=model)

    def test_billions_of_tokens_in_few_bytes(self, model: Model, how: str) -> None:
        blob = self.good(model, how, shape=(2**40, *FRAME))
        with pytest.raises(tokenzip.errors.LimitError):
            tokenzip.decode(blob, model=model)

    def test_models_where_none_belong(self, model: Model, how: str) -> None:
        fields, payload = opened(self.good(model, how))
        start = len(b"\4\2\1\1")
        identity, rest = fields[start : start + 32], fields[start + 32 :]
        family = fields[1:2]
        for head in (
            b"\0" + family + b"\1\1",  # a network without a model
            b"\4\1\1\1" + identity,  # adaptive with one
            b"\4\0\0" + identity,  # stored with one
            b"\6\2\1\1" + identity,  # a network alone, solid
            b"\6\3\1\1" + identity,
            b"\2\4\1\1",  # a solid hybrid without a model
            b"\x08" + family + b"\1\1",  # embedded, but not named
            b"\x0c" + family + b"\1\1" + identity + b"\0",  # embedded, of no bytes
            b"\x14" + family + b"\1\1" + identity,  # an unknown flag
            b"\4" + family + b"\1\1" + identity[:20],
        ):
            with pytest.raises(BlobError):
                tokenzip.decode(sealed(head + rest, payload), model=model)


# Embedded models


def with_model(model: Model, packed: bytes, identity: bytes | None = None) -> bytes:
    """A blob of a good chunk with these bytes as its model."""
    tokens = small_grid()
    blob = tokenzip.encode(tokens, model=model)  # by the hybrid
    chunk = tokenzip.inspect(blob).grids[0].chunks[0]
    fields: dict[str, Any] = {"embedded": packed, "identity": identity or model.identity}
    return blob_of(model, tokens, blob[chunk.offset :], chunk.token_crc, **fields)


def parts_of(packed: bytes) -> tuple[dict[str, Any], bytes]:
    """(spec, the bytes behind it)."""
    reader = Reader(packed, 1)
    spec = json.loads(zlib.decompress(reader.take(reader.varint("n"), "spec")))
    return spec, packed[reader.position :]


def repacked(spec: Any, tensors: bytes, version: int = 1) -> bytes:
    text = spec if isinstance(spec, bytes) else json.dumps(spec).encode()
    data = zlib.compress(text)
    return bytes([version]) + varint(len(data)) + data + tensors


def refused(packed: bytes, model: Model, *, megabytes: float = 8, seconds: float = 5) -> None:
    """Whether these bytes are refused as a model, in a blob too, without much memory or time."""
    blob = with_model(model, packed)
    tracemalloc.start()
    begin = time.monotonic()
    try:
        with pytest.raises((CorruptError, tokenzip.errors.LimitError)) as caught:
            tokenzip.decode(blob)
        assert tracemalloc.get_traced_memory()[1] < megabytes * 2**20
        assert time.monotonic() - begin < seconds
    finally:
        tracemalloc.stop()
    if isinstance(caught.value, CorruptError):
        assert caught.value.where == "model"


class TestEmbeddedModels:
    def test_the_good_one(self, model: Model) -> None:
        assert np.array_equal(tokenzip.decode(with_model(model, pack(model))), small_grid())
        assert unpack(repacked(*parts_of(pack(model, 1)))).identity == model.identity
        spec, tensors = parts_of(pack(model, 2))
        assert unpack(repacked(spec, tensors, version=2)).identity == model.identity

    @pytest.mark.parametrize("version", VERSIONS)
    def test_damage(self, model: Model, version: int) -> None:
        packed = pack(model, version)
        rng = np.random.default_rng(3)
        harmless = 0
        places = [*range(40), *rng.integers(0, len(packed), 120).tolist()]
        for place in places:
            damaged = bytearray(packed)
            damaged[place] ^= 1 << int(rng.integers(8))
            try:
                # The last bits of a lane may be anything: the same model, by its identity.
                assert np.array_equal(
                    tokenzip.decode(with_model(model, bytes(damaged))), small_grid()
                )
                harmless += 1
            except CorruptError as error:
                assert error.where == "model"
        assert harmless < 5

    @pytest.mark.parametrize("version", VERSIONS)
    def test_mutations(self, model: Model, version: int) -> None:
        packed = pack(model, version)
        rng = np.random.default_rng(4)
        for _ in range(300):
            with suppress(CorruptError):
                unpack(mutate(packed, rng))  # another model, maybe, but nothing else

    @pytest.mark.parametrize("version", VERSIONS)
    def test_cut_or_longer(self, model: Model, version: int) -> None:
        packed = pack(model, version)
        for length in [*range(1, 60), *range(60, len(packed), 97), len(packed) - 1]:
            refused(packed[:length], model)
        for extra in (b"\0", packed, bytes(1000)):
            refused(packed + extra, model)

    def test_another_model_than_named(self, model: Model) -> None:
        other = tiny_model(model.spec.family, FRAME, ALPHABET, 9, coarse=True)
        refused(pack(other), model)
        with pytest.raises(CorruptError):
            tokenzip.decode(with_model(model, pack(model), bytes(32)), model=model)

    def test_versions(self, model: Model) -> None:
        for version in (0, 2, 3, 255):
            refused(bytes([version]) + pack(model, 1)[1:], model)
        refused(b"\1" + pack(model, 2)[1:], model)

    @pytest.mark.parametrize(
        "text",
        [
            b"",
            b"{",
            b"[]",
            b"null",
            b"3",
            b'"lstm"',
            b"{}",
            b"\xff\xfe",
            b"NaN",
            b"[" * 100_000,
            b'{"a":' * 100_000,
            b"[" * 500_000 + b"]" * 500_000,
            b"9" * 100_000,
            b'{"features": ' + b"9" * 5000 + b"}",
        ],
    )
    def test_specs_that_are_none(self, model: Model, text: bytes) -> None:
        refused(repacked(text, b""), model, megabytes=64)

    @pytest.mark.parametrize("name", ["height", "codebooks", "alphabet", "embedding", "state"])
    def test_numbers(self, model: Model, name: str) -> None:
        spec, tensors = parts_of(pack(model, 1))
        for value in (0, -1, 2**16, 2**40, 10**30, 1.0, "1", True, None, [], {}):
            refused(repacked({**spec, name: value}, tensors), model, megabytes=64)

    @pytest.mark.parametrize("name", ["width", "hidden", "squeeze"])
    def test_other_numbers(self, model: Model, name: str) -> None:
        spec, tensors = parts_of(pack(model, 1))
        for value in (-3, 2**12 + 1, 2**16, 2**16 + 1, 2**62, float("inf"), "x"):
            refused(repacked({**spec, name: value}, tensors), model, megabytes=64)

    @pytest.mark.parametrize(
        "features",
        [
            None,
            [],
            {},
            {"window": 5},
            {"window": [[0, 0, 0]]},  # the frame that is being decoded
            {"window": [[5, 0, 0]]},
            {"window": [[1, 9, 0]]},
            {"window": [[1, 0]]},
            {"window": [[1.0, 0, 0]]},
            {"window": [[1, 0, 0]] * 1025},
            {"window": []},
            {"candidates": []},
            {"candidates": [[0, 0, 0]]},
            {"candidates": [[0, 1, -1]]},
            {"neighbours": [[0, 0, 1]]},
            {"neighbours": [[1, 0, 0]]},
            {"now": [[[0, 0, -1]]]},
            {"now": [[[0, 0, -1], [0, -1, 2]]]},
            {"past": [[[1, 0, 0], [0, 0, -1]]]},
            {"past": "ab"},
        ],
    )
    def test_features(self, model: Model, features: Any) -> None:
        spec, tensors = parts_of(pack(model, 1))
        if features:
            features = {**spec["features"], **features}
        refused(repacked({**spec, "features": features}, tensors), model)

    def test_families(self, model: Model) -> None:
        spec, tensors = parts_of(pack(model, 1))
        (other,) = set(FAMILIES) - {model.spec.family}
        for family in (other, "gru", "", None, 2, [], {}):
            refused(repacked({**spec, "family": family}, tensors), model)

    def test_huge_models_in_few_bytes(self, model: Model) -> None:
        """Specs of as many weights as may be, with next to nothing behind them."""
        spec, tensors = parts_of(pack(model, 1))
        for sizes in (
            {"embedding": 4096, "state": 4096},
            {"embedding": 1, "state": 4096, "hidden": 4096},
            {"hidden": 65536, "alphabet": 4096},
            {"height": 64, "width": 64, "hidden": 65536},
            {"codebooks": 65536, "embedding": 1, "state": 1, "hidden": 1},
            {"codebooks": 4096, "embedding": 1, "state": 1, "hidden": 1, "alphabet": 2},
            {"alphabet": 65536, "codebooks": 32, "hidden": 4096},
        ):
            refused(repacked({**spec, **sizes}, tensors), model, megabytes=100)

    def test_zlib_bombs(self, model: Model) -> None:
        spec, tensors = parts_of(pack(model, 1))
        bomb = zlib.compress(bytes(2**26), 9)
        refused(b"\1" + varint(len(bomb)) + bomb, model)
        reader = Reader(tensors)
        # The first tensor, int8, has a table; in the place of the table comes the bomb.
        reader.take(reader.varint("n"), "table")
        rest = tensors[reader.position :]
        refused(repacked(spec, varint(len(bomb)) + bomb + rest), model)

    def test_tables_and_words(self, model: Model) -> None:
        spec, tensors = parts_of(pack(model, 1))
        good = np.arange(257) * 60_000
        good[-1] = 2**24 - 2
        for table in (
            good + 1,
            good[:-1],
            np.append(good, 2**24 - 2),
            good[::-1],
            good * 0,
            np.where(np.arange(257) == 256, 2**24, good),
        ):
            data = zlib.compress(table.astype("<u4").tobytes())
            for count in (0, 1, 2**20, 2**61):
                start = varint(len(data)) + data + varint(count)
                refused(repacked(spec, start + tensors), model)

    def test_the_largest_model_from_few_bytes(self, model: Model) -> None:
        """2^24 weights of a single value take hardly a word: time and memory stay bounded."""
        spec, _ = parts_of(pack(model, 1))
        spec = {**spec, "alphabet": 4095, "embedding": 4096}
        table = np.arange(257)
        table[129:] += 2**24 - 2 - 256
        data = zlib.compress(table.astype("<u4").tobytes())
        weights = varint(len(data)) + data + varint(2) + b"\xff\xff\xff\x7f" * 2
        refused(repacked(spec, weights * 3), model, megabytes=40, seconds=30)

    def test_unsafe_layers(self, model: Model) -> None:
        """A good model's bytes with a shift that no proof allows."""
        spec, tensors = parts_of(pack(model, 1))
        shift = zlib.compress(np.array(24, "<i4").tobytes(), 9)
        bad = zlib.compress(np.array(63, "<i4").tobytes(), 9)
        assert len(shift) == len(bad) and shift in tensors
        refused(repacked(spec, tensors.replace(shift, bad)), model)

    def test_matrices(self, model: Model) -> None:
        """Version 2: impossible grids, weights that leave their bytes, words that lack or last."""
        spec, tensors = parts_of(pack(model, 2))
        reader = Reader(tensors)
        grid = reader.byte("grid")
        count = reader.varint("n")
        words = reader.take(4 * count, "words")
        rest = tensors[len(tensors) - reader.left :]
        for bad in (0, 129, 255, 128, max(2, grid + 1)):
            refused(repacked(spec, bytes([bad]) + tensors[1:], version=2), model)
        for some, number in (
            (words[:-12], count - 3),
            (words + words[:12], count + 3),
            (words, 0),
            (words, 2**20),
            (words, 2**61),
            (b"", 0),
            (b"\xff" * len(words), count),
            (bytes(len(words)), count),
        ):
            start = bytes([grid]) + varint(number) + some
            refused(repacked(spec, start + rest, version=2), model)

    def test_the_largest_matrix_from_few_bytes(self, model: Model) -> None:
        spec, _ = parts_of(pack(model, 2))
        spec = {**spec, "alphabet": 4095, "embedding": 4096}
        zeros = encode_matrix(np.zeros((4096, 4096), np.int16)).astype("<u4").tobytes()
        weights = b"\1" + varint(len(zeros) // 4) + zeros
        assert len(weights) < 20_000
        refused(repacked(spec, weights * 3, version=2), model, megabytes=40, seconds=30)


# Model files


def file_with(model: Model, change: Callable[[dict[str, Any]], Any]) -> bytes:
    data = model.to_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


class TestModelFiles:
    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"\0" * 7,
            b"\0" * 8,
            b"\xff" * 8 + b"{}",
            (10).to_bytes(8, "little") + b"[1]",
            (3).to_bytes(8, "little") + b"[1]",
            (2).to_bytes(8, "little") + b"{}",
            (20).to_bytes(8, "little") + b'{"__metadata__": 3 }',
            (100_000).to_bytes(8, "little") + b"[" * 100_000,
            (100_000).to_bytes(8, "little") + b"9" * 100_000,
            (100_001).to_bytes(8, "little") + b"\xff" * 100_001,
        ],
    )
    def test_nonsense(self, data: bytes, tmp_path: Any) -> None:
        with pytest.raises(ModelFormatError):
            Model.from_bytes(data)
        # Beside a good model it is passed over.
        (tmp_path / "a.safetensors").write_bytes(data)
        model = model_of("lstm")
        model.save(tmp_path / "b.safetensors")
        blob = tokenzip.encode(small_grid(), model=model)
        assert np.array_equal(tokenzip.decode(blob, model=tmp_path), small_grid())

    @pytest.mark.parametrize(
        "value", ["3", "[]", "{", "[" * 100_000, "9" * 5000, "null", "\\ud800"]
    )
    @pytest.mark.parametrize("key", ["spec", "summary"])
    def test_descriptions(self, model: Model, key: str, value: str) -> None:
        data = file_with(model, lambda header: header["__metadata__"].update({key: value}))
        with suppress(ModelFormatError):
            assert Model.from_bytes(data).summary == {} and key == "summary"

    def test_metadata(self, model: Model) -> None:
        for key in ("format", "version", "identity", "spec"):
            with pytest.raises(ModelError):
                Model.from_bytes(
                    file_with(model, lambda header, k=key: header["__metadata__"].pop(k))
                )
            for value in (3, None, [], {"a": 1}):
                change = {key: value}
                with pytest.raises(ModelError):
                    Model.from_bytes(
                        file_with(model, lambda header, c=change: header["__metadata__"].update(c))
                    )

    def test_offsets(self, model: Model) -> None:
        for offsets in ([0, 2**62], [-1, 5], [5, 3], [0], "ab", None):
            change = {"data_offsets": offsets}
            with pytest.raises(ModelFormatError):
                Model.from_bytes(
                    file_with(model, lambda header, c=change: header["embedding"].update(c))
                )
        for shape in ([2**62, 2], [-1], [1.5], "x"):
            change = {"shape": shape}
            with pytest.raises(ModelFormatError):
                Model.from_bytes(
                    file_with(model, lambda header, c=change: header["embedding"].update(c))
                )

    def test_mutated_files(self, model: Model) -> None:
        data = model.to_bytes()
        rng = np.random.default_rng(8)
        for _ in range(300):
            with suppress(TokenzipError):
                assert Model.from_bytes(mutate(data, rng)).identity == model.identity

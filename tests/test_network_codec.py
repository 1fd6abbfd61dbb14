"""encode, decode, Codec and inspect with models: settings and errors; no setting changes bytes.

The models are tiny and random; what their networks compute is the business of other tests
(test_network_format.py against FORMAT.md).
"""

from __future__ import annotations

import copy
import gc
import os
import pickle
import resource
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from network_cases import FAMILIES, calm_tokens, noise, tiny_model

import tokenzip
from tokenzip.coding.compiled import compiled
from tokenzip.errors import (
    CorruptError,
    FileError,
    LimitError,
    MissingModelError,
    ModelError,
    ModelFormatError,
    ModelMismatchError,
    OptionError,
    UnsafeModelError,
    UnsupportedModelError,
)
from tokenzip.models import Model

FRAME, ALPHABET = (3, 4), 20
ROOT = Path(tokenzip.__file__).parents[1]
#: Arguments of encode.
Coding = dict[str, Any]


@cache
def model_of(family: str, frame: tuple[int, ...] = FRAME, alphabet: int = ALPHABET) -> Model:
    return tiny_model(family, frame, alphabet, coarse=True)


@pytest.fixture(params=FAMILIES)
def model(request: pytest.FixtureRequest) -> Model:
    return model_of(request.param)


@pytest.fixture(params=["alone", "hybrid"])
def coding(request: pytest.FixtureRequest, model: Model) -> Coding:
    """How to encode: by the network alone, or by the hybrid."""
    alone = request.param == "alone"
    return {"model": model, "predictor": model.spec.family if alone else "hybrid"}


@pytest.fixture
def tokens() -> np.ndarray:
    return calm_tokens((60, *FRAME), ALPHABET, dtype="<i2")


def clips() -> list[np.ndarray]:
    """Clips of different lengths and dtypes."""
    kinds = ["<i2", ">u4", "|u1", "<i8", ">i2"]
    lengths = [40, 7, 25, 1, 33]
    pairs = zip(lengths, kinds, strict=True)
    return [calm_tokens((t, *FRAME), ALPHABET, t, kind) for t, kind in pairs]


def same(a: Any, b: Any) -> bool:
    if isinstance(b, list):
        return isinstance(a, list) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return a.dtype == b.dtype and a.shape == b.shape and np.array_equal(a, b)


def payloads(blob: bytes) -> list[bytes]:
    """The payloads of all chunks."""
    chunks = [chunk for grid in tokenzip.inspect(blob).grids for chunk in grid.chunks]
    return [blob[chunk.offset : chunk.offset + chunk.bytes] for chunk in chunks]


def kinds(blob: bytes) -> set[str]:
    return {chunk.kind for grid in tokenzip.inspect(blob).grids for chunk in grid.chunks}


def changed(model: Model, name: str, change: Callable[[np.ndarray], Any]) -> Model:
    """The model with another tensor."""
    tensor = model.tensors[name]
    new = np.asarray(change(tensor.astype(np.int64))).astype(tensor.dtype)
    return Model(model.spec, {**model.tensors, name: new})


# Round trips


class TestRoundTrip:
    def test_one_grid(self, model: Model, coding: Coding, tokens: np.ndarray) -> None:
        blob = tokenzip.encode(tokens, **coding)
        assert same(tokenzip.decode(blob, model=model), tokens)
        info = tokenzip.inspect(blob)
        assert info.predictor == coding["predictor"] and info.model == model.identity
        version = 2 if info.predictor == "hybrid" else 1
        assert (info.embedded_bytes, info.solid, info.parameters) == (0, False, bytes([version]))
        assert len(blob) < tokenzip.inspect(tokenzip.encode(tokens, predictor="stored")).total_bytes

    def test_lists_of_lengths_and_dtypes(self, model: Model, coding: Coding) -> None:
        grids = clips()
        blob = tokenzip.encode(grids, **coding)
        assert same(tokenzip.decode(blob, model=model), grids)
        assert tokenzip.decode(tokenzip.encode([], **coding)) == []

    def test_empty_grids(self, model: Model, coding: Coding) -> None:
        empty = [np.zeros((0, *FRAME), np.int16), np.zeros((5, 0), ">u2"), np.zeros((0, 99), bool)]
        blob = tokenzip.encode(empty, **coding)
        assert tokenzip.inspect(blob).model is None  # nothing to decode, so nothing to ask for
        assert same(tokenzip.decode(blob), empty)
        mixed = [empty[0], clips()[0], empty[1]]
        assert same(tokenzip.decode(tokenzip.encode(mixed, **coding), model=model), mixed)

    @pytest.mark.parametrize(
        "frames", [0, -1, 17, slice(3, 5), slice(None, None, 7), slice(50, 10, -3), slice(9, 9)]
    )
    def test_some_frames(
        self, model: Model, coding: Coding, tokens: np.ndarray, frames: Any
    ) -> None:
        blob = tokenzip.encode(tokens, **coding, chunk_frames=8)
        found = tokenzip.decode(blob, model=model, frames=frames)
        assert same(found, np.ascontiguousarray(tokens[frames]))

    def test_only_the_chunks_that_are_needed_are_read(
        self, model: Model, coding: Coding, tokens: np.ndarray
    ) -> None:
        blob = bytearray(tokenzip.encode(tokens, **coding, chunk_frames=10))
        chunks = tokenzip.inspect(blob).grids[0].chunks
        assert {chunk.kind for chunk in chunks} == {"predicted"}
        blob[chunks[1].offset] ^= 1
        assert same(tokenzip.decode(blob, model=model, frames=slice(20, 40)), tokens[20:40])
        with pytest.raises(CorruptError, match="chunk 1") as caught:
            tokenzip.decode(blob, model=model, frames=slice(5, 25))
        assert caught.value.where == "chunk 1 payload"
        with pytest.raises(LimitError):
            tokenzip.decode(blob, model=model, frames=slice(0, 40), max_tokens=400)

    def test_smaller_alphabets(self, model: Model, coding: Coding) -> None:
        for alphabet in (2, 5, ALPHABET):
            tokens = calm_tokens((50, *FRAME), alphabet)
            blob = tokenzip.encode(tokens, **coding, alphabet=alphabet)
            assert tokenzip.inspect(blob).grids[0].alphabet == alphabet
            assert same(tokenzip.decode(blob, model=model), tokens)

    def test_frames_of_another_shape_but_the_same_sites(self, model: Model, coding: Coding) -> None:
        tokens = calm_tokens((50, 3, 4, 1), ALPHABET)
        blob = tokenzip.encode(tokens, **coding)
        assert same(tokenzip.decode(blob, model=model), tokens)

    @pytest.mark.parametrize("family", FAMILIES)
    @pytest.mark.parametrize(
        ("frame", "alphabet"),
        [
            *[((), 2), ((), 65536), ((1,), 9), ((32,), 5), ((33,), 5), ((1, 1), 4096)],
            *[((1, 1), 4097), ((64, 64), 5), ((1, 64), 3), ((64, 1), 3), ((2, 2, 2), 65536)],
            ((2, 1, 2, 3), 6),
        ],
    )
    @pytest.mark.parametrize("frames", [1, 3])
    def test_geometries(
        self, family: str, frame: tuple[int, ...], alphabet: int, frames: int
    ) -> None:
        model = model_of(family, frame, alphabet)
        tokens = calm_tokens((frames, *frame), alphabet, dtype="uint16")
        for predictor in ("hybrid", family):
            blob = tokenzip.encode(tokens, model=model, predictor=predictor)
            assert same(tokenzip.decode(blob, model=model), tokens)
        # Nothing was hidden by storing it: the coders' own payloads are right too.
        from tokenzip.predictors.hybrid import coders
        from tokenzip.predictors.network.predictor import Backend, NetworkPredictor

        predictor = NetworkPredictor(model, Backend())
        found = predictor.decode(predictor.encode([tokens]), [frames])
        assert np.array_equal(found[0].reshape(tokens.shape), tokens)
        coder = coders(predictor)(alphabet, frame, tokens.size)
        payload = coder.encode(tokens)
        coder.reset()
        assert np.array_equal(coder.decode(payload, frames), tokens)

    def test_read_only_and_strided_arrays(self, coding: Coding, tokens: np.ndarray) -> None:
        tokens.setflags(write=False)
        wanted = tokenzip.encode(tokens, **coding)
        strided = np.asfortranarray(np.repeat(tokens, 2, axis=2))[:, :, ::2]
        assert tokenzip.encode(tokens, **coding) == wanted
        assert tokenzip.encode(strided, **coding) == wanted


class TestNeverLarge:
    def test_noise_is_stored(self, model: Model, coding: Coding) -> None:
        tokens = noise((30, *FRAME), 16)
        blob = tokenzip.encode(tokens, **coding)
        assert kinds(blob) == {"stored"} and tokenzip.inspect(blob).model is None
        assert same(tokenzip.decode(blob), tokens)

    def test_noise_among_others_is_stored(
        self, model: Model, coding: Coding, tokens: np.ndarray
    ) -> None:
        grids = [tokens, noise((30, *FRAME), 16)]
        blob = tokenzip.encode(grids, **coding)
        found = [grid.chunks[0].kind for grid in tokenzip.inspect(blob).grids]
        assert found == ["predicted", "stored"]
        assert same(tokenzip.decode(blob, model=model)[0], tokens)

    @pytest.mark.parametrize("embed", [False, True])
    @pytest.mark.parametrize("frames", [0, 1, 3, 20])
    def test_at_most_64_bytes_more(
        self, model: Model, coding: Coding, embed: bool, frames: int
    ) -> None:
        for calm in (0.0, 0.7, 1.0):
            grid = calm_tokens((frames, *FRAME), ALPHABET, calm=calm)
            for grids in (grid, [grid] * 3):
                blob = tokenzip.encode(grids, **coding, embed_model=embed, chunk_frames=2)
                raw = (frames * 12 * 5 + 7) // 8
                assert len(blob) <= (raw + 64) * (3 if isinstance(grids, list) else 1)
                assert same(tokenzip.decode(blob, model=model), grids)


# No setting changes the bytes


class TestSameBytes:
    @pytest.mark.parametrize("threads", [1, 2])
    @pytest.mark.parametrize("batch", [1, 2, 7, 64])
    def test_threads_and_batches(
        self, model: Model, coding: Coding, threads: int, batch: int
    ) -> None:
        grids = clips() * 2
        wanted = tokenzip.encode(grids, **coding)
        settings: dict[str, Any] = {"threads": threads, "batch": batch}
        assert tokenzip.encode(grids, **coding, **settings) == wanted
        assert same(tokenzip.decode(wanted, model=model, **settings), grids)

    def test_order_of_clips(self, coding: Coding) -> None:
        grids = clips()
        alone = [payloads(tokenzip.encode([grid], **coding))[0] for grid in grids]
        for order in ([0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2, 0, 4, 1, 3]):
            blob = tokenzip.encode([grids[i] for i in order], **coding)
            assert payloads(blob) == [alone[i] for i in order]

    def test_chunks_are_as_clips_of_their_own(self, coding: Coding, tokens: np.ndarray) -> None:
        blob = tokenzip.encode(tokens, **coding, chunk_frames=15)
        parts = [payloads(tokenzip.encode(tokens[i : i + 15], **coding))[0] for i in (0, 15, 30)]
        assert payloads(blob)[:3] == parts

    def test_threads_that_share_a_codec(self, coding: Coding) -> None:
        codec = tokenzip.Codec(**coding, threads=2, batch=2)
        grids = [calm_tokens((20 + i, *FRAME), ALPHABET, i) for i in range(8)]
        wanted = [codec.encode(grid) for grid in grids]
        wrong: list[object] = []

        def work(start: int) -> None:
            try:
                for i in range(start, start + 24):
                    grid, blob = grids[i % 8], wanted[i % 8]
                    if codec.encode(grid) != blob or not same(codec.decode(blob), grid):
                        wrong.append(i)
            except BaseException as error:
                wrong.append(error)

        threads = [threading.Thread(target=work, args=(i,)) for i in (0, 3, 5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []

    def test_large_work_is_split_among_threads_alike(self) -> None:
        """Enough rows that the arithmetic itself goes to several threads."""
        for family in FAMILIES:
            model = tiny_model(family, (16, 16), 300)
            grids = [calm_tokens((12, 16, 16), 300, seed) for seed in range(6)]
            coding: Coding = {"model": model, "predictor": family}
            wanted = tokenzip.encode(grids, **coding)
            assert tokenzip.encode(grids, **coding, threads=2, batch=6) == wanted
            found = tokenzip.decode(wanted, model=model, threads=2, batch=6)
            assert same(found, grids)


# Where models come from


class TestWhere:
    @pytest.fixture
    def folder(self, tmp_path: Path, model: Model) -> Path:
        """A folder of models, of which one is `model`, and other things."""
        model.save(tmp_path / "b.safetensors")
        for name, family in (("a", "lstm"), ("c", "conv3d")):
            tiny_model(family, (2, 2), 5, coarse=True).save(tmp_path / f"{name}.safetensors")
        (tmp_path / "broken.safetensors").write_bytes(b"\xff" * 100)
        (tmp_path / "empty.safetensors").write_bytes(b"")
        (tmp_path / "notes.txt").write_text("no model")
        return tmp_path

    @pytest.fixture
    def blob(self, model: Model, tokens: np.ndarray) -> bytes:
        return tokenzip.encode(tokens, model=model)

    def test_a_file(self, folder: Path, model: Model, blob: bytes, tokens: np.ndarray) -> None:
        path = folder / "b.safetensors"
        for place in (path, str(path)):
            assert tokenzip.encode(tokens, model=place) == blob
            assert same(tokenzip.decode(blob, model=place), tokens)
        assert tokenzip.Codec(model=path).encode(tokens) == blob

    def test_folders_and_lists(
        self, folder: Path, model: Model, blob: bytes, tokens: np.ndarray
    ) -> None:
        other = tiny_model("lstm", (2, 2), 5, coarse=True)
        file = folder / "b.safetensors"
        for place in (folder, [folder], [other, model], (other, str(file)), [other, [folder]]):
            assert same(tokenzip.decode(blob, model=place), tokens)

    def test_the_variable(
        self, folder: Path, blob: bytes, tokens: np.ndarray, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        nowhere = folder / "nowhere"
        monkeypatch.setenv("TOKENZIP_MODELS", os.pathsep.join(["", str(nowhere), str(folder)]))
        assert same(tokenzip.decode(blob), tokens)
        other = tiny_model("lstm", (2, 2), 5)
        assert same(tokenzip.decode(blob, model=other), tokens)

    def test_missing(
        self, model: Model, blob: bytes, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("TOKENZIP_MODELS", raising=False)
        (folder / "b.safetensors").unlink()
        for place in (None, [], folder, tiny_model("lstm", (2, 2), 5)):
            with pytest.raises(MissingModelError) as caught:
                tokenzip.decode(blob, model=place)
            error = caught.value
            assert error.identity == model.identity.hex()
            assert error.identity in str(error) and "TOKENZIP_MODELS" in str(error)
            assert pickle.loads(pickle.dumps(error)).identity == error.identity
        assert tokenzip.inspect(blob).model == model.identity  # what it says is shown all the same

    def test_no_such_place(self, blob: bytes, tokens: np.ndarray, tmp_path: Path) -> None:
        with pytest.raises(OptionError, match="no file or folder"):
            tokenzip.decode(blob, model=tmp_path / "nothing")
        with pytest.raises(FileError):
            tokenzip.encode(tokens, model=tmp_path / "nothing")
        with pytest.raises(OptionError, match="no models"):
            tokenzip.encode(tokens, model=tmp_path)  # a folder to choose from, but empty
        endless: list[Any] = []
        endless.append(endless)
        for place in (3, 3.5, object(), b"m.safetensors", [b"m"], endless):
            with pytest.raises(OptionError):
                tokenzip.decode(blob, model=place)
            with pytest.raises(OptionError):
                tokenzip.encode(tokens, model=place)
        with pytest.raises(OptionError, match="single model"):
            tokenzip.encode(tokens, model=[model_of("lstm")], predictor="lstm")

    def test_embedded(self, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("TOKENZIP_MODELS", raising=False)
        tokens = calm_tokens((1000, *FRAME), ALPHABET, calm=0.98)
        blob = tokenzip.encode(tokens, model=model, embed_model=True, chunk_frames=250)
        info = tokenzip.inspect(blob)
        assert info.model == model.identity and info.embedded_bytes > 1000
        assert info.header_bytes + info.embedded_bytes + info.payload_bytes == len(blob)
        assert same(tokenzip.decode(blob), tokens)
        assert same(tokenzip.decode(blob, frames=slice(3, 9)), tokens[3:9])
        # Its own model comes before any that is given.
        other = tiny_model("lstm", (2, 2), 5)
        assert same(tokenzip.decode(blob, model=other, frames=slice(3, 9)), tokens[3:9])
        assert len(tokenzip.encode(tokens, model=model)) < len(blob)

    def test_embed_without_a_model(self) -> None:
        with pytest.raises(OptionError, match="embed_model needs a model"):
            tokenzip.encode([1], embed_model=True)


# What is refused


class TestMismatch:
    @pytest.mark.parametrize(
        "frame", [(), (4, 3), (3, 5), (12,), (3, 4, 2), (3, 4, 40), (64, 65), (5000,)]
    )
    def test_other_frames(self, model: Model, frame: tuple[int, ...]) -> None:
        grid = np.zeros((2, *frame), np.int16)
        with pytest.raises(ModelMismatchError) as caught:
            tokenzip.encode(grid, model=model)
        assert isinstance(caught.value, ModelError)
        with pytest.raises(ModelMismatchError):
            tokenzip.encode([np.zeros((2, *FRAME), int), grid], model=model)

    def test_a_larger_alphabet(self, model: Model, tokens: np.ndarray) -> None:
        with pytest.raises(ModelMismatchError, match="knows 20 symbols; these tokens need 21"):
            tokenzip.encode(tokens, alphabet=21, model=model)
        tokens[0, 0, 0] = 20
        with pytest.raises(ModelMismatchError):
            tokenzip.encode(tokens, model=model)

    @pytest.mark.parametrize("family", FAMILIES)
    def test_predictor_of_another_family(self, family: str, tokens: np.ndarray) -> None:
        model = model_of(family)
        (other,) = set(FAMILIES) - {family}
        for predictor in (other, "adaptive", "stored"):
            refusal = f"for the predictors hybrid and {family}, not {predictor}"
            with pytest.raises(OptionError, match=refusal):
                tokenzip.encode(tokens, model=model, predictor=predictor)
        hybrid = tokenzip.encode(tokens, model=model)
        assert tokenzip.encode(tokens, model=model, predictor="hybrid") == hybrid
        alone = tokenzip.encode(tokens, model=model, predictor=family)
        found = [tokenzip.inspect(blob).predictor for blob in (hybrid, alone)]
        assert found == ["hybrid", family]
        for predictor in ("hybrid", family):
            with pytest.raises(OptionError, match="needs a model"):
                tokenzip.encode(tokens, predictor=predictor)

    def test_solid(self, model: Model, tokens: np.ndarray) -> None:
        """A network alone learns nothing that could flow from chunk to chunk."""
        with pytest.raises(OptionError, match="solid"):
            tokenzip.encode([tokens, tokens], model=model, predictor=model.spec.family, solid=True)

    @pytest.mark.parametrize(
        "options",
        [
            {"backend": "jax"},
            {"backend": None},
            {"backend": ["numba"]},
            {"backend": "numba", "device": "cuda"},
            {"batch": 0},
            {"batch": -1},
            {"batch": True},
            {"batch": 2.0},
            {"threads": 0},
        ],
    )
    def test_wrong_options(self, model: Model, tokens: np.ndarray, options: Any) -> None:
        blob = tokenzip.encode(tokens, model=model)
        with pytest.raises(OptionError):
            tokenzip.encode(tokens, model=model, **options)
        with pytest.raises(OptionError):
            tokenzip.decode(blob, model=model, **options)

    def test_numpy_options(self, model: Model, tokens: np.ndarray) -> None:
        wanted = tokenzip.encode(tokens, model=model)
        options: dict[str, Any] = {"batch": np.uint8(3), "threads": np.int64(2)}
        assert tokenzip.encode(tokens, model=model, **options) == wanted
        assert same(tokenzip.decode(wanted, model=model, **options), tokens)


class TestModelFiles:
    def test_every_byte_counts(self, model: Model, tmp_path: Path) -> None:
        """Damage anywhere is refused: the identity in the file is that of its content."""
        data = model.to_bytes()
        start = 8 + int.from_bytes(data[:8], "little")
        rng = np.random.default_rng(5)
        places = [*range(0, start, 7), *rng.integers(start, len(data), 150)]
        summary = data.find(b"at random")
        for place in places:
            damaged = bytearray(data)
            damaged[int(place)] ^= 1 << int(rng.integers(8))
            try:
                found = Model.from_bytes(bytes(damaged))
            except ModelError:
                continue
            # Only the training's summary and the padding may change unnoticed.
            assert found.identity == model.identity
            assert abs(int(place) - summary) < 40 or int(place) < start

    def test_cut_files(self, model: Model) -> None:
        data = model.to_bytes()
        for length in [*range(0, 40), *range(40, len(data), 991), len(data) - 1]:
            with pytest.raises(ModelFormatError):
                Model.from_bytes(data[:length])
        with pytest.raises(ModelFormatError):
            Model.from_bytes(data + b"\0")

    def test_damaged_on_disk(self, model: Model, tokens: np.ndarray, tmp_path: Path) -> None:
        """The blob is refused, not decoded to noise."""
        blob = tokenzip.encode(tokens, model=model)
        path = tmp_path / "m.safetensors"
        data = bytearray(model.to_bytes())
        data[-100] ^= 8
        path.write_bytes(data)
        for place in (path, tmp_path):
            with pytest.raises(ModelFormatError, match="damaged or changed") as caught:
                tokenzip.decode(blob, model=place)
            assert str(path) in str(caught.value)
        with pytest.raises(ModelFormatError):
            tokenzip.encode(tokens, model=path)

    def test_a_changed_weight_is_another_model(self, model: Model, tokens: np.ndarray) -> None:
        blob = tokenzip.encode(tokens, model=model)

        def more(tensor: np.ndarray) -> np.ndarray:
            tensor.reshape(-1)[0] += 1
            return tensor

        for name in model.tensors:
            if name.endswith(".shift"):
                continue
            other = changed(model, name, more)
            assert other.identity != model.identity
            with pytest.raises(MissingModelError):
                tokenzip.decode(blob, model=other)
            assert tokenzip.inspect(tokenzip.encode(tokens, model=other)).model != model.identity

    def test_a_newer_version(self, model: Model, tokens: np.ndarray, tmp_path: Path) -> None:
        path = tmp_path / "m.safetensors"
        data = model.to_bytes()
        path.write_bytes(data.replace(b'"version":"1"', b'"version":"2"'))
        assert path.read_bytes() != data
        with pytest.raises(UnsupportedModelError, match="upgrade"):
            tokenzip.encode(tokens, model=path)
        with pytest.raises(UnsupportedModelError, match=r"m\.safetensors"):
            tokenzip.decode(tokenzip.encode(tokens, model=model), model=path)

    def test_other_safetensors(self, tmp_path: Path, tokens: np.ndarray) -> None:
        from safetensors.numpy import save

        path = tmp_path / "other.safetensors"
        for data in (save({"x": np.zeros(3)}), save({"x": np.zeros(3)}, {"format": "pt"})):
            path.write_bytes(data)
            with pytest.raises(ModelFormatError):
                tokenzip.encode(tokens, model=path)

    def test_save(self, model: Model, tmp_path: Path) -> None:
        path = tmp_path / "m.safetensors"
        model.save(path)
        again = Model.load(path)
        assert again.identity == model.identity and again.summary == model.summary
        with pytest.raises(tokenzip.errors.FileExistsRefusedError):
            model.save(path, overwrite=False)
        assert os.listdir(tmp_path) == ["m.safetensors"]

    @pytest.mark.parametrize(
        ("tensor", "change"),
        [
            ("head.0.bias", lambda t: t * 0 + 2**31 - 1),
            ("head.0.site_bias", lambda t: t * 0 - 2**31),
            ("output.0.multiplier", lambda t: t * 0 - 1),
            ("output.0.shift", lambda t: 0),
            ("output.0.shift", lambda t: 41),
            ("head.0.shift", lambda t: -5),
        ],
    )
    def test_unsafe(self, model: Model, tensor: str, change: Any) -> None:
        big = changed(model, "output.0.bias", lambda t: t * 0 + 2**30)
        layer = tensor.rpartition(".")[0]
        with pytest.raises(UnsafeModelError) as caught:
            changed(big, tensor, change)
        assert caught.value.layer == layer and layer in str(caught.value)
        assert pickle.loads(pickle.dumps(caught.value)).layer == layer

    def test_unsafe_products(self, model: Model) -> None:
        """The largest sum is allowed, the largest multiplier too, and only both are not."""
        weights = np.abs(model.tensors["output.0.weight"].astype(np.int64)).sum(axis=1)
        large = changed(model, "output.0.bias", lambda t: 2**31 - 1 - 128 * weights)
        with pytest.raises(UnsafeModelError):
            changed(large, "output.0.bias", lambda t: t + 1)
        larger = changed(large, "output.0.multiplier", lambda t: t * 0 + 2**31 - 1)
        changed(larger, "output.0.shift", lambda t: 31)
        with pytest.raises(UnsafeModelError, match="times its multiplier") as caught:
            changed(larger, "output.0.shift", lambda t: 40)
        assert caught.value.layer == "output.0"

    def test_wrong_tensors(self, model: Model) -> None:
        tensors = dict(model.tensors)
        for broken in (
            {**tensors, "extra": np.zeros(3, np.int8)},
            {k: v for k, v in tensors.items() if k != "tanh"},
            {**tensors, "tanh": tensors["tanh"].astype(np.int32)},
            {**tensors, "tanh": tensors["tanh"][1:]},
            {**tensors, "tanh": tensors["tanh"].astype(float)},
        ):
            with pytest.raises(ModelFormatError):
                Model(model.spec, broken)


# Machines and processes


def test_decodes_where_torch_cannot_be_imported(
    model: Model, tokens: np.ndarray, tmp_path: Path
) -> None:
    model.save(tmp_path / "m.safetensors")
    (tmp_path / "b.tkz").write_bytes(tokenzip.encode(tokens, model=model))
    many = calm_tokens((1000, *FRAME), ALPHABET, calm=0.98)
    (tmp_path / "e.tkz").write_bytes(tokenzip.encode(many, model=model, embed_model=True))
    code = """
import sys
for name in ("torch", "safetensors.torch"):
    sys.modules[name] = None
import numpy, tokenzip
blob = open("b.tkz", "rb").read()
numpy.save("b.npy", tokenzip.decode(blob, model="m.safetensors"))
assert tokenzip.encode(numpy.load("b.npy"), model="m.safetensors") == blob
sys.modules["safetensors.numpy"] = None  # an embedded model needs none of it
numpy.save("e.npy", tokenzip.decode(open("e.tkz", "rb").read()))
try:
    tokenzip.decode(blob, model="m.safetensors")
except tokenzip.errors.MissingDependencyError as error:
    assert "safetensors" in str(error)
else:
    raise SystemExit("read without safetensors")
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)
    assert same(np.load(tmp_path / "b.npy"), tokens)
    assert same(np.load(tmp_path / "e.npy"), many)


@compiled
def make_array() -> np.ndarray:
    """An array that numba counts, where decoding only borrows some."""
    return np.ones(3)


@pytest.mark.parametrize("hybrid", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_memory_stays_flat(family: str, hybrid: bool) -> None:
    """The process's, Python's own, and numba's, of which tracemalloc takes the freed for kept."""
    from numba.core.runtime import _nrt_python, rtsys

    model = model_of(family, (), ALPHABET)
    tokens = calm_tokens((20,), ALPHABET)
    codec = tokenzip.Codec(model=model, predictor="hybrid" if hybrid else family)
    blob = codec.encode(tokens)
    assert kinds(blob) == {"predicted"}
    for _ in range(20):
        codec.decode(blob)
    make_array()
    gc.collect()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    blocks = [sys.getallocatedblocks()]
    _nrt_python.memsys_enable_stats()
    try:
        before = rtsys.get_allocation_stats()
        for _ in range(40):
            for _ in range(80):
                codec.decode(blob)
            make_array()
            gc.collect()
            blocks.append(sys.getallocatedblocks())
            if blocks[-1] - blocks[-2] < 40:
                break
        after = rtsys.get_allocation_stats()
    finally:
        _nrt_python.memsys_disable_stats()
    assert np.diff(blocks).min() < 40  # caches fill up, but not by one with every call
    assert after.alloc - before.alloc == after.free - before.free > 0
    assert after.mi_alloc - before.mi_alloc == after.mi_free - before.mi_free > 0
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 8_000  # kilobytes


def large_work() -> tuple[Model, list[np.ndarray]]:
    """Enough for several threads to share."""
    model = tiny_model("lstm", (16, 16), 300)
    return model, [calm_tokens((12, 16, 16), 300, seed) for seed in range(6)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("how", ["lstm", "hybrid"])
def test_fork(how: str) -> None:
    """A child has none of its parent's threads, and does not wait for them."""
    from tokenzip.predictors.network import predictor

    model, grids = large_work()
    settings: dict[str, Any] = {"model": model, "predictor": how, "threads": 2, "batch": 6}
    wanted = tokenzip.encode(grids, **settings)
    with predictor._lock:  # as if another thread were making a predictor
        child = os.fork()
        if child == 0:
            os._exit(0 if tokenzip.encode(grids, **settings) == wanted else 1)
    for _ in range(600):
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            assert os.waitstatus_to_exitcode(status) == 0
            return
        time.sleep(0.1)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    pytest.fail("the child waits for ever")


@pytest.mark.parametrize("how", ["lstm", "hybrid"])
def test_interrupted(how: str) -> None:
    """What a Ctrl-C left behind does not disturb the next call."""
    model, grids = large_work()
    settings: dict[str, Any] = {"model": model, "threads": 2, "batch": 6}
    blob = tokenzip.encode(grids, predictor=how, **settings)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for delay in (0.01, 0.03, 0.05):
            with pytest.raises(KeyboardInterrupt):
                signal.setitimer(signal.ITIMER_REAL, delay)
                while True:
                    tokenzip.decode(blob, **settings)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert same(tokenzip.decode(blob, **settings), grids)
    assert tokenzip.encode(grids, predictor=how, **settings) == blob


def test_models_are_not_changed_and_travel(model: Model, tokens: np.ndarray) -> None:
    """Also a copy that went through another process stays as it is, and compiles nothing anew."""
    for other in (model, pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert other.identity == model.identity and other.summary == model.summary
        with pytest.raises(TypeError):
            other.tensors["tanh"] = None  # type: ignore[index]
        with pytest.raises(ValueError, match="read-only"):
            other.tensors["tanh"][0] = 1
        assert model.name in repr(other) and len(repr(other)) < 100
    codec = pickle.loads(pickle.dumps(tokenzip.Codec(model=model)))
    assert same(codec.decode(codec.encode(tokens)), tokens)


def test_memory_stays_flat_with_many_models() -> None:
    """Only the last few models are kept ready."""
    tokens = calm_tokens((12, 2, 2), 9)
    tracemalloc.start()
    try:
        marks = []
        for seed in range(14):
            model = tiny_model("lstm", (2, 2), 9, seed)
            tokenzip.encode(tokens, model=model)
            gc.collect()
            marks.append(tracemalloc.get_traced_memory()[0])
        assert marks[-1] - marks[7] < 200_000
    finally:
        tracemalloc.stop()

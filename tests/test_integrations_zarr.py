"""The Zarr 3 codec: chunks on their own, shards, fill values, dtypes, fresh processes, damage."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from entry_points import environment

import tokenzip
from tokenzip import errors

zarr = pytest.importorskip("zarr", minversion="3")
from tokenzip.integrations.zarr import TokenzipCodec  # noqa: E402

DTYPES = ["bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]
STORED = TokenzipCodec(predictor="stored")


@pytest.fixture
def tokens(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 2, (50, 4, 6))


def create(store: object, like: np.ndarray, **settings: object) -> zarr.Array:
    settings = {"chunks": (16, 4, 4), "serializer": STORED, "compressors": None, **settings}
    return zarr.create_array(store, shape=like.shape, dtype=like.dtype, **settings)


@pytest.mark.parametrize("dtype", [*DTYPES, ">u2", ">i8"])
@pytest.mark.parametrize("shards", [None, (32, 4, 8)])
def test_every_dtype_with_edges(
    tokens: np.ndarray, dtype: str, shards: tuple[int, ...] | None, tmp_path: Path
) -> None:
    chunk = tokens.astype(dtype)
    create(tmp_path / "a.zarr", chunk, shards=shards)[:] = chunk
    again = zarr.open_array(tmp_path / "a.zarr", mode="r")
    assert np.array_equal(again[:], chunk)
    assert again.dtype == chunk.dtype.newbyteorder("=")  # Zarr 3 data types have no byte order
    assert np.array_equal(again[14:35, 1, 3:], chunk[14:35, 1, 3:])


@pytest.mark.parametrize("shape", [(), (7,), (3, 1)])
def test_few_dimensions(shape: tuple[int, ...]) -> None:
    chunk = np.full(shape, 9, "u2")
    array = create({}, chunk, chunks=shape)
    array[...] = chunk
    assert np.array_equal(array[...], chunk)


@pytest.mark.parametrize("fill", [0, 7, 65535])
def test_fill_values(tokens: np.ndarray, fill: int) -> None:
    chunk = tokens.astype("i4")
    array = create({}, chunk, fill_value=fill)
    assert (array[:] == fill).all()
    array[3:21, :, 1] = chunk[3:21, :, 1]
    expected = np.full_like(chunk, fill)
    expected[3:21, :, 1] = chunk[3:21, :, 1]
    assert np.array_equal(array[:], expected)


def test_fill_values_that_are_no_tokens(tokens: np.ndarray) -> None:
    with pytest.raises(errors.OptionError, match="fill value -1"):
        create({}, tokens, fill_value=-1)
    with pytest.raises(errors.OptionError, match=r"fill value 16 .* 0 to 15"):
        create({}, tokens, fill_value=16, serializer=TokenzipCodec(alphabet=16))


@pytest.mark.parametrize("dtype", ["f4", "f8", "c8", "M8[s]", "U4"])
def test_other_dtypes_are_refused(dtype: str) -> None:
    with pytest.raises(errors.DTypeError, match="compresses integers"):
        create({}, np.zeros((4, 4, 4), dtype))


def test_values_that_are_no_tokens() -> None:
    array = create({}, np.zeros((4, 4, 4), "i4"))
    with pytest.raises(errors.TokenRangeError, match="-5"):
        array[:] = -5
    assert (array[:] == 0).all()


def test_each_chunk_is_a_blob_of_its_own(tmp_path: Path) -> None:
    clips = np.stack([tokenzip.samples.drive(frames=24), tokenzip.samples.drive(frames=48)[24:]])
    array = create(
        tmp_path / "a.zarr",
        clips,
        chunks=(1, 24, 8, 16),
        serializer=TokenzipCodec(alphabet=1024),
    )
    array[:] = clips
    metadata = json.loads((tmp_path / "a.zarr" / "zarr.json").read_text())
    assert metadata["codecs"] == [{"name": "tokenzip", "configuration": {"alphabet": 1024}}]
    files = [tmp_path / "a.zarr" / "c" / clip / "0" / "0" / "0" for clip in "01"]
    for file, clip in zip(files, clips, strict=True):
        blob = file.read_bytes()
        assert np.array_equal(tokenzip.decode(blob), clip)  # time is the axis of 24
        assert len(blob) < clip.size * 10 / 8
    files[1].unlink()
    assert np.array_equal(array[0], clips[0]) and not array[1].any()


def test_configuration_and_frames() -> None:
    codec = TokenzipCodec(alphabet=9, predictor="stored", chunk_frames=4, frame=(2, 3))
    assert TokenzipCodec.from_dict(json.loads(json.dumps(codec.to_dict()))) == codec
    assert TokenzipCodec.from_dict({"name": "tokenzip"}) == TokenzipCodec() != codec
    grid = np.arange(72).reshape(2, 6, 2, 3) % 9
    array = create({}, grid, chunks=(2, 3, 2, 3), serializer=codec)
    array[:] = grid
    assert np.array_equal(array[:], grid)
    for wrong in ({"name": "gzip"}, {"name": "tokenzip", "configuration": {"level": 3}}):
        with pytest.raises(errors.OptionError):
            TokenzipCodec.from_dict(wrong)
    with pytest.raises(NotImplementedError):
        codec.compute_encoded_size(10, None)


def test_other_codecs_around_it(tokens: np.ndarray) -> None:
    chunk = tokens.astype("u2")
    transpose = zarr.codecs.TransposeCodec(order=(2, 0, 1))
    array = create({}, chunk, filters=[transpose], compressors=zarr.codecs.Crc32cCodec())
    array[:] = chunk
    assert np.array_equal(array[:], chunk)


def test_coding_is_off_the_event_loop(tokens: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: set[str] = set()
    original = TokenzipCodec._decode_sync

    def spy(self: TokenzipCodec, *args: object) -> object:
        threads.add(threading.current_thread().name)
        return original(self, *args)

    monkeypatch.setattr(TokenzipCodec, "_decode_sync", spy)
    array = create({}, tokens)
    array[:] = tokens
    assert np.array_equal(array[:], tokens)
    assert threads and not any("zarr_io" in name or "Main" in name for name in threads)


def test_hostile_chunks(tokens: np.ndarray, tmp_path: Path) -> None:
    chunk = tokens[:16].astype("u2")
    array = create(tmp_path / "a.zarr", chunk, chunks=chunk.shape)
    array[:] = chunk
    file = tmp_path / "a.zarr" / "c" / "0" / "0" / "0"
    blob = file.read_bytes()
    others = [
        tokenzip.encode(chunk.astype("i2"), predictor="stored"),
        tokenzip.encode(np.zeros((2**12, 4, 6), "u2"), predictor="stored"),
        tokenzip.encode([chunk, chunk], predictor="stored"),
        blob + b"\0",
        blob[:-1],
        b"",
    ]
    for place in range(0, len(blob), 3):
        damaged = bytearray(blob)
        damaged[place] ^= 0x10
        others.append(bytes(damaged))
    for other in others:
        file.write_bytes(other)
        with pytest.raises(errors.BlobError):
            array[:]


def test_a_fresh_process_finds_the_codec(tokens: np.ndarray, tmp_path: Path) -> None:
    chunk = tokens.astype("i4")
    create(tmp_path / "a.zarr", chunk, shards=(32, 4, 8), fill_value=1)[:40] = chunk[:40]
    np.save(tmp_path / "expected.npy", np.concatenate([chunk[:40], np.ones((10, 4, 6), "i4")]))
    code = (
        "import numpy, zarr, sys;"
        "array = zarr.open_array('a.zarr', mode='r');"
        "assert (array[:] == numpy.load('expected.npy')).all();"
        "assert 'numba' not in sys.modules"
    )
    subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=environment(tmp_path),
        cwd=tmp_path,
        check=True,
    )

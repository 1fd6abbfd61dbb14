"""The numcodecs codec: buffers of every kind there and back, in Zarr format 2, hostile bytes."""

from __future__ import annotations

import array
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from entry_points import environment

import tokenzip
from tokenzip import errors

numcodecs = pytest.importorskip("numcodecs")
from tokenzip.integrations.numcodecs import Tokenzip  # noqa: E402

DTYPES = ["?", "i1", "u1", "<i2", ">i2", "<u2", ">u2", "<i4", ">u4", "<i8", ">i8", "<u8"]
STORED = Tokenzip(predictor="stored")


@pytest.fixture
def tokens(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 2, (12, 3, 5))


@pytest.mark.parametrize("dtype", DTYPES)
def test_round_trip_of_every_dtype(tokens: np.ndarray, dtype: str) -> None:
    chunk = tokens.astype(dtype)
    blob = STORED.encode(chunk)
    decoded = STORED.decode(blob)
    assert decoded.dtype == chunk.dtype and np.array_equal(decoded, chunk)
    out = np.empty_like(chunk)
    assert STORED.decode(blob, out=out) is out
    assert np.array_equal(out, chunk)
    flat = np.empty(chunk.nbytes, np.uint8)
    STORED.decode(np.frombuffer(blob, np.uint8), out=flat)
    assert flat.tobytes() == chunk.tobytes()


def test_memory_comes_back_in_its_order(tokens: np.ndarray) -> None:
    """Zarr's arrays in Fortran order and numcodecs' own ndarray_copy rely on it."""
    fortran = np.asfortranarray(tokens)
    decoded = STORED.decode(STORED.encode(fortran))
    assert decoded.tobytes() == fortran.tobytes(order="A")
    out = np.empty_like(fortran)
    assert out.flags.f_contiguous
    STORED.decode(STORED.encode(fortran), out=out)
    assert np.array_equal(out, fortran)
    copied = numcodecs.compat.ndarray_copy(decoded, np.empty_like(fortran))
    assert np.array_equal(copied, fortran)


@pytest.mark.parametrize(
    "buffer", [b"bytes", bytearray(b"more"), memoryview(b"view"), array.array("H", [1, 2, 3]), b""]
)
def test_buffers_that_are_no_arrays(buffer: object) -> None:
    assert STORED.decode(STORED.encode(buffer)).tobytes() == memoryview(buffer).tobytes()  # type: ignore[arg-type]


def test_prediction_and_frames_of_flat_buffers(rng: np.random.Generator) -> None:
    clip = tokenzip.samples.drive(frames=40)
    flat = clip.reshape(-1)
    blob = Tokenzip(alphabet=1024, frame=(8, 16)).encode(flat)
    assert tokenzip.inspect(blob).grids[0].shape == clip.shape
    assert len(blob) < len(Tokenzip(alphabet=1024).encode(flat))
    assert np.array_equal(Tokenzip().decode(blob).reshape(-1), flat)
    one_of_many = Tokenzip(predictor="stored").encode(clip[None])
    assert tokenzip.inspect(one_of_many).grids[0].shape == clip.shape


def test_configuration() -> None:
    codec = Tokenzip(alphabet=1024, predictor="stored", chunk_frames=5, frame=(2, 3))
    config = codec.get_config()
    assert config == {
        "id": "tokenzip",
        "alphabet": 1024,
        "predictor": "stored",
        "chunk_frames": 5,
        "frame": [2, 3],
    }
    assert numcodecs.get_codec(config) == codec == pickle.loads(pickle.dumps(codec))
    assert "alphabet=1024" in repr(codec)
    grid = np.arange(120, dtype="u2")
    assert np.array_equal(codec.decode(codec.encode(grid)).reshape(-1), grid)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"alphabet": 1}, "alphabet"),
        ({"predictor": "best"}, "predictor"),
        ({"chunk_frames": 0}, "chunk_frames"),
        ({"frame": 8}, "frame"),
        ({"frame": (8, 0)}, "frame"),
    ],
)
def test_wrong_settings(settings: dict[str, object], match: str) -> None:
    with pytest.raises(errors.OptionError, match=match):
        Tokenzip(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "buffer",
    [
        np.ones(3),
        np.ones(3, "M8[s]"),
        np.array([object()]),
        np.ones((4, 4), int)[:, ::2],
        np.array(["a"]),
    ],
)
def test_buffers_that_are_refused(buffer: np.ndarray) -> None:
    with pytest.raises(errors.DTypeError):
        STORED.encode(buffer)


def test_values_that_are_no_tokens() -> None:
    with pytest.raises(errors.TokenRangeError):
        STORED.encode(np.array([-1]))
    with pytest.raises(errors.TokenRangeError):
        Tokenzip(alphabet=4).encode(np.array([4]))
    with pytest.raises(errors.OptionError, match="frame"):
        Tokenzip(frame=(8, 16)).encode(np.zeros(100, int))


def test_hostile_blobs(tokens: np.ndarray) -> None:
    blob = STORED.encode(tokens.astype("u2"))
    for place in range(len(blob)):
        damaged = bytearray(blob)
        damaged[place] ^= 1 << place % 8
        with pytest.raises(errors.BlobError):
            STORED.decode(bytes(damaged))
        with pytest.raises(errors.BlobError):
            STORED.decode(bytes(damaged), out=np.empty(tokens.shape, "u2"))
    with pytest.raises(errors.CorruptError, match="output of 90 bytes"):
        STORED.decode(blob, out=np.empty(45, "u2"))
    with pytest.raises(errors.CorruptError, match="2 arrays"):
        STORED.decode(tokenzip.encode([tokens, tokens], predictor="stored"))
    with pytest.raises(errors.OptionError, match="read-only"):
        STORED.decode(blob, out=np.frombuffer(bytes(360), "u2"))


def test_entry_point(tmp_path: Path) -> None:
    code = """
    import numcodecs, numpy
    codec = numcodecs.get_codec({"id": "tokenzip", "predictor": "stored"})
    grid = numpy.arange(300, dtype="u2")
    assert (codec.decode(codec.encode(grid)) == grid).all()
    """
    code = "\n".join(line.strip() for line in code.splitlines())
    subprocess.run([sys.executable, "-c", code], env=environment(tmp_path), check=True)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<u2", ">i4", "|b1"])
def test_zarr_format_2(tokens: np.ndarray, order: str, dtype: str, tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr", minversion="3")
    chunk = tokens.astype(dtype)
    array = zarr.create_array(
        tmp_path / "a.zarr",
        shape=chunk.shape,
        chunks=(5, 3, 2),
        dtype=chunk.dtype,
        order=order,
        zarr_format=2,
        compressors=STORED,
    )
    array[:] = chunk
    again = zarr.open_array(tmp_path / "a.zarr", mode="r")
    assert again.metadata.to_dict()["compressor"]["id"] == "tokenzip"
    assert np.array_equal(again[:], chunk)
    assert np.array_equal(again[3:9, 1], chunk[3:9, 1])

"""What holds for any array, of every predictor: hypothesis draws the arrays.

test_codec.py does this for the predictors without a model; here are the networks, and what becomes
of blobs that are cut off, put one behind the other, or read in parts.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).resolve().parent / "fixtures"))

from make_network_fixtures import MODELS, model_path

import tokenzip
from tokenzip.errors import BlobError, TrailingDataError, TruncatedError

DTYPES = ["?", "i1", "u1", "<i2", ">i2", "<u2", ">u4", "<i4", ">i8", "<u8"]
#: Name -> predictor and, of networks, family.
CODERS = {
    "stored": ("stored", None),
    "adaptive": ("adaptive", None),
    "lstm": ("lstm", "lstm"),
    "conv3d": ("conv3d", "conv3d"),
    "hybrid": ("hybrid", "lstm"),
    "hybrid on conv3d": ("hybrid", "conv3d"),
}
WITH_SOLID = ("stored", "adaptive", "hybrid", "hybrid on conv3d")


def options(coder: str, geometry: str) -> dict[str, Any]:
    predictor, family = CODERS[coder]
    return {"predictor": predictor, "model": model_path(family, geometry) if family else None}


def same(a: Any, b: Any) -> bool:
    """Equal in type, dtype (byte order included), shape and every value."""
    if isinstance(b, list):
        return isinstance(a, list) and len(a) == len(b) and all(map(same, a, b))
    return a.dtype == b.dtype and a.shape == b.shape and bool(np.array_equal(a, b))


def bound(arrays: list[np.ndarray], alphabet: int | None = None) -> int:
    """The largest permitted blob: the bit-packed tokens and 64 bytes for each grid."""
    widths = [((alphabet or max(2, int(a.max(initial=0)) + 1)) - 1).bit_length() for a in arrays]
    return sum(-(-a.size * width // 8) + 64 for a, width in zip(arrays, widths, strict=True))


@st.composite
def arrays(draw: Any, geometry: str) -> np.ndarray:
    """Any clip of a geometry: dtype, length (also 0), how calm it is, which tokens it has."""
    frame, alphabet = MODELS[geometry]
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    largest = 1 if dtype.kind == "b" else min(alphabet - 1, int(np.iinfo(dtype).max))
    top = draw(st.integers(0, largest))
    frames = draw(st.integers(0, 12))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    tokens = rng.integers(0, top + 1, (frames, *frame))
    still = rng.random(tokens.shape) < draw(st.sampled_from([0, 0.5, 0.95, 1]))
    for t in range(1, frames):
        tokens[t] = np.where(still[t], tokens[t - 1], tokens[t])
    return tokens.astype(dtype)


def drawn_slice(data: st.DataObject) -> slice:
    bounds = st.none() | st.integers(-15, 15)
    return slice(data.draw(bounds), data.draw(bounds), data.draw(bounds.filter(lambda n: n != 0)))


@pytest.mark.parametrize("coder", CODERS)
@settings(max_examples=25)
@given(data=st.data())
def test_any_clip(coder: str, data: st.DataObject) -> None:
    """The same array comes back, whole and in parts; the blob is hardly larger than its tokens."""
    geometry = data.draw(st.sampled_from(sorted(MODELS)))
    array = data.draw(arrays(geometry))
    chunk_frames = data.draw(st.none() | st.integers(1, 13))
    blob = tokenzip.encode(array, chunk_frames=chunk_frames, **options(coder, geometry))
    model = options(coder, geometry)["model"]
    assert same(tokenzip.decode(blob, model=model), array)
    assert len(blob) <= bound([array])
    frames = drawn_slice(data)
    assert same(tokenzip.decode(blob, model=model, frames=frames), array[frames])


@pytest.mark.parametrize("coder", CODERS)
@settings(max_examples=15)
@given(data=st.data())
def test_any_list(coder: str, data: st.DataObject) -> None:
    """Lists in any order of dtypes and lengths; solid too, where the predictor can be."""
    geometry = data.draw(st.sampled_from(sorted(MODELS)))
    clips = data.draw(st.lists(arrays(geometry), max_size=5))
    clips = data.draw(st.permutations(clips))
    solid = coder in WITH_SOLID and data.draw(st.booleans())
    alphabet = data.draw(st.none() | st.just(MODELS[geometry][1]))
    blob = tokenzip.encode(clips, solid=solid, alphabet=alphabet, **options(coder, geometry))
    model = options(coder, geometry)["model"]
    assert same(tokenzip.decode(blob, model=model), clips)
    assert len(blob) <= max(bound(clips, alphabet), 64)
    frames = drawn_slice(data)
    part = tokenzip.decode(blob, model=model, frames=frames)
    assert same(part, [clip[frames] for clip in clips])


def one_of_each(coder: str) -> tuple[bytes, Any]:
    """A blob of a list of two small clips, and its model."""
    rng = np.random.default_rng(3)
    clips = [np.repeat(rng.integers(0, 24, (1, 10, 4)), n, 0) for n in (5, 9)]
    settings = options(coder, "video")
    return tokenzip.encode(clips, chunk_frames=4, **settings), settings["model"]


@pytest.mark.parametrize("coder", CODERS)
def test_every_beginning_of_a_blob_is_refused(coder: str) -> None:
    blob, model = one_of_each(coder)
    for length in range(len(blob)):
        with pytest.raises(BlobError) as caught:
            tokenzip.decode(blob[:length], model=model)
        if length >= 5:
            assert isinstance(caught.value, TruncatedError), length


@pytest.mark.parametrize("coder", CODERS)
def test_blobs_one_behind_the_other_are_refused(coder: str) -> None:
    """A blob ends with its last payload: what follows is an error, be it a blob too."""
    blob, model = one_of_each(coder)
    for more in (blob, b"\0", blob[:1], blob[-1:]):
        with pytest.raises(TrailingDataError):
            tokenzip.decode(blob + more, model=model)
        with pytest.raises(TrailingDataError):
            tokenzip.inspect(blob + more)
    for less in (blob[1:], b"\0" + blob):
        with pytest.raises(BlobError):
            tokenzip.decode(less, model=model)
    # Where one ends is known from its header, so a reader of several can take them apart.
    end = tokenzip.inspect(blob).total_bytes
    assert end == len(blob)


class Short(io.RawIOBase):
    """A stream that gives one to three bytes at a time, as sockets and pipes may."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at, self.reads = data, 0, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self.at = offset + (0, self.at, len(self.data))[whence]
        return self.at

    def tell(self) -> int:
        return self.at

    def readinto(self, buffer: Any) -> int:
        self.reads += 1
        size = min(len(buffer), 1 + self.reads % 3, len(self.data) - self.at)
        buffer[:size] = self.data[self.at : self.at + size]
        self.at += size
        return size


def test_archives_of_streams_that_read_little_at_a_time(tmp_path: Path) -> None:
    clip = np.arange(600, dtype=np.uint16).reshape(50, 3, 4)
    with tokenzip.open(tmp_path / "a.tkz.h5", "w", predictor="stored") as archive:
        archive["one"], archive["two"] = clip, clip[::-1]
    stream = Short((tmp_path / "a.tkz.h5").read_bytes())
    with tokenzip.open(stream) as archive:
        assert np.array_equal(archive["two"][3:9], clip[::-1][3:9])
        assert np.array_equal(archive["one"], clip)
    assert stream.reads > 300

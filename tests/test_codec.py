"""encode and decode as a caller sees them: round trips, frames, lists, solid, threads, bounds."""

from __future__ import annotations

import json
import math
import mmap
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tokenzip
from tokenzip import Codec, codec
from tokenzip.errors import DTypeError, LimitError, OptionError, TokenRangeError
from tokenzip.predictors import Coder, CoderFactory, coder_factory

DTYPES = ["?", "i1", "u1", "<i2", ">i2", "<u2", ">u2", "<i4", ">i4", ">u4", "<i8", ">i8", "<u8"]


def walk(shape: tuple[int, ...], alphabet: int = 64, seed: int = 0) -> np.ndarray:
    """Tokens that change little from frame to frame, so that prediction pays."""
    rng = np.random.default_rng(seed)
    first = rng.integers(0, alphabet, (1, *shape[1:]))
    steps = rng.random(shape) < 0.05
    return ((first + np.cumsum(steps, axis=0)) % alphabet).astype(np.int16)


def same(a: Any, b: Any) -> bool:
    """Equal in type, dtype (byte order included), shape and every value."""
    if isinstance(b, list):
        return isinstance(a, list) and len(a) == len(b) and all(map(same, a, b))
    return a.dtype == b.dtype and a.shape == b.shape and bool(np.array_equal(a, b))


def bound(grids: list[np.ndarray], alphabet: int | None = None) -> int:
    """The largest permitted blob: bit-packed tokens and 64 bytes for each grid."""
    total = 0
    for grid in grids:
        symbols = alphabet or max(2, int(grid.max(initial=0)) + 1)
        total += math.ceil(grid.size * math.ceil(math.log2(symbols)) / 8) + 64
    return total


@st.composite
def grids(draw: Any, max_dims: int = 4, max_side: int = 9) -> np.ndarray:
    """Any dtype, byte order, shape (empty ones too) and memory layout."""
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=max_dims, min_side=0, max_side=max_side))
    largest = 1 if dtype.kind == "b" else min(65535, int(np.iinfo(dtype).max))
    top = draw(st.sampled_from([t for t in (1, 2, 100, 1023, 65535) if t <= largest]))
    seed = draw(st.integers(0, 2**32 - 1))
    array = np.random.default_rng(seed).integers(0, top + 1, shape).astype(dtype)
    layout = draw(st.sampled_from(["C", "F", "reversed", "strided"]))
    if layout == "F":
        array = np.asfortranarray(array)
    elif array.ndim and layout == "reversed":
        array = array[::-1]
    elif array.ndim and layout == "strided":
        array = array[..., ::2]
    array.flags.writeable = draw(st.booleans())
    return array


class TestRoundTrip:
    @given(array=grids())
    def test_any_grid(self, predictor: str, array: np.ndarray) -> None:
        blob = tokenzip.encode(array, predictor=predictor)
        decoded = tokenzip.decode(blob)
        assert isinstance(decoded, np.ndarray)
        assert same(decoded, array)
        assert decoded.flags.writeable and decoded.flags.c_contiguous
        assert len(blob) <= bound([array])

    @given(arrays=st.lists(grids(max_dims=3, max_side=5), max_size=4), solid=st.booleans())
    def test_any_list(self, predictor: str, arrays: list[np.ndarray], solid: bool) -> None:
        blob = tokenzip.encode(arrays, predictor=predictor, solid=solid)
        assert same(tokenzip.decode(blob), arrays)
        assert len(blob) <= max(bound(arrays), 16)

    @pytest.mark.parametrize(
        ("shape", "alphabet"),
        [
            ((300, 8, 16), 1024),
            ((400, 8), 1024),
            ((1, 32, 32), 8192),
            ((5000,), 300),
            ((64, 16, 16), 2),
            ((40, 3, 4, 5), 65536),
            ((7, 1), 2),
        ],
    )
    def test_geometries(self, predictor: str, shape: tuple[int, ...], alphabet: int) -> None:
        tokens = walk(shape, min(alphabet, 500)).astype(np.uint16)
        blob = tokenzip.encode(tokens, alphabet=alphabet, predictor=predictor)
        assert same(tokenzip.decode(blob), tokens)
        assert tokenzip.inspect(blob).grids[0].alphabet == alphabet

    def test_inputs_that_are_not_arrays(self, predictor: str) -> None:
        for tokens in ([[1, 2], [3, 4]], 5, True, (1, 2, 3)):
            blob = tokenzip.encode(tokens, predictor=predictor)
            assert same(tokenzip.decode(blob), np.asarray(tokens))
        assert tokenzip.decode(tokenzip.encode([], predictor=predictor)) == []

    def test_torch(self, predictor: str) -> None:
        torch = pytest.importorskip("torch")
        tensor = torch.from_numpy(walk((50, 4, 4))).transpose(1, 2)
        assert same(tokenzip.decode(tokenzip.encode(tensor, predictor=predictor)), tensor.numpy())
        both = tokenzip.encode([tensor, tensor[:3].long()], predictor=predictor)
        assert same(tokenzip.decode(both), [tensor.numpy(), tensor[:3].long().numpy()])

    def test_the_same_bytes_for_the_same_values(self, predictor: str) -> None:
        tokens = walk((100, 4, 8))
        blob = tokenzip.encode(tokens, predictor=predictor)
        assert tokenzip.encode(np.asfortranarray(tokens), predictor=predictor) == blob
        assert tokenzip.encode(tokens.copy(), predictor=predictor) == blob


class TestSize:
    """At most 64 bytes per grid above the bit-packed tokens, whatever the input."""

    @pytest.mark.parametrize("alphabet", [2, 3, 1000, 1024, 65536])
    @pytest.mark.parametrize("shape", [(1,), (7, 3), (600, 4, 4), (3000,)])
    @pytest.mark.parametrize("chunk_frames", [None, 1])
    def test_noise(
        self, predictor: str, shape: tuple[int, ...], alphabet: int, chunk_frames: int | None
    ) -> None:
        tokens = np.random.default_rng(1).integers(0, alphabet, shape)
        for solid in (False, True):
            blob = tokenzip.encode(
                tokens,
                alphabet=alphabet,
                predictor=predictor,
                chunk_frames=chunk_frames,
                solid=solid,
            )
            assert len(blob) <= bound([tokens], alphabet)
            assert same(tokenzip.decode(blob), tokens)

    @pytest.mark.parametrize(
        "shape",
        [
            (1,) * 32,
            (16,) * 3 + (1,) * 29,
            (0,) + (15,) * 15 + (1,) * 16,
            (2**40, 0, 1000),
            (0, 2**59),
            (1, 15, 1, 15, 1, 15, 1, 15) + (1,) * 24,
        ],
    )
    def test_odd_shapes(self, predictor: str, shape: tuple[int, ...]) -> None:
        tokens = np.zeros(shape, np.uint8)
        blob = tokenzip.encode(tokens, alphabet=65536, predictor=predictor)
        assert len(blob) <= bound([tokens], 65536)
        assert same(tokenzip.decode(blob), tokens)

    def test_lists_of_noise(self, predictor: str) -> None:
        rng = np.random.default_rng(2)
        arrays = [rng.integers(0, 2 + number, (3, number)) for number in range(40)]
        for solid in (False, True):
            blob = tokenzip.encode(arrays, predictor=predictor, chunk_frames=1, solid=solid)
            assert len(blob) <= bound(arrays)
            assert same(tokenzip.decode(blob), arrays)

    def test_prediction_is_used_where_it_pays(self) -> None:
        tokens = walk((1500, 4, 4))
        noise = np.random.default_rng(3).integers(0, 64, (1500, 4, 4))
        info = tokenzip.inspect(
            tokenzip.encode(np.concatenate([tokens, noise]), alphabet=64, chunk_frames=1500)
        )
        assert [chunk.kind for chunk in info.grids[0].chunks] == ["predicted", "stored"]
        assert info.predictor == "adaptive" and info.parameters
        assert tokenzip.inspect(tokenzip.encode(tokens, predictor="stored")).predictor == "stored"


SLICES = [
    slice(None),
    slice(10),
    slice(-3, None),
    slice(95, 205),
    slice(99, 100),
    slice(100, 101),
    slice(None, None, 7),
    slice(3, 333, 150),
    slice(None, None, -1),
    slice(330, 3, -90),
    slice(-1, -400, -123),
    slice(50, 50),
    slice(900, 1000),
    slice(np.int64(5), np.uint8(9)),
    0,
    -1,
    100,
    np.int32(349),
]


class TestFrames:
    @pytest.fixture(scope="class")
    @classmethod
    def tokens(cls) -> np.ndarray:
        return walk((350, 3, 4))

    @pytest.mark.parametrize("solid", [False, True])
    @pytest.mark.parametrize("frames", SLICES, ids=str)
    def test_as_numpy(self, tokens: Any, predictor: str, frames: Any, solid: bool) -> None:
        arrays = [tokens, tokens[:101, 0, 0] > 5, tokens[200:].astype(">i8")]
        codec = Codec(predictor=predictor, chunk_frames=100, solid=solid)
        whole = codec.encode(tokens)
        assert same(codec.decode(whole, frames=frames), tokens[frames])
        if isinstance(frames, slice):
            decoded = codec.decode(codec.encode(arrays), frames=frames)
            assert same(decoded, [array[frames] for array in arrays])

    @given(
        start=st.none() | st.integers(-400, 400),
        stop=st.none() | st.integers(-400, 400),
        step=st.none() | st.integers(-400, 400).filter(bool),
        chunk_frames=st.integers(1, 400),
    )
    def test_any_slice(
        self,
        start: int | None,
        stop: int | None,
        step: int | None,
        chunk_frames: int,
    ) -> None:
        tokens = np.arange(350)
        blob = tokenzip.encode(tokens, predictor="stored", chunk_frames=chunk_frames)
        frames = slice(start, stop, step)
        assert same(tokenzip.decode(blob, frames=frames), tokens[frames])

    def test_only_the_needed_chunks_are_decoded(self, predictor: str) -> None:
        tokens = walk((400, 3, 4))
        blob = bytearray(tokenzip.encode(tokens, predictor=predictor, chunk_frames=100))
        chunks = tokenzip.inspect(blob).grids[0].chunks
        assert len(chunks) == 4
        blob[chunks[1].offset] ^= 1
        for frames in (slice(100), slice(200, None), slice(0, 400, 250), -1):
            assert same(tokenzip.decode(blob, frames=frames), tokens[frames])
        for frames in (slice(101), slice(199, None), slice(0, 400, 150), 100):
            with pytest.raises(tokenzip.errors.CorruptError, match="chunk 1") as caught:
                tokenzip.decode(blob, frames=frames)
            assert caught.value.where == "chunk 1 payload"

    def test_a_solid_blob_is_decoded_up_to_the_last_needed_chunk(self) -> None:
        tokens = walk((400, 3, 4))
        blob = bytearray(tokenzip.encode(tokens, solid=True, chunk_frames=100))
        info = tokenzip.inspect(blob)
        assert info.solid
        blob[info.grids[0].chunks[2].offset] ^= 1
        assert same(tokenzip.decode(blob, frames=slice(200)), tokens[:200])
        for frames in (slice(201), slice(300, None)):
            with pytest.raises(tokenzip.errors.CorruptError, match="chunk 2"):
                tokenzip.decode(blob, frames=frames)

    def test_empty_grids(self, predictor: str) -> None:
        for shape in ((0,), (0, 5), (5, 0), (300, 0, 2)):
            array = np.zeros(shape, np.int8)
            blob = tokenzip.encode(array, predictor=predictor)
            for frames in (slice(None), slice(1, 3), slice(None, None, -2)):
                assert same(tokenzip.decode(blob, frames=frames), array[frames])

    @pytest.mark.parametrize(
        "frames", ["1", 1.5, True, (1, 2), [1], slice(0, 1, 0), slice("a"), 350, -351]
    )
    def test_refused(self, tokens: Any, frames: Any) -> None:
        blob = tokenzip.encode(tokens, predictor="stored")
        with pytest.raises(OptionError):
            tokenzip.decode(blob, frames=frames)

    def test_no_frames_in_a_scalar(self) -> None:
        blob = tokenzip.encode(3)
        with pytest.raises(OptionError, match="no dimensions"):
            tokenzip.decode(blob, frames=slice(None))


class TestSolid:
    def test_state_flows_from_grid_to_grid(self) -> None:
        clips = [walk((200, 4, 4), 1000, seed=5) for _ in range(5)]
        alone = tokenzip.encode(clips)
        solid = tokenzip.encode(clips, solid=True)
        assert len(solid) < 0.9 * len(alone)
        assert same(tokenzip.decode(solid), clips)

    def test_stored_chunks_between_predicted_ones(self) -> None:
        # Of an alphabet below 1,024 even chance can be coded in less than 10 bits.
        rng = np.random.default_rng(6)
        clips = [
            walk((600, 4, 4), 900, seed=1),
            rng.integers(0, 1024, (300, 4, 4)),
            walk((600, 4, 4), 900, seed=1),
            walk((600, 2), 50, seed=2),
            np.zeros((0, 4, 4), np.uint8),
            rng.integers(0, 1024, (300, 4, 4)),
            walk((600, 4, 4), 900, seed=1) % 2 == 0,
        ]
        blob = tokenzip.encode(clips, solid=True, chunk_frames=150)
        kinds = [[chunk.kind for chunk in grid.chunks] for grid in tokenzip.inspect(blob).grids]
        assert kinds[1] == ["stored"] * 2 and kinds[2] == ["predicted"] * 4
        assert same(tokenzip.decode(blob), clips)
        for frames in (slice(10), slice(-10, None), slice(290, 310)):
            assert same(tokenzip.decode(blob, frames=frames), [clip[frames] for clip in clips])

    def test_one_coder_is_alive_at_a_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """However many groups a blob has (each could take megabytes), and however they mix."""
        alive: weakref.WeakSet[Coder] = weakref.WeakSet()
        counts = []

        def factory(name: str, parameters: bytes | None = None) -> CoderFactory:
            make = coder_factory(name, parameters)

            def counting(
                alphabet: int, frame: tuple[int, ...], chunk_tokens: int, threads: int = 1
            ) -> Coder:
                coder = make(alphabet, frame, chunk_tokens, threads)
                alive.add(coder)
                counts.append(len(alive))
                return coder

            return counting

        monkeypatch.setattr(codec, "coder_factory", factory)
        clips = [walk((200, width), 50, seed) for seed in range(2) for width in (3, 4, 5)]
        blob = tokenzip.encode(clips, solid=True)
        assert same(tokenzip.decode(blob), clips)
        assert counts == [1] * 6

    def test_inferred_alphabets_are_shared(self) -> None:
        clips = [walk((300, 4, 4), 50), walk((300, 4, 4), 60)]
        info = tokenzip.inspect(tokenzip.encode(clips, solid=True))
        assert {grid.alphabet for grid in info.grids} == {60}
        info = tokenzip.inspect(tokenzip.encode(clips))
        assert [grid.alphabet for grid in info.grids] == [50, 60]

    def test_sharing_does_not_flatter_the_ratio(self) -> None:
        clips = [walk((300, 4, 4), 2), walk((300, 4, 4), 60), np.full((2, 4, 4), 65535)]
        alone, solid = (tokenzip.inspect(tokenzip.encode(clips, solid=s)) for s in (False, True))
        assert [grid.raw_bytes for grid in solid.grids] == [600, 3600, 64]
        assert solid.raw_bytes == alone.raw_bytes


class TestThreads:
    @pytest.mark.parametrize("solid", [False, True])
    def test_any_number_gives_the_same(self, predictor: str, solid: bool) -> None:
        clips = [walk((130, 3, 4), 40, seed=seed) for seed in range(3)] + [walk((300,), 9)]
        settings = {"predictor": predictor, "chunk_frames": 50, "solid": solid}
        blob = tokenzip.encode(clips, **settings)
        for threads in (1, 2, 7):
            assert tokenzip.encode(clips, threads=threads, **settings) == blob
            assert same(tokenzip.decode(blob, threads=threads), clips)

    def test_errors_come_through(self) -> None:
        blob = bytearray(tokenzip.encode(walk((400, 3, 4)), chunk_frames=100))
        blob[-1] ^= 1
        with pytest.raises(tokenzip.errors.CorruptError, match="chunk"):
            tokenzip.decode(blob, threads=3)


class TestBuffers:
    def test_kinds_of_buffer(self, tmp_path: Path) -> None:
        tokens = walk((20, 4))
        blob = tokenzip.encode(tokens)
        view = memoryview(b"x" + blob + b"y")[1:-1]
        as_array = np.frombuffer(blob, np.uint8)
        for buffer in (blob, bytearray(blob), memoryview(blob), view, as_array):
            assert same(tokenzip.decode(buffer), tokens)
            assert tokenzip.inspect(buffer).total_bytes == len(blob)
        path = tmp_path / "blob"
        path.write_bytes(blob)
        with path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            assert same(tokenzip.decode(mapped), tokens)
            mapped.close()  # raises BufferError if decode had kept a view

    def test_a_mmap_can_be_closed_after_an_error(self, tmp_path: Path) -> None:
        path = tmp_path / "blob"
        path.write_bytes(tokenzip.encode(walk((20, 4)), predictor="stored")[:-1] + b"\xff")
        with path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            try:
                tokenzip.decode(mapped)
            except tokenzip.errors.CorruptError:
                mapped.close()
            assert mapped.closed

    def test_the_result_owns_its_memory(self) -> None:
        blob = bytearray(tokenzip.encode(np.arange(100), predictor="stored"))
        decoded = tokenzip.decode(blob)
        blob[:] = bytes(len(blob))
        assert same(decoded, np.arange(100))

    @pytest.mark.parametrize("blob", ["text", None, 5, [1, 2], object()])
    def test_not_a_buffer(self, blob: Any) -> None:
        for function in (tokenzip.decode, tokenzip.inspect):
            with pytest.raises(DTypeError, match="a blob is bytes"):
                function(blob)

    @pytest.mark.parametrize("dtype", ["M8[s]", "m8[D]"])
    def test_arrays_that_give_no_buffer(self, dtype: str) -> None:
        for function in (tokenzip.decode, tokenzip.inspect):
            with pytest.raises(DTypeError, match="a blob is bytes"):
                function(np.zeros(3, dtype))

    def test_closed_mmap(self) -> None:
        mapped = mmap.mmap(-1, 8)
        mapped.close()
        with pytest.raises(DTypeError, match="a blob is bytes"):
            tokenzip.decode(mapped)

    def test_strided_buffer(self) -> None:
        with pytest.raises(DTypeError, match="contiguous"):
            tokenzip.decode(np.zeros(64, np.uint8)[::2])


class TestLimit:
    def test_max_tokens(self, predictor: str) -> None:
        tokens = walk((400, 3, 4))
        blob = tokenzip.encode(tokens, predictor=predictor, chunk_frames=100)
        assert same(tokenzip.decode(blob, max_tokens=4800), tokens)
        with pytest.raises(LimitError, match="pass max_tokens=4800"):
            tokenzip.decode(blob, max_tokens=4799)
        assert same(tokenzip.decode(blob, max_tokens=1200, frames=7), tokens[7])
        with pytest.raises(LimitError):
            tokenzip.decode(blob, max_tokens=1199, frames=7)

    def test_lists_count_together(self) -> None:
        blob = tokenzip.encode([np.zeros(10, int), np.zeros(11, int)])
        with pytest.raises(LimitError, match="21 tokens"):
            tokenzip.decode(blob, max_tokens=20)

    def test_empty_needs_nothing(self) -> None:
        blob = tokenzip.encode(np.zeros((0, 5), int))
        assert tokenzip.decode(blob, max_tokens=0).shape == (0, 5)


class TestCodec:
    def test_same_as_the_functions(self, predictor: str) -> None:
        tokens = walk((300, 3, 4))
        codec = Codec(alphabet=80, predictor=predictor, chunk_frames=120, threads=2)
        blob = codec.encode(tokens)
        assert blob == tokenzip.encode(
            tokens, alphabet=80, predictor=predictor, chunk_frames=120, threads=2
        )
        assert same(codec.decode(blob), tokens)
        assert same(codec.decode(blob, frames=3), tokens[3])
        with pytest.raises(TokenRangeError):
            codec.encode(np.array([80]))
        with pytest.raises(LimitError):
            Codec(max_tokens=5).decode(blob)

    @pytest.mark.parametrize(
        "settings",
        [
            {"predictor": "best"},
            {"predictor": None},
            {"predictor": np.array(["auto", "adaptive"])},
            {"alphabet": 1},
            {"alphabet": 1.5},
            {"chunk_frames": 0},
            {"chunk_frames": -1},
            {"chunk_frames": 2.0},
            {"chunk_frames": True},
            {"threads": 0},
            {"threads": "2"},
            {"max_tokens": -1},
            {"max_tokens": None},
        ],
    )
    def test_bad_settings(self, settings: dict[str, Any]) -> None:
        with pytest.raises(OptionError, match=next(iter(settings))):
            Codec(**settings)

    @pytest.mark.parametrize("integer", [np.int64, np.uint8, np.array])
    def test_numpy_integers_become_plain_ones(self, integer: Any) -> None:
        tokens = walk((500, 3, 4), 50)
        codec = Codec(
            alphabet=integer(64),
            chunk_frames=integer(200),
            threads=integer(2),
            max_tokens=integer(200),
        )
        plain = Codec(alphabet=64, chunk_frames=200, threads=2, max_tokens=200)
        given = [value for value in vars(codec).values() if value is not None]
        assert {type(value) for value in given} == {int, str, bool}
        assert codec == plain and codec.encode(tokens) == plain.encode(tokens)
        assert same(codec.decode(codec.encode(tokens[:5])), tokens[:5])

    def test_functions_check_too(self) -> None:
        with pytest.raises(OptionError, match="predictor must be one of auto, adaptive, stored"):
            tokenzip.encode([1], predictor="magic")
        with pytest.raises(OptionError, match="max_tokens"):
            tokenzip.decode(b"", max_tokens=-1)

    def test_frozen_and_comparable(self) -> None:
        assert Codec(alphabet=5) == Codec(alphabet=5) != Codec()
        with pytest.raises(AttributeError):
            Codec().alphabet = 3  # type: ignore[misc]


class TestInspect:
    def test_sums_and_json(self, predictor: str) -> None:
        clips = [walk((350, 3, 4), 40), walk((90,), 3).astype(">u4"), np.zeros((0, 2), bool)]
        blob = tokenzip.encode(clips, predictor=predictor, chunk_frames=100)
        info = tokenzip.inspect(blob)
        assert info.version == 1 and info.is_list and info.model is None
        assert [grid.shape for grid in info.grids] == [clip.shape for clip in clips]
        assert [grid.dtype for grid in info.grids] == [clip.dtype for clip in clips]
        assert info.tokens == 350 * 12 + 90
        assert info.raw_bytes == 350 * 12 * 6 // 8 + math.ceil(90 * 2 / 8)
        assert info.header_bytes + info.payload_bytes == info.total_bytes == len(blob)
        assert info.ratio == info.raw_bytes / len(blob)
        assert info.bits_per_token == 8 * len(blob) / info.tokens
        position = info.header_bytes
        for grid, clip in zip(info.grids, clips, strict=True):
            assert sum(chunk.frames for chunk in grid.chunks) == (len(clip) if clip.size else 0)
            for chunk in grid.chunks:
                assert chunk.offset == position
                position += chunk.bytes
        assert position == len(blob)
        written = json.loads(json.dumps(info.to_dict()))
        assert written["grids"][0]["chunks"][0]["frames"] == info.grids[0].chunks[0].frames
        assert written["grids"][1]["dtype"] == ">u4" and written["tokens"] == info.tokens

    def test_nothing(self) -> None:
        info = tokenzip.inspect(tokenzip.encode([]))
        assert (info.tokens, info.ratio, info.bits_per_token, info.grids) == (0, 0.0, None, ())
        json.dumps(info.to_dict())

    def test_damaged_payloads_do_not_matter(self) -> None:
        blob = bytearray(tokenzip.encode(walk((20, 4)), predictor="stored"))
        blob[-1] ^= 0xFF
        assert tokenzip.inspect(blob).tokens == 80

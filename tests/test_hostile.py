"""Bytes that are not a good blob: a BlobError each time, never another exception or array."""

from __future__ import annotations

import math
import tracemalloc
import zlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tokenzip
from tokenzip.blob import CodedChunk, CodedGrid, write_blob
from tokenzip.blob.fields import write_dtype, write_shape
from tokenzip.blob.varint import Reader, varint
from tokenzip.errors import BlobError, CorruptError, LimitError, TrailingDataError, TruncatedError
from tokenzip.predictors.stored import pack, packed_size

#: Enough for every blob made here, and little enough for a lying one to be refused or done soon.
LIMIT = 4096


def small_grid() -> np.ndarray:
    """Three chunks of predictable tokens, when cut every 20 frames."""
    return ((np.arange(60)[:, None, None] // 9 + np.arange(6).reshape(2, 3)) % 11).astype(np.int16)


def small_blob(predictor: str, solid: bool = False) -> bytes:
    return tokenzip.encode(
        [small_grid(), small_grid() > 4], predictor=predictor, chunk_frames=20, solid=solid
    )


def decode(blob: bytes) -> list[np.ndarray] | None:
    """The arrays of a blob; None if it was refused as it should be. Other exceptions pass."""
    try:
        decoded = tokenzip.decode(blob, max_tokens=LIMIT)
    except BlobError:
        return None
    return decoded if isinstance(decoded, list) else [decoded]


def consistent(blob: bytes, arrays: list[np.ndarray]) -> bool:
    """Whether decoded arrays are what the blob's header says, down to every checksum."""
    for info, array in zip(tokenzip.inspect(blob).grids, arrays, strict=True):
        if array.shape != info.shape or array.dtype != info.dtype:
            return False
        flat = array.reshape(array.shape or (1,)).astype("<u2")
        if (flat != array).any() or (flat >= info.alphabet).any():
            return False
        for chunk in info.chunks:
            part = flat[chunk.start : chunk.start + chunk.frames]
            if zlib.crc32(np.ascontiguousarray(part).tobytes()) != chunk.token_crc:
                return False
    return True


def sealed(fields: bytes, payload: bytes = b"") -> bytes:
    """A blob of these header fields with a right length and checksum."""
    header = b"\xf7TKZ\x01" + varint(len(fields)) + fields
    return header + zlib.crc32(header).to_bytes(4, "little") + payload


def opened(blob: bytes) -> tuple[bytes, bytes]:
    """(header fields, payloads) of a good blob."""
    reader = Reader(blob, 5)
    length = reader.varint("length")
    return reader.take(length, "fields"), blob[reader.position + 4 :]


@pytest.mark.parametrize("solid", [False, True])
class TestOneBlob:
    def test_every_single_bit_flip(self, predictor: str, solid: bool) -> None:
        blob = small_blob(predictor, solid)
        for position in range(8 * len(blob)):
            flipped = bytearray(blob)
            flipped[position // 8] ^= 1 << position % 8
            with pytest.raises(BlobError):
                tokenzip.decode(flipped, max_tokens=LIMIT)

    def test_every_prefix(self, predictor: str, solid: bool) -> None:
        blob = small_blob(predictor, solid)
        for length in range(len(blob)):
            with pytest.raises(BlobError) as caught:
                tokenzip.decode(blob[:length], max_tokens=LIMIT)
            assert length == 0 or isinstance(caught.value, TruncatedError)

    def test_trailing_bytes(self, predictor: str, solid: bool) -> None:
        blob = small_blob(predictor, solid)
        for extra in (b"\0", b"\n", blob, bytes(1000)):
            with pytest.raises(TrailingDataError):
                tokenzip.decode(blob + extra)

    def test_random_damage(self, predictor: str, solid: bool) -> None:
        """Mutations that leave the checksums alone are always noticed."""
        rng = np.random.default_rng(11)
        blob = small_blob(predictor, solid)
        for _ in range(2500):
            mutated = mutate(blob, rng)
            if mutated != blob:
                assert decode(mutated) is None

    def test_damaged_fields_under_a_right_checksum(self, predictor: str, solid: bool) -> None:
        rng = np.random.default_rng(12)
        fields, payload = opened(small_blob(predictor, solid))
        flips = (
            fields[:at] + bytes([fields[at] ^ 1 << bit]) + fields[at + 1 :]
            for at in range(len(fields))
            for bit in range(8)
        )
        accepted = 0
        for damaged in (*flips, *(mutate(fields, rng) for _ in range(2500))):
            blob = sealed(damaged, payload)
            arrays = decode(blob)
            if arrays is not None:
                accepted += 1
                assert consistent(blob, arrays)
        # Some make another good blob (another dtype, say); most do not.
        assert 0 < accepted < 500


def mutate(data: bytes, rng: np.random.Generator) -> bytes:
    """One to three random edits: bytes changed, removed, repeated, inserted, or swapped around."""
    out = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        at, other = (int(part) for part in rng.integers(0, max(len(out), 1), 2))
        length = int(rng.integers(1, 9))
        match int(rng.integers(0, 6)):
            case 0:
                out[at : at + 1] = rng.bytes(1)
            case 1:
                out[at : at + length] = rng.bytes(length)
            case 2:
                del out[at : at + length]
            case 3:
                out[at:at] = rng.bytes(length)
            case 4:
                out[at:at] = out[other : other + length]
            case _:
                out[at : at + 1] = bytes([int(rng.choice([0, 1, 0x7F, 0x80, 0xFE, 0xFF]))])
    return bytes(out)


class TestLiesWithRightChecksums:
    """Blobs made by someone who knows the format."""

    @pytest.mark.parametrize(
        ("change", "where"),
        [
            (lambda chunk: replace(chunk, token_crc=chunk.token_crc ^ 1), "chunk 1 tokens"),
            (lambda chunk: replace(chunk, payload=b"\xff" * len(chunk.payload)), "chunk 1"),
            (lambda chunk: replace(chunk, payload=bytes(len(chunk.payload))), "chunk 1"),
        ],
    )
    def test_stored_payloads(self, change: Any, where: str) -> None:
        grid = stored_grid()
        chunks = (grid.chunks[0], change(grid.chunks[1]), *grid.chunks[2:])
        blob = write_blob([replace(grid, chunks=chunks)], is_list=False)
        with pytest.raises(CorruptError, match="chunk 1") as caught:
            tokenzip.decode(blob)
        assert caught.value.where.startswith(where)

    @pytest.mark.parametrize("solid", [False, True])
    def test_predicted_payloads(self, solid: bool) -> None:
        """Payloads of nonsense with right checksums reach the coder itself."""
        rng = np.random.default_rng(13)
        grid = stored_grid()
        size = packed_size(120, 4)
        fields, payload = opened(tokenzip.encode(small_grid(), chunk_frames=20))
        info = tokenzip.inspect(sealed(fields, payload))
        for number in range(600):
            original = payload[: info.grids[0].chunks[0].bytes]
            nonsense = [
                rng.bytes(int(rng.integers(0, size))),
                mutate(original, rng)[: size - 1],
                bytes([int(rng.integers(0, 256))]) * int(rng.integers(0, size)),
            ][number % 3]
            chunk = CodedChunk(False, nonsense, grid.chunks[0].token_crc)
            blob = write_blob(
                [replace(grid, chunks=(chunk, *grid.chunks[1:]))],
                is_list=False,
                predictor="adaptive",
                parameters=info.parameters,
                solid=solid,
            )
            arrays = decode(blob)
            assert arrays is None or np.array_equal(arrays[0], small_grid())

    def test_predictor_parameters(self) -> None:
        tokens = small_grid()
        info = tokenzip.inspect(tokenzip.encode(tokens))
        assert info.predictor == "adaptive"
        chunk = info.grids[0].chunks[0]
        payload = tokenzip.encode(tokens)[chunk.offset :]
        grid = CodedGrid(
            tokens.shape, tokens.dtype, 11, None, (CodedChunk(False, payload, chunk.token_crc),)
        )
        rng = np.random.default_rng(14)
        for length in range(12):
            parameters = rng.bytes(length)
            if parameters == info.parameters:
                continue
            blob = write_blob([grid], is_list=False, predictor="adaptive", parameters=parameters)
            arrays = decode(blob)
            assert arrays is None or np.array_equal(arrays[0], tokens)

    def test_tokens_that_do_not_fit_the_dtype_or_the_alphabet(self) -> None:
        tokens = np.array([[1, 200], [3, 1]], np.uint16)
        chunk = CodedChunk(True, pack(tokens, 8), zlib.crc32(tokens.astype("<u2").tobytes()))
        for dtype, alphabet in (("int8", 256), ("bool", 256), ("uint8", 150), ("int64", 200)):
            grid = CodedGrid((2, 2), np.dtype(dtype), alphabet, None, (chunk,))
            with pytest.raises(CorruptError, match="token 200 does not fit"):
                tokenzip.decode(write_blob([grid], is_list=False))
        good = CodedGrid((2, 2), np.dtype("uint8"), 201, None, (chunk,))
        assert tokenzip.decode(write_blob([good], is_list=False)).tolist() == tokens.tolist()

    @given(data=st.data())
    def test_structures(self, data: st.DataObject) -> None:
        """Right checksums around wrong shapes, alphabets, dtypes, chunk sizes and payloads."""
        grid = stored_grid()
        shape = data.draw(
            st.sampled_from([grid.shape, (20, 2, 9), (360,), (), (0, 6), (61, 2, 3), (2**40, 6)])
        )
        grid = replace(
            grid,
            shape=shape,
            dtype=np.dtype(data.draw(st.sampled_from(["bool", "i1", "u1", ">i2", "u8"]))),
            alphabet=data.draw(st.sampled_from([2, 9, 11, 16, 17, 65536])),
            chunk_frames=data.draw(st.sampled_from([None, 1, 19, 20, 21, 60, 2**40])),
            chunks=tuple(data.draw(st.lists(st.sampled_from(grid.chunks), max_size=4))),
        )
        blob = write_blob([grid], is_list=data.draw(st.booleans()))
        arrays = decode(blob)
        if arrays is not None:
            assert consistent(blob, arrays)


def stored_grid() -> CodedGrid:
    tokens = small_grid().astype(np.uint16)
    parts = [tokens[start : start + 20] for start in (0, 20, 40)]
    chunks = tuple(
        CodedChunk(True, pack(part, 4), zlib.crc32(part.astype("<u2").tobytes())) for part in parts
    )
    return CodedGrid(tokens.shape, np.dtype(np.int16), 11, 20, chunks)


class TestNothingIsAllocatedForALie:
    def refuse(self, blob: bytes, **options: Any) -> BlobError:
        """The error of a blob, which must not have cost more than a megabyte to find."""
        tracemalloc.start()
        try:
            with pytest.raises(BlobError) as caught:
                tokenzip.decode(blob, **options)
            assert tracemalloc.get_traced_memory()[1] < 1 << 20
        finally:
            tracemalloc.stop()
        return caught.value

    def claim(
        self,
        shape: tuple[int, ...],
        *,
        kind: int = 0,
        chunk_frames: int = 0,
        table: bytes = bytes(9),
        predictor: int = 1,
    ) -> bytes:
        """A blob of a few bytes that claims an int64 grid of this shape."""
        record = write_dtype(np.dtype("i8")) + write_shape(shape) + varint(1022)
        entry = varint(kind) + table[1:]
        return sealed(b"\0" + bytes([predictor, 0]) + record + varint(chunk_frames) + entry)

    @pytest.mark.parametrize(
        "shape",
        [(2**20, 2**20), (2**59,), (2**19, 2**20, 2**20), (1, 2**50), (2**13,) * 4, (2**29, 1)],
    )
    def test_terabytes(self, shape: tuple[int, ...]) -> None:
        # Stored: the payload would have to be as long. Predicted: the limit is what helps.
        assert isinstance(self.refuse(self.claim(shape)), TruncatedError)
        predicted = self.claim(shape, kind=1)
        assert isinstance(self.refuse(predicted), LimitError)
        assert str(math.prod(shape)) in str(self.refuse(predicted))
        assert tokenzip.inspect(predicted).tokens == math.prod(shape)

    def test_some_frames_of_terabytes(self) -> None:
        for frames in (0, slice(1), slice(None, None, 2**30)):
            error = self.refuse(self.claim((2**20, 2**20), kind=1), frames=frames)
            assert isinstance(error, LimitError)

    @pytest.mark.parametrize("shape", [(2**60,), (2**30, 2**30), (0, 2**60), (2**62, 2**62, 0)])
    def test_shapes_beyond_any_memory(self, shape: tuple[int, ...]) -> None:
        assert isinstance(self.refuse(self.claim(shape)), CorruptError)

    @pytest.mark.parametrize("chunk_frames", [1, 2, 1000, 2**39])
    def test_chunk_counts(self, chunk_frames: int) -> None:
        error = self.refuse(self.claim((2**40, 2), chunk_frames=chunk_frames))
        assert isinstance(error, CorruptError) and "cannot be listed" in str(error)

    def test_payload_lengths(self) -> None:
        assert isinstance(self.refuse(self.claim((2**30,), kind=2**30)), TruncatedError)
        assert isinstance(self.refuse(self.claim((8,), kind=2**62)), CorruptError)

    @pytest.mark.parametrize("count", [5, 2**20, 2**62])
    def test_grid_counts(self, count: int) -> None:
        empty = write_dtype(np.dtype("i8")) + write_shape((0,)) + varint(0) + varint(0)
        good = sealed(b"\x01\0\0" + varint(3) + 3 * empty)
        assert len(tokenzip.decode(good)) == 3
        self.refuse(sealed(b"\x01\0\0" + varint(count) + 3 * empty))

    def test_many_small_chunks(self) -> None:
        """Beyond the limit the tables are checked, and nothing is kept of them."""
        count = 50_000
        chunk = bytes(9)
        shape = write_dtype(np.dtype("u1")) + write_shape((count,))
        one = shape + varint(254) + varint(1) + count * chunk
        blob = sealed(b"\0\0\0" + one, bytes(count))
        grid = write_dtype(np.dtype("u1")) + write_shape((1,)) + varint(254) + varint(0) + chunk
        blobs = [blob, sealed(b"\x01\0\0" + varint(count) + count * grid, bytes(count))]
        for blob in blobs:
            tracemalloc.start()
            try:
                with pytest.raises(LimitError, match=f"pass max_tokens={count}$"):
                    tokenzip.decode(blob, max_tokens=100)
                assert tracemalloc.get_traced_memory()[1] < 3 * len(blob)
            finally:
                tracemalloc.stop()
            with pytest.raises(TruncatedError):
                tokenzip.decode(blob[:-1], max_tokens=100)
            assert tokenzip.inspect(blob).tokens == count

    def test_many_empty_grids(self) -> None:
        count = 20_000
        empty = write_dtype(np.dtype(">i8")) + write_shape((0,)) + varint(0) + varint(0)
        blob = sealed(b"\x01\0\0" + varint(count) + count * empty)
        tracemalloc.start()
        try:
            assert len(tokenzip.decode(blob, max_tokens=0)) == count
            assert tracemalloc.get_traced_memory()[1] < 500 * count
        finally:
            tracemalloc.stop()

    def test_header_length(self) -> None:
        for length in (2**20, 2**40, 2**62):
            error = self.refuse(b"\xf7TKZ\x01" + varint(length) + bytes(50))
            assert isinstance(error, TruncatedError)


@given(st.binary(max_size=80))
def test_random_bytes(data: bytes) -> None:
    assert decode(data) is None
    assert decode(b"\xf7TKZ\x01" + data) is None


@given(st.binary(max_size=60), st.binary(max_size=10))
def test_random_fields(fields: bytes, payload: bytes) -> None:
    blob = sealed(fields, payload)
    arrays = decode(blob)
    assert arrays is None or consistent(blob, arrays)

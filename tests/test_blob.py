"""The byte layout: pinned bytes, a second reader written from FORMAT.md, and refused fields."""

from __future__ import annotations

import itertools
import math
import re
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference.blob_decoder import parse

import tokenzip
from tokenzip.blob import CodedChunk, CodedGrid, chunk_bounds, chunk_count, read_header, write_blob
from tokenzip.blob.chunks import default_chunk_frames
from tokenzip.blob.fields import read_dtype, read_shape, write_dtype, write_shape
from tokenzip.blob.varint import Reader, varint
from tokenzip.errors import (
    BlobError,
    CorruptError,
    MissingModelError,
    NotABlobError,
    TrailingDataError,
    TruncatedError,
    UnsupportedVersionError,
)
from tokenzip.predictors.stored import pack


def stored(tokens: Any, alphabet: int = 1024, chunk_frames: int | None = None) -> CodedGrid:
    """A grid of stored chunks, made without the codec."""
    array = np.asarray(tokens)
    frames = array.shape[0] if array.shape else 1
    flat = array.astype("<u2").reshape(array.shape or (1,))
    bits = math.ceil(math.log2(alphabet))
    chunks = tuple(
        CodedChunk(True, pack(flat[a:b], bits), zlib.crc32(flat[a:b].tobytes()))
        for a, b in chunk_bounds(frames, chunk_frames or frames)
    )
    return CodedGrid(array.shape, array.dtype, alphabet, chunk_frames, chunks)


def with_fields(fields: bytes, payload: bytes = b"", version: int = 1) -> bytes:
    """A blob with these header fields and a right checksum."""
    header = b"\xf7TKZ" + bytes([version]) + varint(len(fields)) + fields
    return header + zlib.crc32(header).to_bytes(4, "little") + payload


class TestPinnedBytes:
    """These bytes are format version 1: they must never change."""

    def test_one_grid(self) -> None:
        tokens = np.array([[1, 2, 3], [1023, 0, 512]], np.int16)
        blob = tokenzip.encode(tokens, alphabet=1024, predictor="stored")
        assert blob.hex(" ") == (
            "f7 54 4b 5a 01 12 "  # magic, version, 18 bytes of fields
            "00 00 00 "  # flags, predictor stored, no parameters
            "03 02 23 fe 07 00 "  # int16, 2 dimensions, 2 x 3, alphabet 1024, one chunk
            "00 a4 1a 54 ef ee ed 60 27 "  # stored, CRC-32 of payload, of tokens
            "47 8e 4d b7 "  # CRC-32 of all of the above
            "00 40 20 0f ff 00 20 00"  # payload
        )

    def test_list_with_an_empty_grid(self) -> None:
        blob = tokenzip.encode([np.zeros((0, 20), ">u4"), np.array(True)], predictor="stored")
        assert blob.hex(" ") == (
            "f7 54 4b 5a 01 17 "  # magic, version, 23 bytes of fields
            "01 00 00 02 "  # flags: list; predictor stored, no parameters, 2 grids
            "86 02 0f 05 00 00 "  # big-endian uint32, 2 dimensions, 0 x (15 + 5), alphabet 2
            "00 00 00 00 00 ad 6c ba 3f be 23 c2 58 "  # bool, 0 dimensions, alphabet 2, one chunk
            "11 02 43 05 "  # CRC-32 of all of the above
            "80"  # payload
        )


def test_examples_of_the_format_text() -> None:
    text = (Path(__file__).parents[1] / "FORMAT.md").read_text(encoding="utf-8")
    examples = re.findall(r"`tokenzip\.encode\(([^\n]*)\)`:\n\n```\n(.*?)```", text, re.DOTALL)
    assert len(examples) == 2
    for arguments, listing in examples:
        blob = eval(f"tokenzip.encode({arguments})", {"tokenzip": tokenzip, "numpy": np})
        assert bytes.fromhex("".join(line[:24] for line in listing.splitlines())) == blob


class TestSecondReader:
    @given(
        shape=st.lists(st.integers(0, 20), max_size=4).filter(lambda s: math.prod(s) <= 4000),
        alphabet=st.integers(2, 65536),
        dtype=st.sampled_from(["<u2", ">u2", "<i4", ">i8", "<u8"]),
        chunk_frames=st.integers(1, 9),
        as_list=st.booleans(),
        seed=st.integers(0, 99),
    )
    def test_reads_what_encode_writes(
        self,
        shape: list[int],
        alphabet: int,
        dtype: str,
        chunk_frames: int,
        as_list: bool,
        seed: int,
    ) -> None:
        tokens = np.random.default_rng(seed).integers(0, alphabet, shape).astype(dtype)
        blob = tokenzip.encode(
            [tokens, tokens] if as_list else tokens,
            alphabet=alphabet,
            predictor="stored",
            chunk_frames=chunk_frames,
        )
        parsed = parse(blob)
        assert parsed.flags == as_list and parsed.predictor == 0
        for grid in parsed.grids:
            assert grid.shape == shape and grid.alphabet == alphabet
            assert grid.dtype == tokens.dtype.name and grid.big_endian == (dtype[0] == ">")
            assert [t for chunk in grid.tokens for t in chunk] == tokens.reshape(-1).tolist()

    @pytest.mark.parametrize("embedded", [None, b"a model"])
    def test_reads_predicted_chunks_parameters_and_model(self, embedded: bytes | None) -> None:
        grid = stored(np.arange(40).reshape(10, 4), chunk_frames=5)
        chunks = (replace(grid.chunks[0], stored=False, payload=b"abcd"), grid.chunks[1])
        blob = write_blob(
            [replace(grid, chunks=chunks)],
            is_list=False,
            predictor="lstm",
            parameters=b"\x01",
            model=bytes(range(32)),
            embedded=embedded,
        )
        parsed = parse(blob)
        assert (parsed.flags, parsed.predictor) == (12 if embedded else 4, 2)
        assert (parsed.parameters, parsed.model) == (b"\x01", bytes(range(32)))
        assert parsed.embedded == (embedded or b"")
        assert parsed.grids[0].tokens == [b"abcd", list(range(20, 40))]
        info = tokenzip.inspect(blob)
        assert (info.parameters, info.model, info.solid) == (b"\x01", bytes(range(32)), False)
        assert info.embedded_bytes == len(embedded or b"")
        assert [chunk.kind for chunk in info.grids[0].chunks] == ["predicted", "stored"]
        assert info.grids[0].chunks[1].offset == info.header_bytes + info.embedded_bytes + 4
        if not embedded:
            with pytest.raises(MissingModelError, match=bytes(range(32)).hex()):
                tokenzip.decode(blob)
        else:
            with pytest.raises(CorruptError, match="embedded model"):
                tokenzip.decode(blob)


class TestVarint:
    @given(st.integers(0, 2**63 - 1))
    def test_round_trip(self, value: int) -> None:
        encoded = varint(value)
        assert len(encoded) == max(1, -(-value.bit_length() // 7))
        assert Reader(encoded).varint("test") == value

    @pytest.mark.parametrize("encoded", ["8000", "ff00", "808000", "80" * 9 + "01", "ff" * 10])
    def test_other_forms_are_refused(self, encoded: str) -> None:
        with pytest.raises(CorruptError, match="canonical"):
            Reader(bytes.fromhex(encoded)).varint("test")

    @pytest.mark.parametrize("encoded", ["", "80", "ffff"])
    def test_cut_off(self, encoded: str) -> None:
        with pytest.raises(TruncatedError):
            Reader(bytes.fromhex(encoded)).varint("test")

    @pytest.mark.parametrize("value", [-1, 2**63])
    def test_out_of_range(self, value: int) -> None:
        with pytest.raises(ValueError, match="varint holds"):
            varint(value)


class TestFields:
    @pytest.mark.parametrize("kind", ["?", "b", "B", "h", "H", "i", "I", "q", "Q"])
    @pytest.mark.parametrize("order", "<>=")
    def test_dtypes(self, kind: str, order: str) -> None:
        dtype = np.dtype(kind).newbyteorder(order)
        assert read_dtype(Reader(write_dtype(dtype))) == dtype

    @pytest.mark.parametrize("code", [9, 0x7F, 0x80, 0x81, 0x82, 0x89, 0xFF])
    def test_dtype_codes_that_do_not_exist(self, code: int) -> None:
        with pytest.raises(CorruptError, match="dtype code"):
            read_dtype(Reader(bytes([code])))

    @given(st.lists(st.integers(0, 40) | st.integers(0, 2**59), max_size=32))
    def test_shapes(self, shape: list[int]) -> None:
        reader = Reader(write_shape(shape))
        if math.prod(max(size, 1) for size in shape) >= 2**60:
            with pytest.raises(CorruptError, match="impossibly large"):
                read_shape(reader)
        else:
            assert read_shape(reader) == tuple(shape)
            assert reader.left == 0

    @pytest.mark.parametrize(
        ("encoded", "message"), [("21", "33 dimensions"), ("0112", "padding"), ("ff", "dimensions")]
    )
    def test_bad_shapes(self, encoded: str, message: str) -> None:
        with pytest.raises(CorruptError, match=message):
            read_shape(Reader(bytes.fromhex(encoded) + bytes(40)))


class TestChunks:
    @given(frames=st.integers(1, 10_000), size=st.integers(1, 3_000))
    def test_bounds_cover_all_frames_and_none_is_tiny(self, frames: int, size: int) -> None:
        bounds = list(chunk_bounds(frames, size))
        assert len(bounds) == chunk_count(frames, size)
        assert bounds[0][0] == 0 and bounds[-1][1] == frames
        assert all(a[1] == b[0] for a, b in itertools.pairwise(bounds))
        lengths = [stop - start for start, stop in bounds]
        assert all(length == size for length in lengths[:-1])
        assert 2 * lengths[-1] < 3 * size or len(lengths) == 1
        if len(lengths) > 1:
            assert 2 * lengths[-1] >= size

    def test_defaults(self) -> None:
        assert default_chunk_frames(128) == 1200
        assert default_chunk_frames(1024) == 1200
        assert default_chunk_frames(8) == 18_750
        assert default_chunk_frames(1) == 150_000
        assert default_chunk_frames(0) == 150_000


class TestHeaderChecks:
    """Fields with a right checksum that make no sense."""

    #: flags, predictor, no parameters, uint8, (2, 3), alphabet 4, one chunk, stored, two CRCs
    GOOD = "00 00 00 02 02 23 02 00 00 00000000 00000000"

    def test_the_good_one_is_read(self) -> None:
        info = tokenzip.inspect(with_fields(bytes.fromhex(self.GOOD), bytes(2)))
        assert info.grids[0].shape == (2, 3) and info.grids[0].alphabet == 4

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            (GOOD.replace("00 00 00 02", "10 00 00 02"), "flags 0x10"),
            (GOOD.replace("00 00 00 02", "08 00 00 05 02"), "not named"),
            (GOOD.replace("00 00 00 02", f"0c 02 01 01 {'11' * 32} 00 02"), "has no bytes"),
            (GOOD.replace("00 00 00 02", f"06 02 01 01 {'11' * 32} 02"), "not solid"),
            (GOOD.replace("00 00 00 02", "00 02 01 01 02"), "names none"),
            (GOOD.replace("00 00 00 02", "02 00 00 02"), "not solid"),
            (GOOD.replace("00 00 00 02", "04 00 00 00 02"), "no model"),
            (GOOD.replace("00 00 00 02", "00 00 01 07 02"), "no parameters"),
            (GOOD + "00", "1 bytes are left over"),
            (GOOD.replace("02 23 02", "02 23 ffff03"), "alphabet of 65537"),
            (GOOD.replace("02 23 02 00", "02 23 02 05"), "one chunk"),
            (GOOD.replace("02 23 02 00", "02 23 02 02"), "one chunk"),
            (GOOD.replace("02 23 02 00", "02 23 02 01"), "2 chunks of the grid cannot be listed"),
            (GOOD.replace("02 23 02 00", "02 f0 f0ffffffffff01 02 01"), "empty but divided"),
            (GOOD.replace("02 23 02 00", "02 f1 f0ffffffffff01 02 01"), "cannot be listed"),
            (GOOD.replace("00 00000000", "02 00000000"), "predicted chunk in a stored"),
            ("00 01" + GOOD[5:].replace("00 00000000", "03 00000000"), "no smaller than a stored"),
            ("01 00 00 ffffffffffffff7f", "grids cannot be described"),
            ("01 00 00 02 02 02 23 02 00 00 00000000 00000000", "blob ends inside its dtype"),
            ("00 00 ffffffffffffff7f", "ends inside its predictor parameters"),
            ("04 02 00 ffffffffffffff7f", "ends inside its model identity"),
            ("", "ends inside its flags"),
            ("00 00 8000", "canonical"),
        ],
    )
    def test_refused(self, fields: str, message: str) -> None:
        with pytest.raises(BlobError, match=message):
            tokenzip.inspect(with_fields(bytes.fromhex(fields), bytes(2)))

    def test_order_of_checks_gives_the_most_useful_message(self) -> None:
        blob = tokenzip.encode(np.arange(6), predictor="stored")
        with pytest.raises(NotABlobError, match="empty"):
            tokenzip.decode(b"")
        with pytest.raises(NotABlobError, match="begins with"):
            tokenzip.decode(b"PK\x03\x04 and so on")
        with pytest.raises(NotABlobError, match="begins with"):
            tokenzip.decode(b"x")
        with pytest.raises(TruncatedError):
            tokenzip.decode(blob[:3])
        with pytest.raises(UnsupportedVersionError, match=r"version 3.*upgrade"):
            tokenzip.decode(b"\xf7TKZ\x03")
        with pytest.raises(UnsupportedVersionError, match="version 255"):
            tokenzip.decode(b"\xf7TKZ\xff nothing here parses")
        with pytest.raises(CorruptError, match="version 0"):
            tokenzip.decode(b"\xf7TKZ\x00" + blob[5:])
        with pytest.raises(UnsupportedVersionError, match="predictor 9"):
            tokenzip.decode(with_fields(b"\x00\x09 whatever follows"))
        with pytest.raises(TruncatedError, match="announces"):
            tokenzip.decode(blob[:-1])
        with pytest.raises(TrailingDataError, match="2 bytes follow"):
            tokenzip.decode(blob + b"ab")


def test_a_blob_without_predicted_chunks_is_written_as_stored() -> None:
    blob = write_blob(
        [stored([1, 2, 3])], is_list=False, predictor="adaptive", parameters=b"p", solid=True
    )
    info = tokenzip.inspect(blob)
    assert (info.predictor, info.parameters, info.solid) == ("stored", b"", False)
    assert tokenzip.decode(blob).tolist() == [1, 2, 3]


def test_framing_is_small(predictor: str, rng: np.random.Generator) -> None:
    frame = rng.integers(0, 1024, (1, 8, 16)).astype(np.int16)
    blob = tokenzip.encode(frame, alphabet=1024, predictor=predictor)
    assert len(blob) - 160 <= 32


def test_header_is_read_from_any_memory(rng: np.random.Generator) -> None:
    blob = tokenzip.encode(rng.integers(0, 9, (3, 4)), predictor="stored")
    assert read_header(memoryview(blob)) == tokenzip.inspect(bytearray(blob))

"""Format version 2: numbers of bundled models and choice notes, in bytes that are pinned; refused
fields; and committed blobs, which decode to what they always did.

See tests/fixtures/make_bundled_fixtures.py.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference.blob_decoder import parse
from test_blob import stored, with_fields

sys.path.insert(0, str(Path(__file__).resolve().parent / "fixtures"))

from make_bundled_fixtures import (
    FIXTURES,
    FOLDER,
    GIVEN,
    MANIFEST,
    NUMBER,
    bundled_in_fixtures,
    encoded,
    path,
    path_for,
    tokens_for,
    writing,
)
from make_fixtures import assert_same, described

import tokenzip
from tokenzip.blob import Candidate, Choice, CodedChunk, write_blob
from tokenzip.blob.choice import read_choice, write_choice
from tokenzip.blob.varint import Reader, varint
from tokenzip.errors import BlobError, CorruptError, TruncatedError, UnsupportedVersionError
from tokenzip.models.bundled import Bundled, entries

RECORDED: dict[str, Any] = json.loads(MANIFEST.read_text())
MODEL = "11" * 32

#: What follows flags, predictor, parameters, model and note of a grid (2, 3) of one stored chunk.
GRID = "02 02 23 02 00 00 00000000 00000000"


def blob_of(fields: str, version: int = 2) -> bytes:
    return with_fields(bytes.fromhex(fields + GRID), bytes(2), version)


class TestFields:
    def test_a_number(self) -> None:
        info = tokenzip.inspect(blob_of("10 04 01 01 c801"))
        assert (info.version, info.predictor, info.bundled) == (2, "hybrid", 200)
        assert info.model is None and info.choice is None
        assert info.to_dict()["bundled"] == 200

    def test_a_note(self) -> None:
        note = "0b e807 04 c901 800d 01 00 c011"  # 1000 tokens; hybrid 200: 1.664, adaptive: 2.240
        info = tokenzip.inspect(blob_of(f"30 04 01 01 c801 {note}"))
        candidates = (Candidate("hybrid", 200, 1664), Candidate("adaptive", None, 2240))
        assert info.choice == Choice(1000, candidates)
        assert info.choice.candidates[0].bits_per_token == 1.664
        assert json.loads(json.dumps(info.to_dict()))["choice"]["tokens"] == 1000

    def test_a_note_may_name_predictors_of_the_future(self) -> None:
        info = tokenzip.inspect(blob_of("20 01 01 01 07 01 01 00 05 63 02 04"))
        assert info.choice is not None and info.choice.candidates[1] == Candidate("99", 1, 4)

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ("00 01 01 01", "of version 1 by its flags"),
            ("40 01 01 01", "flags 0x40"),
            (f"14 04 01 01 01 {MODEL}", "two ways"),
            (f"1c 04 01 01 01 {MODEL} 05", "two ways"),
            ("18 04 01 01 01 05", "two ways"),
            ("10 04 01 01 00", "number 0"),
            ("10 04 01 01 8000", "canonical"),
            ("10 01 01 01 01", "no model"),
            ("20 04 01 01 07 01 01 00 05 04 02 04", "names none"),
            ("20 00 00 07 01 00 00 05 04 02 04", "nothing to choose"),
            ("20 01 01 01 07 01 04 00 05 01 00 04", "another choice"),
            ("20 01 01 01 07 01 01 02 05 01 00 04", "another choice"),
            ("20 01 01 01 07 00 01 00 05 04 02 04", "another choice"),
            ("20 01 01 01 04 01 01 00 05", "another choice"),
            ("20 01 01 01 01 01", "another choice"),
            ("20 01 01 01 00", "ends inside its choice note"),
            ("20 01 01 01 06 01 01 00 05 04 02 04", "ends inside its choice note"),
            ("20 01 01 01 8002" + "01" * 256, "256 bytes"),
            ("30 04 01 01 05 07 01 04 02 05 01 00 04", "another choice"),
        ],
    )
    def test_refused(self, fields: str, message: str) -> None:
        with pytest.raises(BlobError, match=message):
            tokenzip.inspect(blob_of(fields))

    def test_version_1_has_no_such_flags(self) -> None:
        for fields in ("10 04 01 01 01", "20 01 01 01 07 01 01 00 05 04 02 04"):
            with pytest.raises(CorruptError, match="flags"):
                tokenzip.inspect(blob_of(fields, version=1))

    @given(
        tokens=st.integers(1, 2**40),
        model=st.none() | st.just("given") | st.integers(1, 2**30),
        others=st.lists(st.tuples(st.integers(0, 300), st.integers(0, 2**40)), min_size=1),
    )
    def test_notes_come_back(self, tokens: int, model: Any, others: list[Any]) -> None:
        first = Candidate("hybrid", model, 4000)
        rest = [Candidate("lstm", number + 1, cost) for number, cost in others]
        choice = Choice(tokens, (first, *rest))
        note = write_choice(choice)
        if not note:
            assert len(rest) > 15  # too many for a note
            return
        reader = Reader(note)
        assert read_choice(reader, "hybrid", model) == choice and reader.left == 0


class TestWriting:
    def written(self, **settings: Any) -> bytes:
        grid = stored(np.arange(400).reshape(100, 4))
        chunk = CodedChunk(False, b"abcd", grid.chunks[0].token_crc)
        return write_blob(
            [type(grid)(grid.shape, grid.dtype, grid.alphabet, None, (chunk,))],
            is_list=False,
            predictor="hybrid",
            parameters=b"\x01",
            **settings,
        )

    def test_the_second_reader_reads_what_is_written(self) -> None:
        choice = Choice(9000, (Candidate("hybrid", 2, 4567), Candidate("adaptive", None, 5000)))
        parsed = parse(self.written(bundled=2, choice=choice))
        assert (parsed.version, parsed.flags, parsed.bundled) == (2, 48, 2)
        assert (parsed.tried, parsed.costs) == (9000, [(4, 3, 4567), (1, 0, 5000)])
        assert parsed.model is None and parsed.grids[0].tokens == [b"abcd"]

    def test_a_note_takes_little(self) -> None:
        choice = Choice(20_000, tuple(Candidate("hybrid", n, 6000) for n in (1, 2, 3)))
        without = self.written(bundled=1)
        assert len(self.written(bundled=1, choice=choice)) - len(without) <= 20
        assert len(without) == len(self.written(model=bytes(32))) - 31

    def test_without_news_it_is_version_1(self) -> None:
        assert self.written(model=bytes(32))[4] == 1

    def test_nothing_of_it_is_in_a_stored_blob(self) -> None:
        choice = Choice(9, (Candidate("hybrid", 2, 4567), Candidate("adaptive", None, 5000)))
        settings: dict[str, Any] = {"predictor": "hybrid", "bundled": 2, "choice": choice}
        blob = write_blob([stored([1, 2, 3])], is_list=False, **settings)
        assert blob == write_blob([stored([1, 2, 3])], is_list=False)


class TestUnknownNumbers:
    def test_says_to_update(self) -> None:
        blob = blob_of("10 04 01 01 b960")
        assert tokenzip.inspect(blob).bundled == 12345
        with pytest.raises(UnsupportedVersionError, match=r"12345.*update tokenzip"):
            tokenzip.decode(blob)
        with pytest.raises(UnsupportedVersionError, match="12345"):
            tokenzip.decode(blob, model=GIVEN)


@pytest.fixture
def stand_in() -> Iterator[None]:
    with bundled_in_fixtures():
        yield


def test_nothing_is_missing() -> None:
    assert {file.stem for file in FOLDER.glob("*.tkz")} == set(RECORDED) == set(FIXTURES)
    assert sum(file.stat().st_size for file in FOLDER.rglob("*") if file.is_file()) < 50_000


def test_git_does_not_touch_the_bytes() -> None:
    attributes = (FOLDER.parent / ".gitattributes").read_text()
    assert "*.packed binary" in attributes and "*.tkz binary" in attributes


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize("name", sorted(FIXTURES))
class TestFixture:
    def test_decodes_to_what_was_recorded(self, name: str) -> None:
        blob = path(name).read_bytes()
        assert described(blob, tokenzip.decode(blob, model=GIVEN)) == RECORDED[name]

    def test_decodes_to_its_recipe(self, name: str) -> None:
        decoded = tokenzip.decode(path(name).read_bytes(), model=GIVEN)
        wanted = FIXTURES[name].recipe()
        assert_same(decoded, wanted)

    def test_is_written_again_to_the_same_bytes(self, name: str) -> None:
        assert (encoded(name) == path(name).read_bytes()) == FIXTURES[name].again

    def test_shows_what_it_is_to_show(self, name: str) -> None:
        fixture, parsed = FIXTURES[name], parse(path(name).read_bytes())
        assert (parsed.version, parsed.flags) == (2, fixture.flags)
        info = tokenzip.inspect(path(name).read_bytes())
        assert info.predictor == fixture.predictor
        assert info.bundled == (NUMBER if fixture.flags & 16 else None)
        assert (info.choice is not None) == bool(fixture.flags & 32)

    def test_damage_is_noticed(self, name: str) -> None:
        blob = path(name).read_bytes()
        header = tokenzip.inspect(blob).header_bytes
        for position in range(8 * header):
            flipped = bytearray(blob)
            flipped[position // 8] ^= 1 << position % 8
            with pytest.raises(BlobError):
                tokenzip.decode(flipped, model=GIVEN)
        for length in range(header):
            with pytest.raises(BlobError) as caught:
                tokenzip.decode(blob[:length], model=GIVEN)
            assert length == 0 or isinstance(caught.value, TruncatedError)


@pytest.mark.usefixtures("stand_in")
def test_fields_changed_under_a_right_checksum() -> None:
    """Another number, predictor or note: an error each time, or the same tokens."""
    blob = path("chosen").read_bytes()
    tokens = tokenzip.decode(blob)
    reader = Reader(blob, 5)
    fields = reader.take(reader.varint("length"), "fields")
    payload = blob[reader.position + 4 :]
    for at in range(20):
        for bit in range(8):
            changed = fields[:at] + bytes([fields[at] ^ 1 << bit]) + fields[at + 1 :]
            try:
                decoded = tokenzip.decode(with_fields(changed, payload, 2), max_tokens=5000)
            except BlobError:
                continue
            assert np.array_equal(decoded, tokens)
    assert varint(NUMBER) in fields[:8]


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("entry", entries(), ids=lambda entry: entry.name)
def test_models_that_come_with_tokenzip_decode_what_they_always_did(
    entry: Bundled, version: int
) -> None:
    blob, tokens = path_for(entry, version).read_bytes(), tokens_for(entry)
    info = tokenzip.inspect(blob)
    assert (info.version, info.predictor, info.bundled) == (2, "hybrid", entry.number)
    again = tokenzip.decode(blob)
    assert np.array_equal(again, tokens) and again.dtype == tokens.dtype
    assert info.parameters == bytes([version])
    with writing(version):
        assert tokenzip.encode(tokens, model=entry.name) == blob

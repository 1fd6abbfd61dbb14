"""Models that come with tokenzip: those that do, and what holds for every one."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from bundled_models import bring_along, use_folder
from network_cases import calm_tokens, tiny_model

import tokenzip
from tokenzip.errors import (
    FileExistsRefusedError,
    ModelFormatError,
    OptionError,
    UnsupportedVersionError,
)
from tokenzip.models import Model
from tokenzip.models.bundled import adding, by_identity, by_name, by_number, entries, newest, table
from tokenzip.models.bundled.adding import BLANK, CARD_WORDS, add
from tokenzip.models.packed import unpack

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

import bundle

FRAME, ALPHABET = (3, 4), 20
#: A table whose only entry has a name without a version.
NAMELESS = json.dumps([asdict(table.Bundled(1, "a-1", "00", "lstm", 1, 1, 1, 2, 9))]).replace(
    "-1", ""
)
REAL = entries()


class TestThoseThatAreThere:
    """The real table, which may be empty."""

    def test_numbers_and_names_are_taken_once(self) -> None:
        assert len({entry.number for entry in REAL}) == len(REAL)
        assert len({entry.name for entry in REAL}) == len(REAL)
        assert len({entry.identity for entry in REAL}) == len(REAL)
        assert all(entry.number >= 1 for entry in REAL)

    def test_every_file_belongs_to_an_entry(self) -> None:
        files = {path.stem for path in table.FOLDER.glob("*.packed")}
        cards = {path.stem for path in table.FOLDER.glob("*.md")} - {"README"}
        assert files == cards == {entry.name for entry in REAL}

    def test_git_does_not_touch_the_bytes(self) -> None:
        assert "*.packed binary" in (table.FOLDER / ".gitattributes").read_text()

    def test_all_of_it_is_in_the_package(self) -> None:
        project = (Path(__file__).parents[1] / "pyproject.toml").read_text()
        for suffix in ("json", "packed", "md"):
            assert f'"models/bundled/*.{suffix}"' in project

    @pytest.mark.parametrize("entry", REAL, ids=lambda entry: entry.name)
    def test_entry(self, entry: table.Bundled) -> None:
        data = entry.path.read_bytes()
        assert len(data) == entry.packed_bytes <= table.MAX_BYTES
        model = unpack(data)
        assert model.identity.hex() == entry.identity
        assert (model.spec.geometry, model.spec.family) == (entry.geometry, entry.family)
        card = entry.card.read_text("utf-8")
        assert entry.identity in card and BLANK not in card
        assert [word for word in CARD_WORDS if word not in card] == []


@pytest.fixture
def model() -> Model:
    return tiny_model("lstm", FRAME, ALPHABET, coarse=True)


@pytest.fixture
def entry(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> table.Bundled:
    return bring_along(monkeypatch, tmp_path / "bundled", {"stand-in-1": model})[0]


def test_found_by_number_name_and_identity(entry: table.Bundled, model: Model) -> None:
    assert entries() == (entry,)
    assert by_name("stand-in-1") == by_number(1) == by_identity(model.identity.hex()) == entry
    assert by_name("stand-in") is None and by_identity("00" * 32) is None
    assert entry.load().identity == model.identity
    assert entry.load() is entry.load()
    with pytest.raises(UnsupportedVersionError, match=r"number 2.*update"):
        by_number(2)


def test_new_blobs_take_the_newest_of_a_series(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = [tiny_model("lstm", FRAME, ALPHABET, seed=seed, coarse=True) for seed in range(4)]
    names = ["one-2", "two-9", "one-10", "one-1"]
    added = bring_along(monkeypatch, tmp_path / "some", dict(zip(names, models, strict=True)))
    assert newest() == [added[1], added[2]]
    assert [(entry.series, entry.version) for entry in newest()] == [("two", 9), ("one", 10)]
    tried = []
    monkeypatch.setattr(table.Bundled, "load", lambda entry: tried.append(entry.name) or models[0])
    tokenzip.encode(calm_tokens((200, *FRAME), ALPHABET))
    assert tried == ["two-9", "one-10"]


def test_no_table_is_an_empty_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_folder(monkeypatch, tmp_path / "nothing")
    assert entries() == ()
    tokens = calm_tokens((200, *FRAME), ALPHABET)
    assert tokenzip.inspect(tokenzip.encode(tokens)).predictor == "adaptive"


@pytest.mark.parametrize("text", ["{", "[3]", '[{"number": 1}]', NAMELESS])
def test_a_damaged_table(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_folder(monkeypatch, tmp_path / "damaged")
    (tmp_path / "damaged" / "table.json").write_text(text)
    with pytest.raises(ModelFormatError, match="install again"):
        entries()


class TestDamage:
    def test_another_model(self, entry: table.Bundled) -> None:
        other = tiny_model("lstm", FRAME, ALPHABET, seed=5, coarse=True)
        entry.path.write_bytes(adding.pack(other))
        with pytest.raises(ModelFormatError, match="is another"):
            entry.load()

    @pytest.mark.parametrize("data", [b"", b"\x01", bytes(1000)])
    def test_no_model(self, entry: table.Bundled, data: bytes) -> None:
        entry.path.write_bytes(data)
        with pytest.raises(ModelFormatError, match="damaged"):
            entry.load()

    def test_no_file(self, entry: table.Bundled) -> None:
        entry.path.unlink()
        with pytest.raises(ModelFormatError, match="cannot be read"):
            entry.load()


class TestAdding:
    def test_nothing_that_is_there_changes(self, entry: table.Bundled, model: Model) -> None:
        other = tiny_model("conv3d", FRAME, ALPHABET, coarse=True)
        before = {path.name: path.read_bytes() for path in table.FOLDER.iterdir()}
        for one, name, number in (
            (other, "stand-in-1", 2),
            (other, "other-1", 1),
            (model, "other-1", 2),
        ):
            with pytest.raises(FileExistsRefusedError, match="for ever"):
                add(one, name, number)
        for name, number in (("Stand", 2), ("../x-1", 2), ("x", 2), ("x-0", 2), ("x-1", 0)):
            with pytest.raises(OptionError):
                add(other, name, number)
        assert {path.name: path.read_bytes() for path in table.FOLDER.iterdir()} == before
        add(other, "stand-in-2", 7)
        assert [one.number for one in entries()] == [1, 7]
        assert entry.path.read_bytes() == before[entry.path.name]

    def test_too_large(self, entry: table.Bundled, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(adding, "MAX_BYTES", 1000)
        with pytest.raises(OptionError, match="train a smaller preset"):
            add(tiny_model("conv3d", FRAME, ALPHABET), "large-1", 2)
        assert entries() == (entry,)

    def test_the_card(self, entry: table.Bundled) -> None:
        card = entry.card.read_text()
        assert entry.identity in card and BLANK in card
        assert [word for word in CARD_WORDS if word not in card] == []

    def test_the_script(
        self,
        model: Model,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        use_folder(monkeypatch, tmp_path / "bundled")
        file = tmp_path / "m.safetensors"
        summary = {
            "command": ["train", "x y.h5"],
            "validation": {"files": ["v.h5"], "bits_per_token": 4.25},
        }
        Model(model.spec, model.tensors, summary).save(file)
        assert bundle.main([str(file), "video-1", "--licence", "MIT"]) == 0
        found = entries()[0]
        assert (found.name, found.number) == ("video-1", 1)
        card = found.card.read_text()
        assert "`tokenzip train 'x y.h5'`" in card and "4.25 bits/token on v.h5" in card
        assert "Licence: MIT" in card and BLANK not in card
        assert bundle.main([str(file), "video-2"]) == 1
        assert "for ever" in capsys.readouterr().err
        assert len(json.loads((table.FOLDER / "table.json").read_text())) == 1


class TestBlobs:
    def test_by_name_there_and_back(self, entry: table.Bundled, model: Model) -> None:
        tokens = calm_tokens((60, *FRAME), ALPHABET)
        for predictor in ("auto", "hybrid", "lstm"):
            blob = tokenzip.encode(tokens, model="stand-in-1", predictor=predictor)
            info = tokenzip.inspect(blob)
            assert (info.version, info.bundled, info.model) == (2, 1, None)
            assert info.choice is None
            assert np.array_equal(tokenzip.decode(blob), tokens)
            # However the model is given, the bytes are the same.
            assert tokenzip.encode(tokens, model=model, predictor=predictor) == blob
            name = entry.identity[:8]
            assert tokenzip.encode(tokens, model=name, predictor=predictor) == blob

    def test_embedded_it_is_named_by_its_identity(self, entry: table.Bundled) -> None:
        tokens = calm_tokens((1500, *FRAME), ALPHABET, calm=0.98)
        blob = tokenzip.encode(tokens, model="stand-in-1", embed_model=True)
        info = tokenzip.inspect(blob)
        assert (info.version, info.bundled) == (1, None)
        assert info.model == bytes.fromhex(entry.identity) and info.embedded_bytes

    def test_blobs_that_name_the_identity_find_it(
        self, entry: table.Bundled, model: Model, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        tokens = calm_tokens((60, *FRAME), ALPHABET)
        bundled = table.FOLDER
        use_folder(monkeypatch, tmp_path / "none")
        blob = tokenzip.encode(tokens, model=model)
        assert tokenzip.inspect(blob).version == 1
        use_folder(monkeypatch, bundled)
        assert np.array_equal(tokenzip.decode(blob), tokens)

    def test_names_that_are_none(self, entry: table.Bundled) -> None:
        tokens = calm_tokens((60, *FRAME), ALPHABET)
        for name in ("stand-in-2", "deadbeef", "stand"):
            with pytest.raises(OptionError, match="models list"):
                tokenzip.encode(tokens, model=name)

    def test_archives_keep_no_copy_of_it(self, entry: table.Bundled, tmp_path: Path) -> None:
        tokens = calm_tokens((60, *FRAME), ALPHABET)
        with tokenzip.open(tmp_path / "a.tkz.h5", "w", model="stand-in-1") as archive:
            archive["a"] = tokens
            assert not archive.models
        archive = tokenzip.open(tmp_path / "a.tkz.h5")
        assert archive["a"].info.bundled == 1 and np.array_equal(archive["a"][:], tokens)

"""Committed blobs of format version 1: they decode to what they always did.

See tests/fixtures/make_fixtures.py. A failure here means that blobs people have would be lost, or
that an encoder writes other bytes than before for the same tokens.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent / "fixtures"))

import make_fixtures
from make_fixtures import FIXTURES, FOLDER, MANIFEST, assert_same, described, path

import tokenzip

RECORDED: dict[str, Any] = json.loads(MANIFEST.read_text()) if MANIFEST.exists() else {}


def test_nothing_is_missing() -> None:
    files = {file.stem for file in FOLDER.glob("*.tkz")}
    assert files == set(RECORDED) == set(FIXTURES)
    assert files


def test_git_does_not_touch_the_bytes() -> None:
    """No end of line of a blob may be changed by a checkout."""
    attributes = (FOLDER.parent / ".gitattributes").read_text()
    assert "*.tkz binary" in attributes


@pytest.mark.parametrize("name", sorted(FIXTURES))
class TestFixture:
    def test_decodes_to_what_was_recorded(self, name: str) -> None:
        blob = path(name).read_bytes()
        assert described(blob, tokenzip.decode(blob)) == RECORDED[name]

    def test_decodes_to_its_recipe(self, name: str) -> None:
        decoded, wanted = tokenzip.decode(path(name).read_bytes()), FIXTURES[name].recipe()
        assert_same(decoded, wanted)

    def test_is_written_again_to_the_same_bytes(self, name: str) -> None:
        assert FIXTURES[name].encode() == path(name).read_bytes()

    def test_shows_what_it_is_to_show(self, name: str) -> None:
        info = tokenzip.inspect(path(name).read_bytes())
        kinds = [chunk.kind for grid in info.grids for chunk in grid.chunks]
        assert kinds == FIXTURES[name].kinds.split()
        assert info.solid == FIXTURES[name].options.get("solid", False)


class TestGenerator:
    def test_leaves_what_is_there(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(make_fixtures, "FOLDER", tmp_path)
        monkeypatch.setattr(make_fixtures, "MANIFEST", tmp_path / "manifest.json")
        some = {name: FIXTURES[name] for name in ("stored", "empty")}
        monkeypatch.setattr(make_fixtures, "FIXTURES", some)
        (tmp_path / "stored.tkz").write_bytes(b"of an older release")
        make_fixtures.main([])
        assert (tmp_path / "stored.tkz").read_bytes() == b"of an older release"
        assert (tmp_path / "empty.tkz").read_bytes() == path("empty").read_bytes()
        make_fixtures.main(["--new"])
        assert (tmp_path / "stored.tkz").read_bytes() == path("stored").read_bytes()
        assert json.loads((tmp_path / "manifest.json").read_text()) == {
            name: RECORDED[name] for name in some
        }
        assert "stored:" in capsys.readouterr().out

    def test_other_arguments(self) -> None:
        with pytest.raises(SystemExit):
            make_fixtures.main(["--overwrite"])

"""Committed models and blobs of networks: they decode to what they always did.

See tests/fixtures/make_network_fixtures.py. A failure here means that blobs people have would be
lost, or that an encoder writes other bytes than before for the same tokens and model.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent / "fixtures"))

import make_network_fixtures
from make_fixtures import assert_same, described, digest
from make_network_fixtures import (
    FAMILIES,
    FIXTURES,
    FOLDER,
    MANIFEST,
    MODELS,
    encoded,
    model_of,
    model_path,
    path,
    predictor_of,
)
from reference import network_decoder as reference

import tokenzip
from tokenzip.models import Model

RECORDED: dict[str, Any] = json.loads(MANIFEST.read_text())


def test_nothing_is_missing() -> None:
    assert {f.stem for f in FOLDER.glob("*.tkz")} == set(RECORDED["blobs"]) == set(FIXTURES)
    models = {model_path(family, name).stem for family in FAMILIES for name in MODELS}
    assert {f.stem for f in FOLDER.glob("*.safetensors")} == set(RECORDED["models"]) == models
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) < 500_000


def test_git_does_not_touch_the_bytes() -> None:
    attributes = (FOLDER.parent / ".gitattributes").read_text()
    assert "*.safetensors binary" in attributes and "*.tkz binary" in attributes


@pytest.mark.parametrize("name", sorted(RECORDED["models"]))
def test_models_are_what_they_were(name: str) -> None:
    file = FOLDER / f"{name}.safetensors"
    recorded = RECORDED["models"][name]
    assert digest(file.read_bytes()) == recorded["sha256"]
    assert Model.load(file).identity.hex() == recorded["identity"]
    assert reference.read_model_file(file.read_bytes()).identity().hex() == recorded["identity"]


@pytest.mark.parametrize("name", sorted(FIXTURES))
class TestFixture:
    def test_decodes_to_what_was_recorded(self, name: str) -> None:
        blob = path(name).read_bytes()
        decoded = tokenzip.decode(blob, model=FOLDER)
        assert described(blob, decoded) == RECORDED["blobs"][name]

    def test_decodes_to_its_recipe(self, name: str) -> None:
        decoded = tokenzip.decode(path(name).read_bytes(), model=model_of(name))
        wanted = FIXTURES[name].recipe()
        assert_same(decoded, wanted)

    def test_is_written_again_to_the_same_bytes(self, name: str) -> None:
        assert encoded(name) == path(name).read_bytes()

    def test_shows_what_it_is_to_show(self, name: str) -> None:
        info = tokenzip.inspect(path(name).read_bytes())
        kinds = [chunk.kind for grid in info.grids for chunk in grid.chunks]
        assert kinds == FIXTURES[name].kinds.split()
        assert info.predictor == predictor_of(name)
        assert info.solid == name.endswith("solid")
        assert bool(info.embedded_bytes) == name.endswith("embedded")


def test_some_are_in_lanes() -> None:
    for name in ("lstm_lanes", "conv3d_lanes", "lstm_hybrid_lanes", "conv3d_hybrid_lanes"):
        blob = path(name).read_bytes()
        assert tokenzip.inspect(blob).tokens == 6400  # three lanes: FORMAT.md, section 10.6


def test_generator_leaves_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for family in FAMILIES:
        file = model_path(family, "stream")
        (tmp_path / file.name).write_bytes(file.read_bytes())
    monkeypatch.setattr(make_network_fixtures, "FOLDER", tmp_path)
    monkeypatch.setattr(make_network_fixtures, "MANIFEST", tmp_path / "manifest.json")
    some = {name: FIXTURES[name] for name in ("lstm_stream", "conv3d_stream")}
    monkeypatch.setattr(make_network_fixtures, "FIXTURES", some)
    monkeypatch.setattr(make_network_fixtures, "MODELS", {"stream": MODELS["stream"]})
    (tmp_path / "lstm_stream.tkz").write_bytes(b"of an older release")
    make_network_fixtures.main([])
    assert (tmp_path / "lstm_stream.tkz").read_bytes() == b"of an older release"
    made = (tmp_path / "conv3d_stream.tkz").read_bytes()
    assert made == (FOLDER / "conv3d_stream.tkz").read_bytes()
    with pytest.raises(SystemExit):
        make_network_fixtures.main(["--overwrite"])

"""Archives whose clips were coded by networks: the model is kept once, and goes where clips go."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from network_cases import calm_tokens, tiny_model

import tokenzip
from tokenzip.archive import verify
from tokenzip.errors import ArchiveDamagedError, MissingModelError, OptionError


@pytest.fixture(scope="module")
def model() -> tokenzip.Model:
    return tiny_model("lstm", (3, 4), 20)


@pytest.fixture(scope="module")
def clip() -> np.ndarray:
    return calm_tokens((40, 3, 4), 20)


def test_clips_need_no_other_file(tmp_path: Path, model: tokenzip.Model, clip: np.ndarray) -> None:
    model.save(tmp_path / "model.safetensors")
    path = tmp_path / "a.tkz.h5"
    with tokenzip.open(path, "w", model=tmp_path / "model.safetensors", chunk_frames=10) as archive:
        archive["one"] = clip
        archive.append({"two": clip[:20], "three": clip[5:]}, verify=True)
    (tmp_path / "model.safetensors").unlink()
    with tokenzip.open(path) as archive:
        assert list(archive.models) == [model.identity.hex()]
        assert archive["one"].info.predictor == "hybrid"
        assert np.array_equal(archive["one"][13:27], clip[13:27])
        assert np.array_equal(archive["two"], clip[:20])
        assert np.array_equal(archive["three"][-1], clip[-1])


def test_workers(tmp_path: Path, model: tokenzip.Model, clip: np.ndarray) -> None:
    with tokenzip.open(tmp_path / "a.tkz.h5", "w") as archive:
        archive.append({"one": clip, "two": clip[1:]}, model=model, workers=2)
        assert np.array_equal(archive["two"], clip[1:])


def test_a_clip_takes_its_model_along(
    tmp_path: Path, model: tokenzip.Model, clip: np.ndarray
) -> None:
    with tokenzip.open(tmp_path / "a.tkz.h5", "w", model=model) as first:
        first["one"] = clip
        blob = first["one"].blob()
        with tokenzip.open(tmp_path / "b.tkz.h5", "w") as second:
            with pytest.raises(MissingModelError, match=model.identity.hex()):
                second.add_blob("one", blob)
            assert len(second) == 0
            second["one"] = first["one"]
            second.add_blob("again", blob)
    with tokenzip.open(tmp_path / "b.tkz.h5") as archive:
        assert np.array_equal(archive["again"], clip)


def test_a_clip_whose_model_is_gone_is_not_called_bad(
    tmp_path: Path, model: tokenzip.Model, clip: np.ndarray
) -> None:
    with tokenzip.open(tmp_path / "a.tkz.h5", "w", model=model) as archive:
        archive["one"] = clip
        archive["two"] = clip
    with tokenzip.open(tmp_path / "a.tkz.h5") as archive:
        archive._contents.models.clear()
        found = list(verify(archive, full=True))
        assert [(f.name, f.unknown) for f in found[:2]] == [("one", True), ("two", True)]
        assert all(model.identity.hex() in f.problem for f in found[:2])
        assert not any(f.problem for f in verify(archive))


def test_another_model_under_its_identity_is_refused(
    tmp_path: Path, model: tokenzip.Model, clip: np.ndarray
) -> None:
    other = tiny_model("lstm", (3, 4), 20, seed=9)
    with tokenzip.open(tmp_path / "a.tkz.h5", "w", model=model) as archive:
        archive.add_model(model.identity.hex(), other.to_bytes())
        archive["one"] = clip
    with tokenzip.open(tmp_path / "a.tkz.h5") as archive, pytest.raises(ArchiveDamagedError):
        archive["one"][:]


def test_no_model_in_every_clip(tmp_path: Path, model: tokenzip.Model, clip: np.ndarray) -> None:
    with (
        tokenzip.open(tmp_path / "a.tkz.h5", "w", model=model, embed_model=True) as archive,
        pytest.raises(OptionError, match="embed_model"),
    ):
        archive["one"] = clip


def test_commands(tmp_path: Path, model: tokenzip.Model, clip: np.ndarray) -> None:
    from tokenzip.cli.entry import run

    np.save(tmp_path / "clip.npy", clip)
    model.save(tmp_path / "m.safetensors")
    archive, copy = str(tmp_path / "a.tkz.h5"), str(tmp_path / "b.tkz.h5")
    pack = ["pack", str(tmp_path / "clip.npy"), "-o", archive, "-q"]
    assert run([*pack, "--model", str(tmp_path / "m.safetensors")]) == 0
    assert run(["pack", archive, "-o", copy, "-q"]) == 0
    (tmp_path / "m.safetensors").unlink()
    assert run(["verify", archive, copy, "-q"]) == 0
    assert run(["unpack", copy, "-o", str(tmp_path / "out") + "/", "-q"]) == 0
    assert np.array_equal(np.load(tmp_path / "out" / "clip.npy"), clip)

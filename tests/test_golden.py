"""Golden files of releases: what a release wrote, every later tokenzip reads, on every backend.

See tests/fixtures/golden.py and add_release.py. A failure here means that blobs, models or archives
that people have would be lost, or that an encoder writes other bytes than the newest release did.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from backends import cuda

sys.path.insert(0, str(Path(__file__).resolve().parent / "fixtures"))

import add_release
import golden
from golden import GOLDENS, RELEASES, read_manifest
from make_fixtures import as_list, described, digest

import tokenzip
from tokenzip.archive import verify
from tokenzip.models import Model

FOLDERS = sorted(path for path in RELEASES.iterdir() if path.is_dir())
NEWEST = RELEASES / tokenzip.__version__
BACKENDS = ["numba", "torch", "cuda"]


def on_backends() -> Iterator[Any]:
    """Every blob on every backend that has something to do for it."""
    for folder in FOLDERS:
        for name in read_manifest(folder)["blobs"]:
            for backend in BACKENDS:
                if backend != "numba" and name.startswith(("stored", "adaptive")):
                    continue
                marks = [pytest.mark.gpu] if backend == "cuda" else []
                # torch takes its time for each of many short frames.
                if backend != "numba" and ("embedded" in name or "dtypes" in name):
                    marks.append(pytest.mark.slow)
                yield pytest.param(folder.name, name, backend, marks=marks)


def on(backend: str) -> dict[str, Any]:
    """The options of a backend; skips where it is not."""
    if backend == "numba":
        return {"backend": "numba"}
    pytest.importorskip("torch")
    if backend == "cuda" and not cuda():
        pytest.skip("there is no CUDA device")
    return {"backend": "torch", "device": "cuda" if backend == "cuda" else None}


class TestReleases:
    def test_this_version_has_its_set(self) -> None:
        assert NEWEST.is_dir(), f"python tests/fixtures/add_release.py {tokenzip.__version__}"
        manifest = read_manifest(NEWEST)
        assert set(manifest["blobs"]) == set(GOLDENS)
        assert set(manifest["models"]) == set(golden.models())
        assert set(manifest["archive"]) == set(golden.archived())

    def test_folders_and_manifests_agree(self) -> None:
        for folder in FOLDERS:
            manifest = read_manifest(folder)
            wanted = {"manifest.json", "archive.tkz.h5"}
            wanted |= {f"{name}.tkz" for name in manifest["blobs"]}
            wanted |= {f"{name}.safetensors" for name in manifest["models"]}
            assert {path.name for path in folder.iterdir()} == wanted
            assert sum(path.stat().st_size for path in folder.iterdir()) < 600_000

    @pytest.mark.parametrize(("release", "name", "backend"), list(on_backends()))
    def test_blobs_decode(self, release: str, name: str, backend: str) -> None:
        folder = RELEASES / release
        blob = (folder / f"{name}.tkz").read_bytes()
        decoded = tokenzip.decode(blob, model=folder, **on(backend))
        assert described(blob, decoded) == read_manifest(folder)["blobs"][name]

    @pytest.mark.parametrize("release", [folder.name for folder in FOLDERS])
    def test_models_and_archives(self, release: str) -> None:
        folder = RELEASES / release
        manifest = read_manifest(folder)
        for name, identity in manifest["models"].items():
            assert Model.load(folder / f"{name}.safetensors").identity.hex() == identity
        with tokenzip.open(folder / "archive.tkz.h5") as archive:
            assert not [finding for finding in verify(archive) if finding.problem]
            found = {name: described(b"", clip[:]) for name, clip in archive.items()}
        assert found == manifest["archive"]


class TestThisVersion:
    """The newest set, written again."""

    @pytest.mark.parametrize("name", GOLDENS)
    def test_blobs_are_the_same_bytes(self, name: str) -> None:
        blob = (NEWEST / f"{name}.tkz").read_bytes()
        assert golden.encode(name, NEWEST) == blob
        info = tokenzip.inspect(blob)
        kinds = {chunk.kind for grid in info.grids for chunk in grid.chunks}
        assert kinds == GOLDENS[name].kinds
        assert len(info.grids) == len(as_list(GOLDENS[name].recipe()))

    def test_models_are_the_same_bytes(self) -> None:
        for name in golden.models():
            data = (NEWEST / f"{name}.safetensors").read_bytes()
            assert Model.from_bytes(data).to_bytes() == data

    def test_the_archive_is_the_same_bytes(self, tmp_path: Path) -> None:
        golden.write_archive(tmp_path / "again.tkz.h5", NEWEST)
        old = (NEWEST / "archive.tkz.h5").read_bytes()
        assert (tmp_path / "again.tkz.h5").read_bytes() == old
        with tokenzip.open(NEWEST / "archive.tkz.h5") as archive:
            for name, clip in golden.archived().items():
                assert np.array_equal(archive[name][:], clip)
            assert dict(archive["stored"].attrs) == {"fps": 25, "name": "ü"}
            assert dict(archive.attrs) == {"n": [1, None, "x"]}


class TestChecksums:
    def test_every_fixture_is_what_it_was(self) -> None:
        """Of all sets, also the older ones beside the releases."""
        assert add_release.problems(add_release.FOLDER) == []
        recorded = list(add_release.sums(add_release.FOLDER))
        assert sorted(recorded) == add_release.files(add_release.FOLDER), (
            "python tests/fixtures/add_release.py adds the checksums of new files"
        )


class TestTool:
    @pytest.fixture
    def folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A small set of fixtures: two old blobs, and releases of a single one."""
        for name in ("stored", "empty"):
            shutil.copy(add_release.FOLDER / "v1" / f"{name}.tkz", tmp_path)
        one = "stored-chunks"
        monkeypatch.setattr(golden, "GOLDENS", {one: GOLDENS[one]})
        monkeypatch.setattr(golden, "models", lambda: [])
        monkeypatch.setattr(golden, "write_archive", lambda path, _: path.write_bytes(b"archive"))
        add_release.main([], tmp_path)
        return tmp_path

    def test_adds_a_release_and_its_checksums(self, folder: Path) -> None:
        before = (folder / "SHA256SUMS").read_text()
        add_release.main(["1.2.3"], folder)
        after = (folder / "SHA256SUMS").read_text()
        assert after.startswith(before) and len(before.splitlines()) == 2
        blob = folder / "releases" / "1.2.3" / "stored-chunks.tkz"
        assert f"{digest(blob.read_bytes())}  releases/1.2.3/stored-chunks.tkz\n" in after
        assert set(read_manifest(blob.parent)["blobs"]) == {"stored-chunks"}
        assert list((folder / "releases").iterdir()) == [blob.parent]

    def test_a_release_is_written_once(self, folder: Path) -> None:
        add_release.main(["1.2.3"], folder)
        with pytest.raises(SystemExit, match="written once"):
            add_release.main(["1.2.3"], folder)

    @pytest.mark.parametrize("version", ["1.2.3", None])
    def test_refuses_where_an_old_file_changed_or_is_gone(
        self, folder: Path, version: str | None
    ) -> None:
        (folder / "stored.tkz").write_bytes(b"other")
        (folder / "empty.tkz").unlink()
        before = (folder / "SHA256SUMS").read_text()
        with pytest.raises(SystemExit, match=r"stored.tkz has changed|empty.tkz is gone"):
            add_release.main([version] if version else [], folder)
        assert (folder / "SHA256SUMS").read_text() == before
        assert not (folder / "releases").exists()

    @pytest.mark.parametrize("arguments", [["--new"], ["1.2.3", "x"], ["../x"], ["1.2"]])
    def test_odd_arguments(self, folder: Path, arguments: list[str]) -> None:
        with pytest.raises(SystemExit):
            add_release.main(arguments, folder)
        assert not (folder / "releases").exists()

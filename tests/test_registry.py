"""The registry of models: as Python has it and as `tokenzip models`; and the Hugging Face Hub."""

from __future__ import annotations

import importlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from bundled_models import bring_along
from network_cases import calm_tokens, tiny_model
from test_cli import Outcome

import tokenzip
from tokenzip import codec
from tokenzip.cli import run
from tokenzip.errors import (
    DownloadError,
    FileError,
    MissingDependencyError,
    MissingModelError,
    ModelFormatError,
    ModelMismatchError,
    OptionError,
)
from tokenzip.models import Model, hub, registry

FRAME, ALPHABET = (3, 4), 20


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty registry, and no other models but those that a test brings along."""
    monkeypatch.setenv("TOKENZIP_REGISTRY", str(tmp_path / "registry"))
    monkeypatch.delenv("TOKENZIP_MODELS", raising=False)
    bring_along(monkeypatch, tmp_path / "bundled", {})
    return tmp_path / "registry"


@pytest.fixture
def model() -> Model:
    return tiny_model("lstm", FRAME, ALPHABET, coarse=True)


@pytest.fixture
def file(model: Model, tmp_path: Path) -> Path:
    model.save(tmp_path / "m.safetensors")
    return tmp_path / "m.safetensors"


@pytest.fixture
def tokens() -> np.ndarray:
    return calm_tokens((60, *FRAME), ALPHABET)


class TestFolder:
    def test_where_it_is(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        assert registry.folder() == tmp_path / "registry"
        monkeypatch.delenv("TOKENZIP_REGISTRY")
        monkeypatch.setenv("XDG_DATA_HOME", "/data")
        monkeypatch.setattr(registry.sys, "platform", "linux")
        assert registry.folder() == Path("/data/tokenzip/models")
        monkeypatch.delenv("XDG_DATA_HOME")
        assert registry.folder() == Path.home() / ".local/share/tokenzip/models"
        monkeypatch.setattr(registry.sys, "platform", "darwin")
        assert registry.folder().parts[-4:-2] == ("Library", "Application Support")
        monkeypatch.setattr(registry.sys, "platform", "win32")
        monkeypatch.setenv("LOCALAPPDATA", "/local")
        assert registry.folder() == Path("/local/tokenzip/models")

    def test_without_a_home(self, monkeypatch: pytest.MonkeyPatch, tokens: np.ndarray) -> None:
        def homeless() -> Path:
            raise RuntimeError("Could not determine home directory.")

        monkeypatch.delenv("TOKENZIP_REGISTRY")
        monkeypatch.delenv("XDG_DATA_HOME", raising=False)
        monkeypatch.setattr(Path, "home", homeless)
        assert registry.entries() == [] and registry.path_of("00" * 32) is None
        with pytest.raises(OptionError, match="TOKENZIP_REGISTRY"):
            registry.folder()


class TestAdding:
    def test_is_found_by_blobs_and_by_its_identity(
        self, file: Path, model: Model, tokens: np.ndarray, place: Path
    ) -> None:
        blob = tokenzip.encode(tokens, model=model)
        with pytest.raises(MissingModelError, match="models add"):
            tokenzip.decode(blob)
        entry = registry.add(file)
        assert entry.path == place / f"{model.identity.hex()}.safetensors"
        assert Model.load(entry.path).summary == model.summary
        assert entry.bytes == entry.path.stat().st_size
        assert np.array_equal(tokenzip.decode(blob), tokens)
        for name in (model.identity.hex(), model.identity.hex()[:8]):
            assert tokenzip.encode(tokens, model=name) == blob
        with pytest.raises(OptionError):
            tokenzip.encode(tokens, model=model.identity.hex()[:7])
        assert registry.entries() == [entry]

    def test_what_is_no_model_is_not_kept(self, tmp_path: Path, file: Path, place: Path) -> None:
        damaged = bytearray(file.read_bytes())
        damaged[-5] ^= 1
        (tmp_path / "bad.safetensors").write_bytes(damaged)
        for path, kind in (
            (tmp_path / "bad.safetensors", ModelFormatError),
            (tmp_path / "nothing.safetensors", FileError),
        ):
            with pytest.raises(kind):
                registry.add(path)
        with pytest.raises(ModelMismatchError, match="nothing was kept"):
            registry.add(file, identity="00" * 32)
        with pytest.raises(OptionError, match="64"):
            registry.add(file, identity="00")
        assert registry.entries() == [] and not place.exists()

    def test_again_and_over_a_damaged_one(self, file: Path, model: Model) -> None:
        entry = registry.add(file, identity=model.identity.hex().upper())
        before = entry.path.stat()
        assert registry.add(file) == entry
        assert entry.path.stat().st_mtime_ns == before.st_mtime_ns
        entry.path.write_bytes(b"half a mod")
        registry.add(file)
        assert Model.load(entry.path).identity == model.identity
        assert [path.name for path in entry.path.parent.iterdir()] == [entry.path.name]

    def test_other_files_are_ignored(self, file: Path, place: Path) -> None:
        registry.add(file)
        (place / "notes.txt").write_text("mine")
        shutil.copy(file, place / "m.safetensors")
        assert len(registry.entries()) == 1


class TestRemoving:
    def test_there_and_gone(self, file: Path, model: Model) -> None:
        entry = registry.add(file)
        for wrong in ("deadbeef", "m.safetensors", model.identity.hex()[:7], "../" + "0" * 61):
            with pytest.raises(MissingModelError):
                registry.remove(wrong)
        assert registry.remove(model.identity.hex()[:8]) == entry
        assert registry.entries() == []

    def test_bundled_ones_stay(
        self, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        entry = bring_along(monkeypatch, tmp_path / "b", {"video-1": model})[0]
        for name in ("video-1", entry.identity, entry.identity[:9]):
            with pytest.raises(OptionError, match="video-1 comes with tokenzip"):
                registry.remove(name)
        assert entry.path.is_file()

    def test_ambiguous_beginnings(self, place: Path) -> None:
        place.mkdir()
        for end in "ab":
            (place / ("0" * 63 + end + ".safetensors")).write_bytes(b"")
        with pytest.raises(OptionError, match="say more"):
            registry.remove("00000000")


def test_what_is_given_comes_first(
    file: Path, model: Model, tokens: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given places, $TOKENZIP_MODELS, the registry, bundled ones: each is enough, in this order."""
    blob = tokenzip.encode(tokens, model=model)
    loaded: list[str] = []
    load = Model.load.__func__  # type: ignore[attr-defined]

    def noted(cls: type[Model], path: Any) -> Model:
        loaded.append(Path(path).parent.name)
        return load(cls, path)

    monkeypatch.setattr(Model, "load", classmethod(noted))
    bring_along(monkeypatch, tmp_path / "b", {"video-1": model})
    assert np.array_equal(tokenzip.decode(blob), tokens) and loaded == []
    registry.add(file)
    loaded.clear()
    tokenzip.decode(blob)
    for name in ("variable", "given"):
        (tmp_path / name).mkdir()
        shutil.copy(file, tmp_path / name)
    monkeypatch.setenv("TOKENZIP_MODELS", str(tmp_path / "variable"))
    tokenzip.decode(blob)
    tokenzip.decode(blob, model=tmp_path / "given")
    assert loaded == ["registry", "variable", "given"]


class FakeHub:
    """What is used of the package huggingface_hub."""

    def __init__(self, content: bytes | Exception) -> None:
        self.content = content
        self.calls: list[dict[str, Any]] = []

    def hf_hub_download(self, **asked: Any) -> str:
        self.calls.append(asked)
        if isinstance(self.content, Exception):
            raise self.content
        target = Path(asked["local_dir"]) / asked["filename"]
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(self.content)
        return str(target)


@pytest.fixture
def fake(file: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    found = FakeHub(file.read_bytes())
    real = importlib.import_module

    def imported(name: str, *more: Any) -> Any:
        return found if name == "huggingface_hub" else real(name, *more)

    monkeypatch.setattr(hub, "importlib", SimpleNamespace(import_module=imported))
    return found


ADDRESS = "hf://me/tokens/folder/m.safetensors@v1"


class TestHub:
    def test_a_pinned_model_is_kept(self, fake: FakeHub, model: Model) -> None:
        entry = hub.download(ADDRESS, model.identity.hex())
        asked = fake.calls[0]
        assert (asked["repo_id"], asked["filename"], asked["revision"]) == (
            "me/tokens",
            "folder/m.safetensors",
            "v1",
        )
        assert registry.entries() == [entry] and not Path(asked["local_dir"]).exists()

    def test_another_model_is_not(self, fake: FakeHub, place: Path) -> None:
        with pytest.raises(ModelMismatchError, match="nothing was kept"):
            hub.download(ADDRESS, "00" * 32)
        fake.content = b"<html>"
        with pytest.raises(ModelFormatError):
            hub.download(ADDRESS, "00" * 32)
        assert registry.entries() == []

    def test_offline(self, fake: FakeHub) -> None:
        fake.content = OSError("Name or service not known")
        with pytest.raises(DownloadError, match=r"could not be fetched.*not known.*models add"):
            hub.download(ADDRESS, "00" * 32)

    @pytest.mark.parametrize(
        "address",
        ["hf://me/m@1", "hf://me/tokens/m.safetensors", "hf://me/t/../m@1", "hf://", "hf://a/b/@1"],
    )
    def test_no_address(self, fake: FakeHub, address: str) -> None:
        with pytest.raises(OptionError, match="hf://OWNER"):
            hub.download(address, "00" * 32)
        assert fake.calls == []

    def test_the_package_is_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def missing(name: str) -> Any:
            raise ImportError(name)

        monkeypatch.setattr(hub, "importlib", SimpleNamespace(import_module=missing))
        with pytest.raises(MissingDependencyError, match=r"tokenzip\[hub\]"):
            hub.download(ADDRESS, "00" * 32)


@pytest.fixture
def tz(capfd: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    def call(*arguments: object) -> Outcome:
        code = run([str(argument) for argument in arguments])
        return Outcome(code, *capfd.readouterr())

    return call


class TestCommands:
    def test_add_list_info_remove(self, tz, file: Path, model: Model) -> None:
        identity = model.identity.hex()
        done = tz("models", "add", file)
        assert done.code == 0 and identity in done.err
        assert identity[:16] in tz("models", "list").out
        shown = tz("models", "info", identity[:10])
        assert shown.code == 0
        for text in (identity, "3 x 4", "lstm", "at random"):
            assert text in shown.out
        assert tz("models", "remove", identity[:8]).code == 0
        assert registry.entries() == []

    def test_json(self, tz, file: Path, model: Model, tmp_path: Path, monkeypatch) -> None:
        bring_along(
            monkeypatch, tmp_path / "b", {"video-1": tiny_model("conv3d", FRAME, 20, coarse=True)}
        )
        added = tz("models", "add", file, "--json").json
        assert (added["command"], added["ok"]) == ("models add", True)
        assert added["files"][0]["identity"] == model.identity.hex()
        rows = tz("models", "list", "--json").json["files"]
        assert [(row["where"], row["family"]) for row in rows] == [
            ("tokenzip", "conv3d"),
            ("registry", "lstm"),
        ]
        info = tz("models", "info", "video-1", "--json").json["files"][0]
        assert (info["number"], info["frames"], info["alphabet"]) == (1, "3 x 4", 20)
        assert info["packed_bytes"] > 100 and "# video-1" in info["card"]
        assert info["macs"]["total"] > 0
        json.dumps(info)

    def test_what_fails(self, tz, file: Path, model: Model, fake: FakeHub) -> None:
        assert tz("models", "add", file, "--identity", "00" * 32).code == 1
        assert tz("models", "add", file, "--identity", "00").code == 2
        assert tz("models", "add", file, file, "--identity", "00" * 32).code == 2
        assert tz("models", "add", ADDRESS).code in (1, 2)
        done = tz("models", "remove", "deadbeef")
        assert done.code == 1 and "Traceback" not in done.err and "deadbeef" in done.err
        assert tz("models", "info", "video-7").code == 2
        assert registry.entries() == []
        assert tz("models", "add", ADDRESS, "--identity", model.identity.hex()).code == 0
        assert len(registry.entries()) == 1

    def test_a_damaged_file_is_listed_as_such(self, tz, file: Path) -> None:
        registry.add(file).path.write_bytes(b"no model")
        done = tz("models", "list", "--json")
        assert done.code == 0 and "problem" in done.json["files"][0]
        assert tz("models", "list").code == 0


class TestCompressing:
    @pytest.fixture(autouse=True)
    def all_notes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """These blobs are too small to keep their choice notes."""
        monkeypatch.setattr(codec, "NOTE_SHARE", 0)

    def test_says_what_was_chosen_and_why(
        self, tz, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bring_along(monkeypatch, tmp_path / "b", {"video-1": model})
        monkeypatch.chdir(tmp_path)
        np.save("clip.npy", calm_tokens((1200, *FRAME), ALPHABET))
        done = tz("compress", "clip.npy")
        assert done.code == 0 and "hybrid with video-1" in done.err
        shown = tz("info", "clip.npy.tkz").out
        assert "video-1, which comes with tokenzip" in shown
        assert "bits/token hybrid with video-1, against" in shown and "adaptive" in shown
        assert tz("verify", "clip.npy.tkz").code == 0
        named = tz("compress", "clip.npy", "--model", "video-1", "-o", "named.tkz", "--json").json
        assert (named["files"][0]["bundled"], named["files"][0]["choice"]) == (1, None)
        assert "nothing is said of other" in tz("info", "named.tkz").out
        bring_along(monkeypatch, tmp_path / "none", {})
        done = tz("decompress", "clip.npy.tkz", "-o", "back.npy")
        assert done.code == 1 and "update tokenzip" in done.err
        assert "model number 1 of a newer version" in tz("info", "clip.npy.tkz").out

    def test_several_models(self, tz, file: Path, tmp_path: Path, monkeypatch) -> None:
        monkeypatch.chdir(tmp_path)
        tiny_model("conv3d", FRAME, ALPHABET, coarse=True).save("other.safetensors")
        np.save("clip.npy", calm_tokens((1200, *FRAME), ALPHABET))
        models = ["--model", file, "--model", "other.safetensors"]
        done = tz("compress", "clip.npy", *models, "--json")
        assert done.code == 0
        assert len(done.json["files"][0]["choice"]["candidates"]) == 3
        assert "with a model that was given" in tz("info", "clip.npy.tkz").out
        assert tz("pack", "clip.npy", "-o", "a.tkz.h5", *models).code == 0
        assert len(tokenzip.open("a.tkz.h5").models) == 1

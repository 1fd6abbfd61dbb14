"""tokenzip.Limits: each holds, says its name and how to raise it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_process import run
from network_cases import tiny_model

import tokenzip
from tokenzip import Limits
from tokenzip.errors import LimitError, OptionError
from tokenzip.files.named import Member, join_names, split_names
from tokenzip.models import packed

TOKENS = (np.arange(48).reshape(8, 2, 3) // 9).astype(np.int64)
BLOB = tokenzip.encode(TOKENS, predictor="stored")


def test_they_are_checked() -> None:
    assert Limits(tokens=np.int64(5)) == Limits(tokens=5)
    assert Limits().tokens == tokenzip.DEFAULT_MAX_TOKENS
    wrong: list[dict[str, Any]] = [{"tokens": -1}, {"clips": None}, {"json_bytes": "1"}]
    for bad in (*wrong, {"model_bytes": 1.5}, {"tokens": True}):
        with pytest.raises(OptionError, match=next(iter(bad))):
            Limits(**bad)
    with pytest.raises(OptionError, match="limits"):
        tokenzip.decode(BLOB, limits=5)  # type: ignore[arg-type]


class TestDecode:
    def test_tokens(self) -> None:
        with pytest.raises(LimitError, match=r"pass max_tokens=48$"):
            tokenzip.decode(BLOB, limits=Limits(tokens=47))
        assert np.array_equal(tokenzip.decode(BLOB, limits=Limits(tokens=48)), TOKENS)
        # Of both the smaller holds; the default of max_tokens is none.
        assert tokenzip.Codec(max_tokens=5, limits=Limits(tokens=9)).allowed.tokens == 5
        assert tokenzip.Codec(max_tokens=9, limits=Limits(tokens=5)).allowed.tokens == 5
        assert tokenzip.Codec(limits=Limits(tokens=2**40)).max_tokens == 2**40

    def test_bytes_of_arrays(self) -> None:
        """A token takes eight bytes here, whatever it takes in the blob."""
        with pytest.raises(LimitError, match=r"array_bytes is 383; .*Limits\(array_bytes=384\)$"):
            tokenzip.decode(BLOB, limits=Limits(array_bytes=383))
        assert tokenzip.decode(BLOB, limits=Limits(array_bytes=384)).shape == TOKENS.shape

    def test_weights_of_a_model(self) -> None:
        model = tiny_model("lstm", (2, 3), 11, coarse=True)
        data = packed.pack(model)
        weights = sum(tensor.size for tensor in model.tensors.values())
        with pytest.raises(LimitError, match=f"model_weights={weights}"):
            packed.unpack(data, Limits(model_weights=weights - 1))
        assert packed.unpack(data, Limits(model_weights=weights)).identity == model.identity


def test_bytes_of_a_model_file(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    tiny_model("lstm", (2, 3), 11, coarse=True).save(path)
    size = path.stat().st_size
    with pytest.raises(LimitError, match=f"model_bytes={size}"):
        tokenzip.Model.load(path, limits=Limits(model_bytes=size - 1))
    tokenzip.Model.load(path, limits=Limits(model_bytes=size))


def test_names_of_a_file() -> None:
    data = join_names([Member("", "npz", ("a" * 5000,))], BLOB)
    with pytest.raises(LimitError, match="json_bytes"):
        split_names(data, Limits(json_bytes=5000))
    assert split_names(data, Limits(json_bytes=5100))[1] == BLOB


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "a.tkz.h5"
    with tokenzip.open(path, "w", predictor="stored") as archive:
        archive.attrs["long"] = "x" * 9000
        archive.add("one", TOKENS, attrs={"long": "y" * 7000})
        archive["two"] = TOKENS
    return path


def test_archives(archive: Path) -> None:
    for limits in (Limits(clips=1), Limits(json_bytes=5000)):
        with pytest.raises(LimitError, match=r"pass limits=Limits\((clips|json_bytes)="):
            tokenzip.open(archive, limits=limits)
    with tokenzip.open(archive, limits=Limits(clips=2, tokens=47)) as opened:
        assert len(opened) == 2
        with pytest.raises(LimitError):
            opened["one"][...]


def test_archives_without_an_index(archive: Path) -> None:
    """The limits hold for walking, too."""
    data = bytearray(archive.read_bytes())
    data[60] ^= 1
    archive.write_bytes(data)
    with pytest.raises(LimitError, match="clips=2"):
        tokenzip.open(archive, recover=True, limits=Limits(clips=1))
    assert len(tokenzip.open(archive, recover=True)) == 2


def test_the_command_line(tmp_path: Path, archive: Path) -> None:
    (tmp_path / "a.npy.tkz").write_bytes(BLOB)
    done = run("decompress", "a.npy.tkz", "--limit", "array_bytes=100", cwd=tmp_path)
    assert done.returncode == 1 and b"use --limit array_bytes=384" in done.stderr
    for limit in ("array_bytes", "x=1", "tokens=-1", "tokens=1.5", "tokens=1q"):
        assert run("verify", "a.npy.tkz", "--limit", limit, cwd=tmp_path).returncode == 2
    done = run("decompress", "a.npy.tkz", "--limit", "array_bytes=1k", "--quiet", cwd=tmp_path)
    assert done.returncode == 0 and np.array_equal(np.load(tmp_path / "a.npy"), TOKENS)
    done = run("extract", archive, "one", "--limit", "tokens=5", cwd=tmp_path)
    assert done.returncode == 1 and b"use --max-tokens 48" in done.stderr


@pytest.mark.parametrize("workers", [[], ["--workers", "1"]])
def test_clips_beyond_a_limit_are_not_called_bad(
    workers: list[str], tmp_path: Path, archive: Path
) -> None:
    done = run("verify", archive.name, "--limit", "tokens=5", *workers, cwd=tmp_path)
    first, *_, last = done.stdout.decode().splitlines()
    assert done.returncode == 1 and b"BAD" not in done.stdout
    assert first.startswith("?    a.tkz.h5: clip one: 48 tokens") and "--max-tokens 48" in first
    assert last == "?    a.tkz.h5: 2 of 2 clips could not be checked"
    done = run("verify", archive.name, "--limit", "tokens=5", "--json", cwd=tmp_path)
    told = json.loads(done.stdout)
    assert [clip["clip"] for clip in told["unchecked"]] == ["one", "two"]
    assert "problems" not in told and not told["ok"]

"""WebDataset: shards written and read by the library itself."""

from __future__ import annotations

import io
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

import tokenzip
from tokenzip import errors
from tokenzip.files import Member, join_names

wds = pytest.importorskip("webdataset")
from tokenzip.integrations.webdataset import decoder, encoder  # noqa: E402


@pytest.fixture
def clips(rng: np.random.Generator) -> list[np.ndarray]:
    return [rng.integers(0, 9, (5, 2, 3)).astype("u2") for _ in range(7)]


def shard(path: Path, members: dict[str, bytes]) -> str:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return str(path)


def test_shards_there_and_back(clips: list[np.ndarray], tmp_path: Path) -> None:
    pattern = str(tmp_path / "clips-%02d.tar")
    writing = encoder(alphabet=9, predictor="stored")
    with wds.ShardWriter(pattern, maxcount=3, verbose=0, encoder=writing) as sink:
        for number, clip in enumerate(clips):
            sink.write(
                {"__key__": f"c{number}", "tokens.tkz": clip, "json": {"fps": 20}, "cls": number}
            )
    url = str(tmp_path / "clips-{00..02}.tar")
    samples = list(wds.WebDataset(url, shardshuffle=False).decode(decoder))
    assert [sample["__key__"] for sample in samples] == [f"c{n}" for n in range(7)]
    for sample, clip in zip(samples, clips, strict=True):
        assert sample["json"] == {"fps": 20}
        assert np.array_equal(sample["tokens.tkz"], clip) and sample["tokens.tkz"].dtype == "u2"


def test_what_the_command_line_wrote(clips: list[np.ndarray], tmp_path: Path) -> None:
    def blob(item: object) -> bytes:
        return tokenzip.encode(item, predictor="stored")

    named = join_names([Member("", "npz", ("a", "b"))], blob(clips[:2]))
    files = join_names(
        [Member("x.npy", "npy", ("",)), Member("y.h5", "h5", ("g/t",))], blob(clips[:2])
    )
    url = shard(
        tmp_path / "s.tar",
        {
            "one.npy.tkz": blob(clips[0]),
            "one.list.tkz": blob(clips[:2]),
            "one.npz.tkz": named,
            "one.all.tkz": files,
            "one.txt": b"text",
        },
    )
    (sample,) = wds.WebDataset(url, shardshuffle=False).decode(decoder)
    assert np.array_equal(sample["npy.tkz"], clips[0])
    assert len(sample["list.tkz"]) == 2
    assert list(sample["npz.tkz"]) == ["a", "b"]
    assert np.array_equal(sample["npz.tkz"]["b"], clips[1])
    assert list(sample["all.tkz"]) == ["x.npy", "y.h5/g/t"]
    assert sample["txt"] == "text"


def test_damage_is_named(clips: list[np.ndarray], tmp_path: Path) -> None:
    blob = bytearray(tokenzip.encode(clips[0], predictor="stored"))
    blob[-1] ^= 1
    url = shard(tmp_path / "s.tar", {"bad.tkz": bytes(blob)})
    with pytest.raises(wds.autodecode.DecodingError) as caught:
        list(wds.WebDataset(url, shardshuffle=False).decode(decoder))
    assert isinstance(caught.value.__cause__, errors.CorruptError)
    assert caught.value.key == "bad"
    bad_names = join_names([Member("", "npz", ("a",))], tokenzip.encode(clips, predictor="stored"))
    with pytest.raises(errors.CorruptError, match="1 names but 7 arrays"):
        decoder(".npz.tkz", bad_names)


def test_only_its_own_members() -> None:
    assert decoder(".npy", b"anything") is None
    with pytest.raises(errors.OptionError):
        encoder(alphabet=1)


def test_without_webdataset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "webdataset.writer", None)
    with pytest.raises(errors.MissingDependencyError, match=r"tokenzip\[webdataset\]"):
        encoder()

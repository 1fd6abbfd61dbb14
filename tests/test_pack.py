"""Packing at scale: what becomes a clip, what it is called, and what is done about trouble."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from test_cli import Outcome

import tokenzip
from tokenzip import errors
from tokenzip.cli import run
from tokenzip.packing import check_submission, estimate, find_clips, pack, unpack

ROOT = Path(tokenzip.__file__).parents[1]
RNG = np.random.default_rng(2)
CLIPS = [RNG.integers(0, 1024, (20, 8, 16)).astype(np.int16) for _ in range(6)]
STORED = ["--predictor", "stored"]


@pytest.fixture
def tz(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Outcome]:
    """Run one command line in an empty directory."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> Outcome:
        code = run([str(argument) for argument in arguments])
        return Outcome(code, *capfd.readouterr())

    return call


def saved(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def shard(path: str, members: list[tuple[str, bytes]]) -> None:
    with tarfile.open(path, "w:gz" if path.endswith("gz") else "w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def files() -> dict[str, np.ndarray]:
    """One of each kind of source below here; and the clips that they are."""
    Path("clips/deep").mkdir(parents=True)
    np.save("clips/a.npy", CLIPS[0])
    Path("clips/a.json").write_text('{"fps": 20}')
    np.save("clips/deep/b.npy", CLIPS[1])
    np.savez("clips/c.npz", x=CLIPS[2], floats=np.ones(3), y=CLIPS[3])
    with h5py.File("d.h5", "w") as file:
        file["clips/k/tokens"] = CLIPS[4]
        file["clips/k"].attrs["camera"] = "front"
        file["clips/k/tokens"].attrs["n"] = np.arange(2)
        file["loss"] = np.ones(3)
    shard(
        "data-0000.tar.gz",
        [
            ("./key5.token.npy", saved(CLIPS[5])),
            ("./key5.json", json.dumps({"file_name": "key5.npy", "x": 1}).encode()),
            ("readme.txt", b"hello"),
        ],
    )
    return {
        "clips/a": CLIPS[0],
        "clips/c/x": CLIPS[2],
        "clips/c/y": CLIPS[3],
        "clips/deep/b": CLIPS[1],
        "d/clips/k/tokens": CLIPS[4],
        "key5": CLIPS[5],
    }


def same(archive: tokenzip.Archive, expected: dict[str, np.ndarray]) -> bool:
    return list(archive) == list(expected) and all(
        np.array_equal(archive[name][:], tokens) and archive[name].dtype == tokens.dtype
        for name, tokens in expected.items()
    )


SOURCES = ["clips", "d.h5", "data-0000.tar.gz"]


def test_there_and_back(tz: Callable[..., Outcome]) -> None:
    expected = files()
    floats = tz("pack", *SOURCES, "-o", "all.tkz.h5", *STORED)
    assert floats.code == 1 and "clips/c.npz: clips/c/floats: tokens must be integers" in floats.err
    with tokenzip.open("all.tkz.h5") as archive:
        assert same(archive, expected)
        assert dict(archive["clips/a"].attrs) == {"fps": 20}
        assert dict(archive["d/clips/k/tokens"].attrs) == {"camera": "front", "n": [0, 1]}
        assert dict(archive["key5"].attrs) == {"file_name": "key5.npy", "x": 1}
    assert tz("verify", "all.tkz.h5").out == "OK   all.tkz.h5: 6 clips, 15,360 tokens, decoded\n"
    assert "checksums" in tz("verify", "--fast", "all.tkz.h5").out

    assert tz("unpack", "all.tkz.h5").code == 0  # into the directory `all`
    for name, tokens in expected.items():
        assert np.array_equal(np.load(f"all/{name}.npy"), tokens)
    assert json.loads(Path("all/clips/a.json").read_text()) == {"fps": 20}
    refused = tz("unpack", "all.tkz.h5")
    assert refused.code == 1 and "exists; use --force" in refused.err
    assert tz("unpack", "all.tkz.h5", "--force", "-q").code == 0
    again = tz("pack", "all", "-o", "again.tkz.h5", *STORED)
    assert again.code == 0
    with tokenzip.open("again.tkz.h5") as archive:
        assert same(archive, {name: expected[name] for name in archive}) and len(archive) == 6
        assert archive["d/clips/k/tokens"].attrs["camera"] == "front"


@pytest.mark.parametrize("target", ["out.npz", "out.h5"])
def test_into_one_file(tz: Callable[..., Outcome], target: str) -> None:
    expected = files()
    tz("pack", *SOURCES, "-o", "all.tkz.h5", *STORED)
    assert tz("unpack", "all.tkz.h5", "-o", target, "key5", "clips/c").code == 0
    wanted = ["clips/c/x", "clips/c/y", "key5"]
    if target.endswith("npz"):
        with np.load(target) as back:
            assert sorted(back) == wanted
            assert all(np.array_equal(back[name], expected[name]) for name in wanted)
    else:
        with h5py.File(target) as file:
            assert all(np.array_equal(file[f"{n}/tokens"], expected[n]) for n in wanted)
            assert file["key5/tokens"].attrs["x"] == 1
    assert tz("unpack", "all.tkz.h5", "-o", target).code == 1  # it exists
    missing = tz("unpack", "all.tkz.h5", "-o", "x", "nothing*")
    assert missing.code == 1 and "no clip matches 'nothing*'" in missing.err


def test_ls_info_extract(tz: Callable[..., Outcome]) -> None:
    expected = files()
    tz("pack", *SOURCES, "-o", "all.tkz.h5", *STORED)
    assert tz("ls", "all.tkz.h5").out.split() == list(expected)
    assert tz("ls", "all.tkz.h5", "clips/deep").out == "clips/deep/b\n"
    line = tz("ls", "-l", "all.tkz.h5", "key5").out.rstrip("\n").split("\t")
    assert line[:5] == ["key5", "20x8x16", "<i2", str(CLIPS[5].max() + 1), "stored"]
    listed = tz("ls", "all.tkz.h5", "--json").json
    assert [file["clip"] for file in listed["files"]] == list(expected)
    shown = tz("info", "all.tkz.h5")
    assert "of which container" in shown.out and "8x16" in shown.out
    fields = tz("info", "all.tkz.h5", "--chunks", "--json").json["files"][0]["archive"]
    assert fields["clips"] == 6 and len(fields["chunks"]["key5"]) == 1

    assert tz("extract", "all.tkz.h5", "clips/deep/b").code == 0
    assert np.array_equal(np.load("b.npy"), CLIPS[1])
    for frames, index in (("3:7", slice(3, 7)), ("-2:", slice(-2, None)), ("4", 4)):
        assert tz("extract", "all.tkz.h5", f"key5:{frames}", "-o", "p.npy", "-f").code == 0
        assert np.array_equal(np.load("p.npy"), CLIPS[5][index])
    for bad, text in (("nothing", "no clip"), ("key5:a", "no clip"), ("key5:99", "frame 99")):
        refused = tz("extract", "all.tkz.h5", bad, "-o", "q.npy")
        assert refused.code in (1, 2) and text in refused.err and not Path("q.npy").exists()


def test_resume(tz: Callable[..., Outcome]) -> None:
    expected = files()
    assert tz("pack", "clips/a.npy", "-o", "all.tkz.h5", *STORED).code == 0
    refused = tz("pack", *SOURCES, "-o", "all.tkz.h5", *STORED)
    assert refused.code == 1 and "--resume goes on with it" in refused.err
    Path("clips/c.npz").unlink()
    done = tz("pack", "clips/a.npy", "d.h5", "-o", "all.tkz.h5", "--resume", "--json", *STORED)
    assert done.code == 0
    report = done.json["files"][0]
    assert (report["clips"], report["skipped"], report["archive_clips"]) == (1, 1, 2)
    # Other tokens under the same name are not taken for the same clip.
    np.save("clips/a.npy", CLIPS[1])
    other = tz("pack", "clips/a.npy", "-o", "all.tkz.h5", "--resume", *STORED)
    assert other.code == 1 and "with other tokens" in other.err
    assert np.array_equal(tokenzip.open("all.tkz.h5")["a"], expected["clips/a"])
    appended = tz("pack", "d.h5", "-o", "all.tkz.h5", "--append", *STORED)
    assert appended.code == 1 and "already" in appended.err
    assert tz("pack", "d.h5", "-o", "all.tkz.h5", "--force", *STORED).code == 0
    assert len(tokenzip.open("all.tkz.h5")) == 1


def test_archives_are_sources_too(tz: Callable[..., Outcome]) -> None:
    expected = files()
    tz("pack", *SOURCES, "-o", "all.tkz.h5", *STORED)
    with tokenzip.open("all.tkz.h5", "a") as archive:
        del archive["key5"]
        archive.attrs["kept"] = False
    assert tz("pack", "all.tkz.h5", "-o", "small.tkz.h5").code == 0
    del expected["key5"]
    with tokenzip.open("small.tkz.h5") as small, tokenzip.open("all.tkz.h5") as archive:
        assert same(small, expected)
        assert all(small[name].blob() == archive[name].blob() for name in small)
    assert Path("small.tkz.h5").stat().st_size < Path("all.tkz.h5").stat().st_size


def test_the_archive_is_not_its_own_source(tz: Callable[..., Outcome]) -> None:
    files()
    Path("clips/c.npz").unlink()
    assert tz("pack", ".", "-o", "all.tkz.h5", *STORED).code == 0
    assert tz("pack", ".", "-o", "all.tkz.h5", "--resume", *STORED).code == 0
    assert len(tokenzip.open("all.tkz.h5")) == 4


# ---- shards --------------------------------------------------------------------------------------


def test_hostile_shards(tz: Callable[..., Outcome], tmp_path: Path) -> None:
    good = ("ok.token.npy", saved(CLIPS[0]))
    shard("a.tar", [("../../evil.token.npy", saved(CLIPS[1])), good, ("/abs.npy", saved(CLIPS[2]))])
    done = tz("pack", "a.tar", "-o", "a.tkz.h5", *STORED)
    assert done.code == 1 and done.err.count("cannot be called") == 2
    assert same(tokenzip.open("a.tkz.h5"), {"ok": CLIPS[0]})
    with tarfile.open("b.tar", "w") as tar:  # links and devices are nothing to read
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
            info = tarfile.TarInfo("link.token.npy")
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
    assert "no .npy member" in tz("pack", "b.tar", "-o", "b.tkz.h5", *STORED).err
    shard("c.tar.gz", [good, ("bad.json", b"{"), ("late.npy", saved(CLIPS[1]))])
    assert "not JSON" in tz("pack", "c.tar.gz", "-o", "c.tkz.h5", *STORED).err
    pickled = io.BytesIO()
    np.save(pickled, np.array([{}], dtype=object), allow_pickle=True)
    shard("d.tar", [("p.npy", pickled.getvalue()), good])
    done = tz("pack", "d.tar", "-o", "d.tkz.h5", *STORED)
    assert "pickled" in done.err and list(tokenzip.open("d.tkz.h5")) == ["ok"]


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
def test_a_shard_that_is_cut_off(tz: Callable[..., Outcome], suffix: str) -> None:
    shard(f"x{suffix}", [(f"k{n}.token.npy", saved(clip)) for n, clip in enumerate(CLIPS)])
    data = Path(f"x{suffix}").read_bytes()
    Path(f"x{suffix}").write_bytes(data[: len(data) // 2])
    done = tz("pack", f"x{suffix}", "-o", "x.tkz.h5", *STORED)
    assert done.code == 1 and "a damaged tar file" in done.err
    with tokenzip.open("x.tkz.h5") as archive:
        assert 1 <= len(archive) < 5
        assert same(archive, {f"k{n}": CLIPS[n] for n in range(len(archive))})


def test_several_arrays_of_a_sample(tz: Callable[..., Outcome]) -> None:
    shard(
        "s.tar",
        [("k.a.npy", saved(CLIPS[0])), ("k.json", b"{}"), ("k.b.npy", saved(CLIPS[1]))],
    )
    assert tz("pack", "s.tar", "-o", "s.tkz.h5", *STORED).code == 0
    assert same(tokenzip.open("s.tkz.h5"), {"k/a": CLIPS[0], "k/b": CLIPS[1]})


# ---- data sets -----------------------------------------------------------------------------------


def test_hugging_face_data_sets(tz: Callable[..., Outcome]) -> None:
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    features = datasets.Features(
        {
            "token.npy": datasets.Array3D((20, 8, 16), "int16"),
            "json": {"file_name": datasets.Value("string")},
            "__key__": datasets.Value("string"),
        }
    )
    rows = {
        "token.npy": [clip.tolist() for clip in CLIPS[:3]],
        "json": [{"file_name": f"k{n}.npy"} for n in range(3)],
        "__key__": [f"k{n}" for n in range(3)],
    }
    dataset = datasets.Dataset.from_dict(rows, features=features)
    dataset.save_to_disk("one")
    datasets.DatasetDict({"train": dataset, "val": dataset.select([2, 0])}).save_to_disk("two")
    datasets.Dataset.from_dict({"audio": [[1, 2], [3]], "text": ["x", "y"]}).save_to_disk("three")
    assert tz("pack", "one", "-o", "one.tkz.h5", *STORED).code == 0
    with tokenzip.open("one.tkz.h5") as archive:
        assert same(archive, {f"k{n}": CLIPS[n] for n in range(3)})
        assert dict(archive["k1"].attrs) == {"file_name": "k1.npy"}
    assert tz("pack", "two", "-o", "two.tkz.h5", *STORED).code == 0
    with tokenzip.open("two.tkz.h5") as archive:
        assert list(archive) == ["train/k0", "train/k1", "train/k2", "val/k2", "val/k0"]
        assert np.array_equal(archive["val/k2"], CLIPS[2])
    assert tz("pack", "three", "-o", "three.tkz.h5", *STORED).code == 0
    with tokenzip.open("three.tkz.h5") as archive:
        assert [clip[:].tolist() for clip in archive.values()] == [[1, 2], [3]]
        assert archive["000001"].attrs["text"] == "y"
    wrong = tz("pack", "one", "-o", "x.tkz.h5", "--column", "nothing", *STORED)
    assert wrong.code == 1 and "no column 'nothing'" in wrong.err
    Path("one/state.json").write_text("{")
    assert "not a readable data set" in tz("pack", "one", "-o", "y.tkz.h5", *STORED).err


# ---- signals, progress, guesses ------------------------------------------------------------------


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_leave_a_valid_archive(tmp_path: Path, number: int, code: int) -> None:
    (tmp_path / "clips").mkdir()
    big = RNG.integers(0, 1024, (3000, 8, 16)).astype(np.int16)
    np.save(tmp_path / "clips/000.npy", big)
    for n in range(1, 600):
        os.link(tmp_path / "clips/000.npy", tmp_path / f"clips/{n:03d}.npy")
    command = [sys.executable, "-m", "tokenzip", "pack", "clips", "-o", "x.tkz.h5"]
    child = subprocess.Popen(
        [*command, "--progress", "0", *STORED],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stderr is not None
    line = child.stderr.readline()
    assert " tokens/s, " in line and " left, at " in line
    child.send_signal(number)
    rest = child.stderr.read()
    assert child.wait() == code and rest.endswith("tokenzip: interrupted\n")
    child.stderr.close()
    with h5py.File(tmp_path / "x.tkz.h5") as file:
        assert 0 < len(file["index"]) < 600  # the index was written, too
    with tokenzip.open(tmp_path / "x.tkz.h5") as archive:
        assert not archive.problems and np.array_equal(archive["000"], big)


def test_estimate(tz: Callable[..., Outcome]) -> None:
    files()
    shown = tz("pack", *SOURCES, "--estimate", "--sample", "3", *STORED)
    assert "6 clips" in shown.out or "7 clips" in shown.out
    assert "stored: " in shown.out and not list(Path().glob("*.tkz.h5"))
    found = tz("pack", "d.h5", "--estimate", "--json", *STORED).json["estimates"][0]
    tz("pack", "d.h5", "-o", "d.tkz.h5", *STORED)
    assert abs(found["bytes"] - tokenzip.open("d.tkz.h5")["d/clips/k/tokens"].compressed_bytes) < 9
    assert found["tokens"] == 2560 and found["clips"] == 1
    np.save("f.npy", np.ones(4))
    nothing = tz("pack", "f.npy", "--estimate", *STORED)
    assert nothing.code == 1 and "no clips with tokens" in nothing.err
    by_api = estimate(find_clips(["clips"]), predictors=["stored"], sample=10, failed=print)
    assert by_api[0].sampled == 4


def test_the_command_line_is_checked(tz: Callable[..., Outcome]) -> None:
    files()
    for arguments, code, text in (
        (["clips"], 2, "name the archive with -o"),
        (["clips", "-o", "x", "--resume", "--force"], 2, "exclude each other"),
        (["clips", "-o", "x", "--workers", "1", "--dask", "tcp://x:1"], 2, "choose one"),
        (["clips", "-o", "x", "--predictor", "magic"], 2, "predictor"),
        (["clips", "-o", "."], 1, "an archive is a file"),
        (["nowhere", "-o", "x"], 1, "not a source of clips"),
        (["nowhere.npy", "-o", "x"], 1, "nowhere.npy: cannot be read"),
        (["clips", "-o", "no/x"], 1, "no/x: cannot be written"),
    ):
        done = tz("pack", *arguments)
        assert done.code == code and text in done.err, (arguments, done)
    for command in ("ls", "unpack", "verify", "info"):
        assert tz(command, "d.h5").code == 1
    assert tz("extract", "d.h5", "x").code == 1


def test_a_damaged_archive_on_the_command_line(tz: Callable[..., Outcome]) -> None:
    expected = files()
    tz("pack", *SOURCES, "-o", "all.tkz.h5", *STORED)
    with tokenzip.open("all.tkz.h5") as archive:
        place = archive._contents.entry("key5").offset + 1000
    data = bytearray(Path("all.tkz.h5").read_bytes())
    data[place] ^= 4
    Path("bad.tkz.h5").write_bytes(data)
    for options in ([], ["--fast"], ["--workers", "2"]):
        done = tz("verify", "bad.tkz.h5", *options)
        assert done.code == 1
        assert done.out.splitlines()[0] == "BAD  bad.tkz.h5: clip key5: wrong CRC-32"
        assert "1 of 6 clips are bad" in done.out
    problems = tz("verify", "bad.tkz.h5", "--json").json["problems"]
    assert problems == [{"source": "bad.tkz.h5", "clip": "key5", "problem": "wrong CRC-32"}]
    Path("bad2.tkz.h5").write_bytes(data)
    problems = tz("verify", "bad.tkz.h5", "bad2.tkz.h5", "--json").json["problems"]
    assert [problem["source"] for problem in problems] == ["bad.tkz.h5", "bad2.tkz.h5"]
    assert tz("unpack", "bad.tkz.h5", "-o", "out").code == 1
    assert len(list(Path("out").rglob("*.npy"))) == len(expected) - 1
    Path("cut.tkz.h5").write_bytes(data[:place])
    assert "--recover" in tz("ls", "cut.tkz.h5").err
    listed = tz("ls", "cut.tkz.h5", "--recover")
    assert listed.code == 1 and listed.out.split() == list(expected)[:5]
    assert tz("pack", *SOURCES, "-o", "cut.tkz.h5", "--resume", *STORED).code == 1  # c/floats
    assert tz("verify", "cut.tkz.h5").code == 0
    assert same(tokenzip.open("cut.tkz.h5"), expected)


def test_from_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    expected = files()
    seen: list[Any] = []
    with tokenzip.open("x.tkz.h5", "x", predictor="stored") as archive:
        with pytest.raises(errors.DTypeError):
            pack(archive, find_clips(["clips", "d.h5"]))
        report = pack(
            archive, find_clips(SOURCES), resume=True, failed=lambda *e: None, progress=seen.append
        )
        assert report.clips + report.skipped == 6 and report.failed == 1
        assert seen[-1].clips == report.clips and 0 < seen[-1].position <= 1
        with pytest.raises(errors.OptionError):
            pack(archive, find_clips(SOURCES), resume=True, replace=True)
    with tokenzip.open("x.tkz.h5") as archive:
        assert same(archive, expected) and unpack(archive, "out", names=["key5"]) == 1


# ---- the challenge -------------------------------------------------------------------------------


def test_challenge(tz: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch) -> None:
    members = []
    for n, clip in enumerate(CLIPS[:5]):
        members.append((f"key{n}.json", json.dumps({"file_name": f"name{n}.npy"}).encode()))
        members.append((f"key{n}.token.npy", saved(clip)))
    shard("data-0000.tar.gz", members)
    done = tz("challenge", "data-0000.tar.gz", "-o", "s.zip", "--part", "2", *STORED)
    assert done.code == 0 and "checked as evaluate.sh does" in done.err
    tokens = sum(clip.size for clip in CLIPS[:5])
    rate = tokens * 10 / 8 / Path("s.zip").stat().st_size
    assert done.out == f"Compression rate: {rate:.3f}\n"
    with zipfile.ZipFile("s.zip") as archive:
        names = archive.namelist()
    assert names == ["decompress.py", *(f"part-000{n}.tkz" for n in range(3))]
    assert tz("challenge", "data-0000.tar.gz", "-o", "s.zip", *STORED).code == 1  # it exists
    assert tz("challenge", "data-0000.tar.gz", *STORED).code == 2
    assert tz("challenge", "data-0000.tar.gz", "--check", "s.zip").code == 0

    # What differs, is missing or fails is said.
    sources = find_clips(["data-0000.tar.gz"])
    with zipfile.ZipFile("s.zip") as old:
        parts = {name: old.read(name) for name in names}

    def submission(**changed: bytes | None) -> None:
        with zipfile.ZipFile("t.zip", "w") as archive:
            for name, data in {**parts, **changed}.items():
                if data is not None:
                    archive.writestr(name, data)

    submission(**{"part-0001.tkz": None})
    with pytest.raises(errors.FileError, match=r"name2\.npy was not restored"):
        check_submission("t.zip", sources)
    submission(**{"part-0001.tkz": parts["part-0001.tkz"][:-1]})
    with pytest.raises(errors.FileError, match=r"decompress\.py failed.*TruncatedError"):
        check_submission("t.zip", sources)
    submission(**{"decompress.py": None})
    with pytest.raises(errors.FileError, match=r"no decompress\.py"):
        check_submission("t.zip", sources)
    submission(**{"../evil": b"x"})
    with pytest.raises(errors.FileError, match="unsafe"):
        check_submission("t.zip", sources)
    members[1] = (members[1][0], saved(CLIPS[5]))
    shard("data-0000.tar.gz", members)
    with pytest.raises(errors.FileError, match=r"name0\.npy: decompressed data does not match"):
        check_submission("s.zip", sources)


def test_challenge_is_what_the_judges_run(tz: Callable[..., Outcome]) -> None:
    """The steps of commaai/commavq's evaluate.sh and evaluate.py, done by hand."""
    members = []
    for n, clip in enumerate(CLIPS[:3]):
        members.append((f"key{n}.json", json.dumps({"file_name": f"name{n}.npy"}).encode()))
        members.append((f"key{n}.token.npy", saved(clip)))
    shard("data-0000.tar.gz", members)
    assert tz("challenge", "data-0000.tar.gz", "-o", "s.zip", "--no-check", *STORED).code == 0
    unpacked = Path("compression_challenge_submission_decompressed")
    with zipfile.ZipFile("s.zip") as archive:
        archive.extractall(unpacked)
    subprocess.run(
        [sys.executable, str(unpacked / "decompress.py")],
        env={**os.environ, "OUTPUT_DIR": f"./{unpacked}/", "PYTHONPATH": str(ROOT)},
        check=True,
    )
    for n in range(3):
        tokens = np.load(unpacked / f"name{n}.npy")
        assert np.all(tokens == CLIPS[n]) and tokens.dtype == CLIPS[n].dtype

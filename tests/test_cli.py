"""The command line, run in this process: what each command makes of good and bad input."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

import tokenzip
from tokenzip.cli import entry, run
from tokenzip.cli.app import app
from tokenzip.cli.session import printable

COMMANDS = ["compress", "decompress", "info", "verify", "bench"]


class Outcome(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


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


@pytest.fixture
def clip() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 1024, (20, 4, 6)).astype("<i2")


def pack(tz: Callable[..., Outcome], *arguments: object) -> Outcome:
    """Compress by bit-packing: no compilation, so that these tests are about files."""
    return tz("compress", *arguments, "--predictor", "stored")


def same(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and np.array_equal(a, b)


def names(path: Path) -> list[str]:
    return sorted(str(p.relative_to(path)) for p in path.rglob("*") if p.is_file())


# ---- round trips -------------------------------------------------------------------------------


def test_npy_there_and_back(tz, tmp_path: Path, clip: np.ndarray, predictor: str) -> None:
    np.save("clip.npy", clip)
    done = tz("compress", "clip.npy", "--predictor", predictor)
    assert done.code == 0 and done.out == "" and "verified" in done.err
    blob = Path("clip.npy.tkz").read_bytes()
    assert same(tokenzip.decode(blob), clip)  # the file is the blob
    os.rename("clip.npy", "original.npy")
    assert tz("decompress", "clip.npy.tkz").code == 0
    assert Path("clip.npy").read_bytes() == Path("original.npy").read_bytes()
    assert names(tmp_path) == ["clip.npy", "clip.npy.tkz", "original.npy"]


def test_npz_keeps_its_names(tz, clip: np.ndarray) -> None:
    arrays = {"tokens": clip, "flags": clip > 500, "sub/codes": clip[0].astype(">u4")}
    np.savez_compressed("x.npz", **arrays)
    assert pack(tz, "x.npz").code == 0
    assert tz("decompress", "x.npz.tkz", "-o", "back.npz").code == 0
    with np.load("back.npz") as back:
        assert sorted(back) == sorted(arrays)
        assert all(same(back[key], arrays[key]) for key in arrays)
    shown = tz("info", "x.npz.tkz")
    assert shown.code == 0 and all(key in shown.out for key in arrays)


def test_h5_keeps_its_paths(tz, clip: np.ndarray) -> None:
    with h5py.File("x.h5", "w") as file:
        for name in "ab":
            file[f"clips/{name}/tokens"] = clip
        file.attrs["alphabet"] = 1024
        file["loss"] = np.ones(3)
    done = pack(tz, "x.h5")
    assert done.code == 0
    assert "not kept: dataset loss, the attributes of 1 object" in done.err
    Path("x.h5").unlink()
    assert tz("decompress", "x.h5.tkz").code == 0
    with h5py.File("x.h5") as file:
        found: list[str] = []
        file.visititems(lambda n, o: found.append(n) if isinstance(o, h5py.Dataset) else None)
        assert found == ["clips/a/tokens", "clips/b/tokens"]
        assert all(same(file[name][()], clip) for name in found)


def test_datasets_can_be_chosen_on_both_ways(tz, clip: np.ndarray) -> None:
    with h5py.File("x.h5", "w") as file:
        for number, name in enumerate("abc"):
            file[f"clips/{name}/tokens"] = clip + number
    done = pack(tz, "x.h5", "--dataset", "clips/a", "--dataset", "clips/c/*", "--json")
    assert done.json["files"][0]["arrays"] == 2
    assert tz("decompress", "x.h5.tkz", "--dataset", "clips/c", "--to", "npy").code == 0
    assert same(np.load("x.npy"), clip + 2)
    refused = tz("decompress", "x.h5.tkz", "--dataset", "clips/b")
    assert refused.code == 1 and "no array 'clips/b'" in refused.err
    several = tz("decompress", "x.h5.tkz", "--to", "npy", "-o", "y.npy")
    assert several.code == 1 and "2 arrays do not go into one npy file" in several.err
    assert not Path("y.npy").exists()


@pytest.mark.parametrize("name", ["t.bin", "t.raw", "t.u16", "t"])
def test_raw_there_and_back(tz, clip: np.ndarray, name: str) -> None:
    Path(name).write_bytes(clip.tobytes())
    assert pack(tz, name, "--dtype", "<i2", "--shape", "-1,4,6").code == 0
    Path(name).unlink()
    assert tz("decompress", f"{name}.tkz").code == 0
    assert Path(name).read_bytes() == clip.tobytes()
    assert tz("decompress", f"{name}.tkz", "-o", "t.npy").code == 0
    assert same(np.load("t.npy"), clip)


@pytest.mark.parametrize("kind", ["npy", "npz", "h5", "raw"])
def test_other_formats_by_name_or_by_option(tz, clip: np.ndarray, kind: str) -> None:
    np.save("clip.npy", clip)
    assert pack(tz, "clip.npy", "-o", "clip.v2.tkz").code == 0
    suffix = ".raw" if kind == "raw" else f".{kind}"
    assert tz("decompress", "clip.v2.tkz", "--to", kind).code == 0
    assert tz("decompress", "clip.v2.tkz", "-o", f"other{suffix}").code == 0
    made, other = Path(f"clip.v2{suffix}"), Path(f"other{suffix}")
    assert made.read_bytes() == other.read_bytes()
    options = ["--dtype", "<i2", "--shape", "-1x4x6"] if kind == "raw" else []
    assert pack(tz, other, "-o", "again.tkz", *options).code == 0
    assert tz("decompress", "again.tkz", "--to", "npy").code == 0
    assert same(np.load("again.npy"), clip)


def test_a_blob_of_the_library_is_a_file(tz, clip: np.ndarray) -> None:
    Path("one.tkz").write_bytes(tokenzip.encode(clip, predictor="stored"))
    Path("list.tkz").write_bytes(tokenzip.encode([clip, clip[0]], predictor="stored"))
    Path("none.tkz").write_bytes(tokenzip.encode([], predictor="stored"))
    assert tz("decompress", "one.tkz", "list.tkz", "none.tkz").code == 0
    assert same(np.load("one.npy"), clip)
    with np.load("list.npz") as back:
        assert same(back["arr_0"], clip) and same(back["arr_1"], clip[0])
    with np.load("none.npz") as back:
        assert list(back) == []


@pytest.mark.parametrize("shape", [(), (0,), (7, 0)], ids=str)
def test_small_and_empty_grids(tz, shape: tuple[int, ...]) -> None:
    array = np.ones(shape, ">u2")
    np.save("x.npy", array)
    assert pack(tz, "x.npy").code == 0
    for command in ("info", "verify"):
        assert tz(command, "x.npy.tkz").code == 0
    assert tz("decompress", "x.npy.tkz", "-o", "y.npy").code == 0
    assert same(np.load("y.npy"), array)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("3:9", slice(3, 9)), (":2", slice(2)), ("-5:", slice(-5, None)), (":", slice(None))],
)
def test_frames(tz, clip: np.ndarray, text: str, expected: slice) -> None:
    np.save("x.npy", clip)
    assert pack(tz, "x.npy", "--chunk-frames", "4").code == 0
    assert tz("decompress", "x.npy.tkz", "-o", "part.npy", f"--frames={text}").code == 0
    assert same(np.load("part.npy"), clip[expected])


def test_permissions_and_time_are_kept(tz, clip: np.ndarray) -> None:
    np.save("x.npy", clip)
    os.chmod("x.npy", 0o640)
    os.utime("x.npy", ns=(10**18, 10**18 + 5))
    assert pack(tz, "x.npy").code == 0
    os.unlink("x.npy")
    assert tz("decompress", "x.npy.tkz").code == 0
    for name in ("x.npy", "x.npy.tkz"):
        status = os.stat(name)
        assert stat.S_IMODE(status.st_mode) == 0o640
        assert status.st_mtime_ns == 10**18 + 5


# ---- many files --------------------------------------------------------------------------------


@pytest.fixture
def tree(tz, tmp_path: Path, clip: np.ndarray) -> dict[str, np.ndarray]:
    arrays = {"data/a.npy": clip, "data/s/b.npy": clip[:3], "data/s/deep/c.npy": clip[::2]}
    for name, array in arrays.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        np.save(name, array)
    Path("data/readme.txt").write_text("not tokens")
    return arrays


def test_a_directory_is_compressed_in_place(tz, tree: dict[str, np.ndarray]) -> None:
    assert pack(tz, "data").code == 0
    for name in tree:
        os.unlink(name)
    assert tz("verify", "data").out.count("OK ") == 3
    assert tz("decompress", "data").code == 0
    assert all(same(np.load(name), array) for name, array in tree.items())


def test_an_output_directory_mirrors_the_sources(
    tz, tmp_path: Path, tree: dict[str, np.ndarray]
) -> None:
    assert pack(tz, "data", "-o", "packed").code == 0
    assert names(tmp_path / "packed") == ["a.npy.tkz", "s/b.npy.tkz", "s/deep/c.npy.tkz"]
    assert tz("decompress", "packed", "-o", "back").code == 0
    for name, array in tree.items():
        assert same(np.load(name.replace("data", "back")), array)
    assert pack(tz, "data/*/*.npy", "data/a.npy", "-o", "picked").code == 0
    assert names(tmp_path / "picked") == ["a.npy.tkz", "s/b.npy.tkz"]
    assert pack(tz, "data/a.npy", "-o", "new/").code == 0
    assert names(tmp_path / "new") == ["a.npy.tkz"]


def test_solid_makes_one_file_that_restores_as_a_directory(
    tz, tmp_path: Path, tree: dict[str, np.ndarray], predictor: str
) -> None:
    with h5py.File("data/s/d.h5", "w") as file:
        file["x/tokens"] = tree["data/a.npy"]
    solid = ("--solid", "--predictor", predictor)
    done = tz("compress", "data", *solid, "-o", "all.tkz", "--json")
    assert done.code == 0 and done.json["files"][0]["arrays"] == 4
    assert len(done.json["files"][0]["sources"]) == 4
    assert tz("decompress", "all.tkz").code == 0
    for name, array in tree.items():
        assert same(np.load(name.replace("data", "all")), array)
    with h5py.File("all/s/d.h5") as file:
        assert same(file["x/tokens"][()], tree["data/a.npy"])
    assert tz("decompress", "all.tkz", "-o", "some", "--dataset", "s/*", "--to", "npz").code == 0
    assert names(tmp_path / "some") == ["s/b.npz", "s/d.npz", "s/deep/c.npz"]
    assert tz("decompress", "all.tkz", "-o", "-", "--dataset", "a.npy").code == 0
    refused = tz("decompress", "all.tkz", "-o", "-")
    assert refused.code == 1 and "use -o DIRECTORY" in refused.err
    assert tz("compress", "data", *solid).code == 2
    assert tz("compress", "data", *solid, "-o", "dir/").code == 2


def test_bad_files_do_not_stop_the_good_ones(tz, clip: np.ndarray) -> None:
    np.save("good.npy", clip)
    np.save("float.npy", np.ones(3))
    Path("bad.npy").write_bytes(b"\x93NUMPY\x01\x00v\x00nonsense")
    done = pack(tz, "bad.npy", "float.npy", "gone.npy", "good.npy")
    assert done.code == 1
    lines = [line for line in done.err.splitlines() if line.startswith("tokenzip: error: ")]
    assert len(lines) == 3
    for line, name in zip(lines, ["bad.npy", "float.npy", "gone.npy"], strict=True):
        assert line.startswith(f"tokenzip: error: {name}: ")
    assert Path("good.npy.tkz").exists() and not Path("float.npy.tkz").exists()


def test_directories_are_made_only_for_results(tz, clip: np.ndarray) -> None:
    np.save("float.npy", np.ones(3))
    assert pack(tz, "float.npy", "-o", "out/").code == 1
    Path("bad.tkz").write_bytes(b"bad")
    assert tz("decompress", "bad.tkz", "-o", "out/").code == 1
    assert sorted(os.listdir()) == ["bad.tkz", "float.npy"]
    Path("file").write_bytes(b"")
    np.save("x.npy", clip)
    done = pack(tz, "x.npy", "-o", "file/x.tkz")
    assert done.code == 1 and "file: cannot be created" in done.err


def test_raw_files_of_a_directory(tz, tmp_path: Path, clip: np.ndarray) -> None:
    os.mkdir("d")
    for name in ("a.bin", "b.raw", "c.dat", "d.other"):
        Path("d", name).write_bytes(clip.tobytes())
    assert pack(tz, "d").code == 1  # without --dtype there is no token file in it
    assert pack(tz, "d", "--dtype", "<i2", "--shape", "-1,4,6", "-o", "out").code == 0
    assert names(tmp_path / "out") == ["a.bin.tkz", "b.raw.tkz", "c.dat.tkz"]


def test_two_sources_never_share_a_target(tz, clip: np.ndarray) -> None:
    for folder in ("a", "b"):
        os.mkdir(folder)
        np.save(f"{folder}/x.npy", clip)
    done = pack(tz, "a/x.npy", "b/x.npy", "-o", "out", "--force")
    assert done.code == 1 and "already the output of a/x.npy" in done.err
    assert pack(tz, "a/x.npy", "-o", "x.tkz").code == 0
    assert pack(tz, "a/x.npy", "-o", "x.npy.tkz").code == 0
    done = tz("decompress", "x.tkz", "x.npy.tkz", "--force")
    assert done.code == 1 and "already the output of x.tkz" in done.err


# ---- caution -----------------------------------------------------------------------------------


def test_existing_files_are_refused_before_any_work(tz, clip: np.ndarray) -> None:
    np.save("x.npy", clip)
    assert pack(tz, "x.npy").code == 0
    Path("x.npy.tkz").write_bytes(b"precious")
    done = pack(tz, "x.npy")
    assert done.code == 1 and "use --force" in done.err
    assert Path("x.npy.tkz").read_bytes() == b"precious"
    assert pack(tz, "x.npy", "-f").code == 0
    Path("x.npy").write_bytes(b"precious")
    assert tz("decompress", "x.npy.tkz").code == 1
    assert Path("x.npy").read_bytes() == b"precious"
    assert tz("decompress", "x.npy.tkz", "--force").code == 0
    assert same(np.load("x.npy"), clip)


def test_rm_removes_only_what_is_kept_elsewhere(tz, clip: np.ndarray) -> None:
    np.save("x.npy", clip)
    assert pack(tz, "x.npy", "--rm").code == 0
    assert os.listdir() == ["x.npy.tkz"]
    assert tz("decompress", "x.npy.tkz", "--rm").code == 0
    assert os.listdir() == ["x.npy"]
    np.savez("y.npz", tokens=clip, loss=np.ones(3))
    done = pack(tz, "y.npz", "--rm")
    assert done.code == 1 and "also holds array loss" in done.err
    os.symlink("x.npy", "link.npy")
    assert pack(tz, "link.npy", "--rm").code == 1
    assert pack(tz, "gone.npy", "--rm").code == 1
    assert pack(tz, "x.npy", "--rm", "--no-verify").code == 2
    assert pack(tz, "x.npy", "--rm", "-o", "-").code in (1, 2)
    assert pack(tz, "x.npy", "--rm", "-o", "/dev/null").code == 1
    assert sorted(os.listdir()) == ["link.npy", "x.npy", "y.npz"]
    assert pack(tz, "x.npy").code == 0
    assert tz("decompress", "x.npy.tkz", "--rm", "--frames", "0:1", "-o", "z.npy").code == 2
    assert Path("x.npy.tkz").exists()


def test_a_wrong_array_is_never_written(
    tz, clip: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tokenzip.codec import Codec

    np.save("x.npy", clip)
    honest = Codec.encode

    def lying(self: Codec, tokens: np.ndarray) -> bytes:
        return honest(self, np.where(tokens == tokens.flat[5], 0, tokens).astype(tokens.dtype))

    monkeypatch.setattr(Codec, "encode", lying)
    done = pack(tz, "x.npy", "--rm")
    assert done.code == 1 and "differs from what was encoded" in done.err
    assert os.listdir() == ["x.npy"]
    assert pack(tz, "x.npy", "--no-verify").code == 0


def test_a_source_that_changes_meanwhile_is_not_removed(
    tz, clip: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tokenzip.codec import Codec

    np.save("x.npy", clip)
    honest = Codec.encode

    def meddled(self: Codec, tokens: np.ndarray) -> bytes:
        blob = honest(self, tokens)
        np.save("x.npy", clip[:5])
        return blob

    monkeypatch.setattr(Codec, "encode", meddled)
    done = pack(tz, "x.npy", "--rm")
    assert done.code == 1 and "changed while it was compressed" in done.err
    assert same(np.load("x.npy"), clip[:5])


def test_compressed_files_are_not_compressed_again(tz, clip: np.ndarray) -> None:
    np.save("x.npy", clip)
    assert pack(tz, "x.npy").code == 0
    done = pack(tz, "x.npy.tkz")
    assert done.code == 1 and "compressed already" in done.err
    done = tz("decompress", "x.npy", "-o", "y.npy")
    assert done.code == 1 and "is a .npy file, not compressed" in done.err
    os.rename("x.npy.tkz", "nosuffix")
    done = tz("decompress", "nosuffix")
    assert done.code == 1 and "name the output with -o" in done.err


def test_a_hostile_file_cannot_leave_the_directory(tz, tmp_path: Path, clip: np.ndarray) -> None:
    from test_files import forge

    entries = [{"name": f"../{c}.npy", "format": "npy", "arrays": [""]} for c in "ab"]
    blob = tokenzip.encode([clip, clip], predictor="stored")
    os.mkdir("inner")
    Path("inner/evil.tkz").write_bytes(forge({"files": entries}) + blob)
    done = tz("decompress", "inner/evil.tkz")
    assert done.code == 1 and "unsafe file name" in done.err
    assert names(tmp_path) == ["inner/evil.tkz"]


def test_names_that_do_not_match_the_blob(tz, clip: np.ndarray) -> None:
    from test_files import forge

    blob = tokenzip.encode([clip, clip], predictor="stored")
    entry = {"format": "npz", "arrays": ["a", "b", "c"]}
    Path("x.npz.tkz").write_bytes(forge({"files": [entry]}) + blob)
    for command in ("info", "verify", "decompress"):
        done = tz(command, "x.npz.tkz")
        assert done.code == 1 and "3 names for 2 arrays" in done.out + done.err


# ---- info and verify ---------------------------------------------------------------------------


def test_info_shows_the_header(tz, clip: np.ndarray) -> None:
    np.save("x.npy", clip)
    assert pack(tz, "x.npy", "--chunk-frames", "5", "--alphabet", "2000").code == 0
    shown = tz("info", "x.npy.tkz", "--chunks")
    assert shown.code == 0 and shown.err == ""
    for text in ("x.npy.tkz", "stored", "20x4x6", "<i2", "2,000", "480", "token CRC"):
        assert text in shown.out
    document = tz("info", "x.npy.tkz", "--json").json
    assert document["ok"] and document["command"] == "info"
    expected = tokenzip.inspect(Path("x.npy.tkz").read_bytes()).to_dict()
    assert document["files"][0]["blob"] == json.loads(json.dumps(expected))
    assert document["files"][0]["bytes"] == os.path.getsize("x.npy.tkz")


def test_info_of_many_arrays_is_cut_only_on_paper(tz, clip: np.ndarray) -> None:
    np.savez("x.npz", **{f"clip{i:03}": clip[:1] for i in range(60)})
    assert pack(tz, "x.npz").code == 0
    shown = tz("info", "x.npz.tkz")
    assert "clip003" in shown.out and "clip050" not in shown.out and "more" in shown.out
    assert tz("info", "x.npz.tkz", "--json").json["files"][0]["files"][0]["arrays"][50] == "clip050"


def test_verify_says_ok_or_bad_for_each(tz, clip: np.ndarray) -> None:
    np.save("x.npy", clip)
    assert pack(tz, "x.npy").code == 0
    good = Path("x.npy.tkz").read_bytes()
    flipped = bytearray(good)
    flipped[-9] ^= 4
    damaged = {
        "empty": b"",
        "flipped": bytes(flipped),
        "short": good[:-1],
        "long": good + b"x",
        "text": b"hello",
    }
    for name, data in damaged.items():
        Path(f"{name}.tkz").write_bytes(data)
    done = tz("verify", *[f"{name}.tkz" for name in damaged], "x.npy.tkz", "gone.tkz")
    assert done.code == 1 and done.err == ""
    lines = done.out.splitlines()
    assert [line[:4] for line in lines] == ["BAD "] * 5 + ["OK  ", "BAD "]
    for line, name in zip(lines, damaged, strict=False):
        assert line.startswith(f"BAD  {name}.tkz: ")
    assert tz("verify", "x.npy.tkz") == (0, "OK   x.npy.tkz: 480 tokens\n", "")
    assert tz("verify", "-q", "x.npy.tkz") == (0, "", "")
    document = tz("verify", "x.npy.tkz", "flipped.tkz", "--json").json
    assert [entry["ok"] for entry in document["files"]] == [True, False]
    assert document["files"][1]["error"]["type"] == "CorruptError"
    for command in ("decompress", "info"):
        done = tz(command, "empty.tkz", "text.tkz", "short.tkz")
        assert done.code == 1 and done.err.count("tokenzip: error: ") == 3


def test_the_limit_can_be_raised(tz, clip: np.ndarray) -> None:
    np.save("x.npy", clip)
    assert pack(tz, "x.npy").code == 0
    for command in ("verify", "decompress"):
        done = tz(command, "x.npy.tkz", "--max-tokens", "479", "-f" if command[0] == "d" else "-q")
        assert done.code == 1 and "--max-tokens 480" in done.out + done.err
    assert tz("verify", "x.npy.tkz", "--max-tokens", "480").code == 0


def test_more_tokens_than_are_decoded_unasked_are_pointed_out(
    tz, clip: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tokenzip.cli import compress

    monkeypatch.setattr(compress, "DEFAULT_MAX_TOKENS", 479)
    np.save("x.npy", clip)
    done = pack(tz, "x.npy")
    assert done.code == 0 and "--max-tokens 480" in done.err


# ---- messages and exit codes -------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ["explode"],
        ["compress"],
        ["compress", "x.npy", "--nonsense"],
        ["compress", "x.npy", "--predictor", "oracle"],
        ["compress", "x.npy", "--alphabet", "1"],
        ["compress", "x.npy", "--alphabet", "many"],
        ["compress", "x.npy", "--chunk-frames", "0"],
        ["compress", "x.npy", "--threads", "-1"],
        ["compress", "x.npy", "--shape", "3"],
        ["compress", "x.npy", "--dtype", "nonsense"],
        ["compress", "x.npy", "y.npy", "-o", "-"],
        ["compress", "-", "x.npy"],
        ["decompress", "x.tkz", "--to", "exe"],
        ["decompress", "x.tkz", "--frames", "3"],
        ["decompress", "x.tkz", "--frames", "a:b"],
        ["verify", "x.tkz", "--max-tokens", "-1"],
        ["bench", "--frames", "0"],
    ],
    ids=" ".join,
)
def test_usage_errors_are_code_2_and_one_line(tz, clip: np.ndarray, arguments: list[str]) -> None:
    np.save("x.npy", clip)
    np.save("y.npy", clip)
    done = tz(*arguments)
    assert done.code == 2 and done.out == ""
    assert done.err.startswith("tokenzip: error: ") and done.err.count("\n") == 1
    done = tz(*arguments, "--json")
    assert done.code == 2 and not done.json["ok"] and done.json["error"]["message"]
    assert sorted(os.listdir()) == ["x.npy", "y.npy"]


def test_bytes_and_json_do_not_share_standard_output(tz, clip: np.ndarray) -> None:
    np.save("x.npy", clip)
    assert pack(tz, "x.npy").code == 0
    for arguments in (["compress", "x.npy"], ["decompress", "x.npy.tkz"]):
        done = tz(*arguments, "-o", "-", "--json")
        assert done.code == 2 and done.json["error"]["type"] == "OptionError"


def test_token_errors_name_file_array_index_and_value(tz, clip: np.ndarray) -> None:
    bad = clip.astype("i4")
    bad[3, 2, 1] = -7
    np.save("x.npy", bad)
    np.savez("y.npz", good=clip, wrong=bad)
    done = pack(tz, "x.npy")
    assert done.code == 1 and "x.npy: " in done.err and "-7" in done.err and "(3, 2, 1)" in done.err
    done = pack(tz, "y.npz", "--json")
    assert done.code == 1
    error = done.json["files"][0]["error"]
    assert error["type"] == "TokenRangeError"
    assert error["message"].startswith("y.npz: wrong: ") and "grid" not in error["message"]
    done = pack(tz, "x.npy", "--alphabet", "50")
    assert done.code == 1


def test_json_reports_compression(tz, clip: np.ndarray) -> None:
    np.save("x.npy", clip)
    done = pack(tz, "x.npy", "gone.npy", "--json")
    document = done.json
    assert done.code == 1 and not document["ok"]
    assert document["tokenzip"] == tokenzip.__version__ and document["command"] == "compress"
    good, bad = document["files"]
    size = os.path.getsize("x.npy.tkz")
    raw = -(-480 * 10 // 8)
    assert good["ok"] and good["bytes"] == size and good["raw_bytes"] == raw
    assert good["ratio"] == pytest.approx(raw / size) and good["verified"]
    assert bad == {
        "ok": False,
        "source": "gone.npy",
        "error": {
            "type": "FileError",
            "message": "gone.npy: cannot be read: No such file or directory",
        },
    }
    back = tz("decompress", "x.npy.tkz", "-o", "y.npy", "--json").json["files"][0]
    assert back["arrays"] == [{"name": "", "shape": [20, 4, 6], "dtype": "<i2"}]


def test_quiet(tz, clip: np.ndarray) -> None:
    np.savez("x.npz", tokens=clip, loss=np.ones(2))
    assert pack(tz, "x.npz", "-q") == (0, "", "")
    assert tz("decompress", "x.npz.tkz", "-q", "-o", "y.npz") == (0, "", "")
    assert pack(tz, "gone.npy", "-q").err != ""


def test_strange_names(tz, clip: np.ndarray) -> None:
    names_ = ["[bold]x.npy", "ü ö.npy", "two\nlines\x1b[31m.npy", os.fsdecode(b"\xff.npy")]
    for name in names_:
        np.save(name, clip)
        assert pack(tz, name).code == 0
        for command in ("info", "verify"):
            done = tz(command, f"{name}.tkz")
            assert done.code == 0 and "\x1b" not in done.out
            assert printable(name).split("\\")[0] in done.out.replace("\n", "")
            assert tz(command, f"{name}.tkz", "--json").json["files"][0]["source"] == f"{name}.tkz"
        os.unlink(name)
        assert tz("decompress", f"{name}.tkz").code == 0
        assert same(np.load(name), clip)
    assert printable("a\x1b\n\udcffé") == "a\\x1b\\n\\udcffé"


def test_a_name_that_begins_with_a_dash(tz, clip: np.ndarray) -> None:
    np.save("-x.npy", clip)
    assert tz("compress", "--predictor", "stored", "-f", "--", "-x.npy").code == 0
    assert Path("-x.npy.tkz").exists()


# ---- bench -------------------------------------------------------------------------------------


def test_bench_of_files_and_of_the_sample(
    tz, clip: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each compressor is measured in a process of its own, which must find this very package.
    monkeypatch.setenv("PYTHONPATH", str(Path(tokenzip.__file__).parents[1]))
    np.save("x.npy", clip)
    done = tz("bench", "x.npy", "-c", "xz", "-c", "zlib")
    assert done.code == 0 and "ratio" in done.out and "xz" in done.out
    document = tz("bench", "--frames", "12", "-c", "zlib", "--json").json
    assert document["ok"] and document["results"][0]["tokens"] == 12 * 8 * 16
    assert tz("bench", "gone.npy").code == 1
    assert tz("bench", "x.npy", "-c", "winrar").code == 2


# ---- help, version, completion -----------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command(command: str) -> None:
    result = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    assert "Usage" in result.output and command in result.output


def test_the_help_documents_exit_codes_and_all_commands() -> None:
    result = CliRunner().invoke(app, ["-h"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    for word in [*COMMANDS, "Exit codes", "130", "143", "--json", "--install-completion"]:
        assert word in result.output


def test_version(tz) -> None:
    assert tz("--version") == (0, f"tokenzip {tokenzip.__version__}\n", "")


def test_completion_script_names_the_program(tz, monkeypatch) -> None:
    # Typer asks the parent process which shell this is; under make or CI that is any program.
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    # It asks when commands are built, which they are once a process.
    monkeypatch.setattr(entry, "_command", entry._command.__wrapped__)
    done = tz("--show-completion", "bash")
    assert done.code == 0 and "_TOKENZIP_COMPLETE" in done.out


def test_the_package_s_run_can_be_called_again() -> None:
    import tokenzip.cli

    assert [tokenzip.cli.run(["--version"]) for _ in range(2)] == [0, 0]

"""Archives as their users see them: a mapping from names to lazy arrays."""

from __future__ import annotations

import io
import json
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from archive_samples import chunked

import tokenzip
from tokenzip import errors
from tokenzip.archive import verify
from tokenzip.blob import BlobSource

RNG = np.random.default_rng(11)
CLIP = RNG.integers(0, 1024, (60, 4, 6)).astype(np.int16)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data.tkz.h5"


def stored(path: Path, mode: str = "w", **options: Any) -> tokenzip.ArchiveWriter:
    """An archive for writing, without compilation."""
    return tokenzip.open(path, mode, predictor="stored", **options)  # type: ignore[call-overload]


@pytest.fixture
def archive(path: Path) -> tokenzip.Archive:
    with stored(path) as writer:
        writer.add_blob("clip", chunked(CLIP, 10))
    return tokenzip.open(path)


# ---- there and back ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tokens",
    [
        CLIP,
        CLIP.astype(">u4"),
        CLIP[:, 0, 0] > 500,
        np.zeros((0, 8, 16), np.uint8),
        np.zeros((5, 0), np.int64),
        np.array(7, np.uint16),
        np.arange(65536, dtype=np.uint16),
        CLIP[0, 0].tolist(),
    ],
    ids=["video", "big-endian", "bool", "no frames", "no tokens", "scalar", "stream", "list"],
)
def test_what_goes_in_comes_out(path: Path, tokens: Any) -> None:
    with stored(path) as writer:
        writer["x"] = tokens
        assert np.array_equal(np.asarray(writer["x"]), tokens)  # also while it is being written
    expected = np.asarray(tokens)
    with tokenzip.open(path) as archive:
        clip = archive["x"]
        assert (clip.shape, clip.dtype, clip.ndim) == (
            expected.shape,
            expected.dtype,
            expected.ndim,
        )
        assert clip.size == expected.size and clip.nbytes == expected.nbytes
        back = np.asarray(clip)
        assert back.dtype == expected.dtype and np.array_equal(back, expected)
        assert np.array_equal(tokenzip.decode(clip.blob()), expected)  # a blob like any other


def test_every_predictor(path: Path, predictor: str) -> None:
    with tokenzip.open(path, "w", predictor=predictor, alphabet=1024) as writer:
        writer["x"] = CLIP
    clip = tokenzip.open(path)["x"]
    assert np.array_equal(clip, CLIP) and clip.alphabet == 1024


def test_it_is_a_mapping(path: Path) -> None:
    clips = {f"drive/{number}": CLIP[: number + 1] for number in range(9)}
    with stored(path) as writer:
        for name, tokens in clips.items():
            writer[name] = tokens
    with tokenzip.open(path) as archive:
        assert isinstance(archive, Mapping) and len(archive) == 9
        assert list(archive) == list(archive.keys()) == list(clips)  # in the order of writing
        assert "drive/3" in archive and "drive/9" not in archive and 3 not in archive
        assert [clip.name for clip in archive.values()] == list(clips)
        assert all(np.array_equal(clip, clips[name]) for name, clip in archive.items())
        assert archive.get("nothing") is None
        with pytest.raises(KeyError, match="no clip 'nothing'"):
            archive["nothing"]
        with pytest.raises(errors.ClipNotFoundError):
            archive[3]  # type: ignore[index]


INDICES: list[Any] = [
    0,
    -1,
    np.int64(17),
    slice(None),
    slice(12, 18),
    slice(5, 35, 7),
    slice(None, None, -1),
    slice(38, 33, -2),
    slice(50, 1000),
    slice(7, 7),
    ...,
    None,
    (),
    (3, 1),
    (slice(5, 25), 2, slice(None, None, 2)),
    (..., 3),
    (4, ..., -1),
    [5, 1, 55, 5],
    [],
    np.array([[0, 59], [30, -30]]),
    CLIP[:, 0, 0] > 500,
    CLIP > 1000,
    ([1, 40], [0, 3]),
    ([1, 40], slice(1, 3), [4, 5]),
    (slice(2, 30), [1, 2], [3, 4]),
    (7, [1, 2], [3, 4]),
    (slice(3, 5), None),
]


@pytest.mark.parametrize("index", INDICES, ids=[str(n) for n in range(len(INDICES))])
def test_indexing_is_numpys(archive: tokenzip.Archive, index: Any) -> None:
    expected = CLIP[index]
    found = archive["clip"][index]
    assert found.shape == expected.shape and found.dtype == expected.dtype
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("index", [60, -61, [60], (0, 4), "x", 1.5, np.ones(59, bool)])
def test_bad_indices_are_index_errors(archive: tokenzip.Archive, index: Any) -> None:
    with pytest.raises(IndexError):
        CLIP[index]
    with pytest.raises(IndexError):
        archive["clip"][index]


def test_what_was_read_is_the_readers_own(archive: tokenzip.Archive) -> None:
    clip = archive["clip"]
    for index in (3, slice(2, 4), slice(None), [1, 2]):
        clip[index][...] = 0
    assert np.array_equal(clip, CLIP)


def test_iteration_and_conversion(archive: tokenzip.Archive) -> None:
    clip = archive["clip"]
    assert len(clip.info.grids[0].chunks) == 6
    assert len(clip) == 60 and np.array_equal(np.stack(list(clip)), CLIP)
    assert np.asarray(clip, dtype=np.float32).dtype == np.float32
    assert np.array_equal(clip[20:30].sum(axis=0), CLIP[20:30].sum(axis=0))
    assert "clip" in repr(clip) and "(60, 4, 6)" in repr(clip)
    with pytest.raises(ValueError, match="neither true nor false"):
        bool(clip)


def test_a_window_reads_only_its_chunks(path: Path) -> None:
    tokens = np.random.default_rng(0).integers(0, 1024, (3000, 8, 16)).astype(np.uint16)
    with stored(path) as writer:
        writer.add_blob("long", chunked(tokens, 10))
    read: list[int] = []

    class Counting(io.FileIO):
        def read(self, size: int = -1) -> bytes:
            read.append(size)
            return super().read(size)

    archive = tokenzip.open(Counting(path))
    clip = archive["long"]
    read.clear()
    assert clip.shape == (3000, 8, 16) and not read  # known without looking at the blob
    assert np.array_equal(clip[1003:1007], tokens[1003:1007])
    header = clip.info.header_bytes
    assert sum(read) < header + 1024 + 2 * 1600 and clip.compressed_bytes > 480_000
    read.clear()
    clip[1004]
    assert not read  # the chunk is kept
    with pytest.raises(ValueError, match="one direction"):
        BlobSource(10, lambda a, b: b"")[::2]


# ---- metadata ----------------------------------------------------------------------------------


def test_attributes_of_archive_and_clips(path: Path) -> None:
    with stored(path) as writer:
        writer.attrs["source"] = "test"
        writer.attrs.update({"numbers": np.arange(3), "nested": {"a": [1, None, True]}})
        writer.add("a", CLIP, attrs={"fps": np.float64(20.5), "name": "täst"})
        writer["b"] = CLIP
        writer["b"].attrs["camera"] = "front"
    with stored(path, "a") as writer:
        writer["a"].attrs["fps"] = 10
        del writer.attrs["source"]
    with tokenzip.open(path) as archive:
        assert dict(archive.attrs) == {"numbers": [0, 1, 2], "nested": {"a": [1, None, True]}}
        assert dict(archive["a"].attrs) == {"fps": 10, "name": "täst"}
        assert dict(archive["b"].attrs) == {"camera": "front"}
        archive.attrs["nested"]["a"].append(4)  # a copy
        assert archive.attrs["nested"]["a"] == [1, None, True]
        with pytest.raises(errors.ArchiveError, match="reading"):
            archive["a"].attrs["fps"] = 1  # type: ignore[index]


@pytest.mark.parametrize("value", [object(), float("nan"), {1: {2, 3}}])
def test_attributes_are_json(path: Path, value: Any) -> None:
    with stored(path) as writer:
        with pytest.raises(errors.OptionError, match="JSON"):
            writer.attrs["x"] = value
        with pytest.raises(errors.OptionError, match="clip 'a'"):
            writer.add("a", CLIP, attrs={"x": value})
        assert not writer and not writer.attrs


def test_models_are_kept(path: Path) -> None:
    data = os.urandom(10_000)
    with stored(path) as writer:
        writer.add_model("ab" * 32, data)
        writer.add_model("ab" * 32, b"another of the same identity")
    assert dict(tokenzip.open(path).models) == {"ab" * 32: data}


# ---- writing -----------------------------------------------------------------------------------


def test_names(path: Path) -> None:
    with stored(path) as writer:
        for name in ("a", "a/b", "ä/ö 1", "x.npy", "c:d/e".replace(":", ""), "d/c:1"):
            writer[name] = CLIP[:1]
        for bad in (
            "",
            "/a",
            "a/",
            "a//b",
            "../a",
            "a/../b",
            ".",
            "a\0b",
            "a\\b",
            "C:x",
            "é" * 600,
        ):
            with pytest.raises(errors.OptionError, match="cannot be called"):
                writer[bad] = CLIP
        with pytest.raises(errors.OptionError):
            writer[3] = CLIP  # type: ignore[index]
        with pytest.raises(errors.OptionError):
            writer["\udcff"] = CLIP
        assert len(writer) == 6
    assert len(tokenzip.open(path)) == 6


def test_nothing_is_overwritten_unasked(path: Path) -> None:
    with stored(path) as writer:
        writer["a"] = CLIP
        writer["b"] = CLIP
        with pytest.raises(errors.ClipExistsError, match="replace=True"):
            writer["a"] = CLIP[:1]
        writer.add("a", CLIP[:2], replace=True)
        del writer["b"]
        with pytest.raises(KeyError):
            del writer["b"]
        writer["b"] = CLIP[:3]
    with tokenzip.open(path) as archive:
        assert {name: len(clip) for name, clip in archive.items()} == {"a": 2, "b": 3}
        assert not [finding for finding in verify(archive, full=True) if finding.problem]


def test_modes(path: Path) -> None:
    with pytest.raises(errors.ArchiveError, match="cannot be opened"):
        tokenzip.open(path)
    with stored(path, "x") as writer:
        writer["a"] = CLIP
    with pytest.raises(errors.FileExistsRefusedError):
        stored(path, "x")
    with stored(path, "a") as writer:
        writer["b"] = CLIP
        assert writer.mode == "a" and "2 clips" in repr(writer)
    assert list(tokenzip.open(path)) == ["a", "b"]
    with stored(path, "w") as writer:
        assert not writer
    assert not tokenzip.open(path)
    with stored(path.with_name("new.tkz.h5"), "a") as writer:
        writer["a"] = CLIP
    for mode in ("r+", "", "rb", None):
        with pytest.raises(errors.OptionError, match="mode"):
            tokenzip.open(path, mode)  # type: ignore[call-overload]
    with pytest.raises(errors.OptionError, match="option"):
        tokenzip.open(path, "a", colour="red")
    with pytest.raises(errors.OptionError, match="solid"):
        tokenzip.open(path, "a", solid=True)
    with pytest.raises(errors.OptionError):
        tokenzip.open(3)
    assert sorted(os.listdir(path.parent)) == ["data.tkz.h5", "new.tkz.h5"]


def test_closed_is_closed(path: Path) -> None:
    writer = stored(path)
    clip = writer.add("a", CLIP)
    writer.close()
    writer.close()
    assert writer.closed
    for use in (lambda: writer.add("b", CLIP), lambda: clip[0], writer.flush):
        with pytest.raises(errors.ArchiveError, match="closed"):
            use()
    archive = tokenzip.open(path)
    clip = archive["a"]
    archive.close()
    with pytest.raises(errors.ArchiveError, match="closed"):
        clip[0]


def test_one_clip_is_one_array(path: Path) -> None:
    with stored(path) as writer:
        with pytest.raises(errors.OptionError, match="one array"):
            writer["a"] = [CLIP, CLIP]
        with pytest.raises(errors.ArchiveError, match="one array"):
            writer.add_blob("a", tokenzip.encode([CLIP], predictor="stored"))
        with pytest.raises(errors.NotABlobError):
            writer.add_blob("a", b"nonsense")
        with pytest.raises(errors.DTypeError):
            writer["a"] = np.ones(3)
        with pytest.raises(errors.TokenRangeError):
            writer.add("a", CLIP, alphabet=16)
        assert not writer
        writer.add_blob("a", tokenzip.encode(CLIP, predictor="stored"))
    assert np.array_equal(tokenzip.open(path)["a"], CLIP)


def test_clips_of_another_archive_are_taken_over(path: Path, archive: tokenzip.Archive) -> None:
    other = path.with_name("other.tkz.h5")
    with tokenzip.open(other, "w") as writer:
        writer["copy"] = archive["clip"]
        writer.append({"encoded": archive["clip"]}, predictor="stored")
    with tokenzip.open(other) as copied:
        assert copied["copy"].blob() == archive["clip"].blob()
        assert np.array_equal(copied["encoded"], CLIP)


def test_append(path: Path) -> None:
    seen = []
    with stored(path) as writer:
        count = writer.append(
            ((f"c{n}", CLIP[: n + 1], {"n": n}) for n in range(5)),
            done=lambda c: seen.append(c.name),
        )
        assert count == 5 and seen == [f"c{n}" for n in range(5)]
        with ThreadPoolExecutor(2) as pool:
            assert writer.append({"t1": CLIP, "t2": CLIP}, executor=pool, verify=True) == 2
    with tokenzip.open(path) as archive:
        assert list(archive) == [*seen, "t1", "t2"] and archive["c3"].attrs["n"] == 3


def test_append_stops_at_the_first_error_or_hands_it_on(path: Path) -> None:
    clips = [("a", CLIP), ("bad", np.ones(3)), ("a", CLIP), ("../x", CLIP), ("b", CLIP)]
    with stored(path) as writer:
        with pytest.raises(errors.DTypeError, match="clip 'bad'"):
            writer.append(clips)
        assert list(writer) == ["a"]  # what came before is there
        failures: list[str] = []
        assert writer.append(clips, failed=lambda name, error: failures.append(name)) == 1
        assert failures == ["a", "bad", "a", "../x"] and list(writer) == ["a", "b"]
        for nonsense in ([3], [("a",)], ["ab"]):
            with pytest.raises(errors.OptionError):
                writer.append(nonsense)  # type: ignore[arg-type]
        with pytest.raises(errors.OptionError, match="not both"):
            writer.append([], workers=1, executor=ThreadPoolExecutor(1))
        with pytest.raises(errors.OptionError, match="workers"):
            writer.append([], workers=0)


def test_an_error_of_the_callers_iterator_comes_through(path: Path) -> None:
    def clips() -> Any:
        yield "a", CLIP
        raise ZeroDivisionError

    with stored(path) as writer:
        with pytest.raises(ZeroDivisionError):
            writer.append(clips())
        with ThreadPoolExecutor(1) as pool, pytest.raises(ZeroDivisionError):
            writer.append((("b", t) if n == "a" else n for n, t in clips()), executor=pool)
        assert list(writer) == ["a", "b"]


# ---- many readers, one writer ------------------------------------------------------------------


def test_readers_beside_the_writer(path: Path) -> None:
    with stored(path) as writer:
        writer["a"] = CLIP
        before = tokenzip.open(path)
        writer["b"] = CLIP
        after = tokenzip.open(path)
        assert list(before) == ["a"] and list(after) == ["a", "b"]
        assert np.array_equal(before["a"], CLIP) and np.array_equal(after["b"], CLIP)
    assert list(before) == ["a"] and np.array_equal(after["b"], CLIP)
    with stored(path):  # begins anew; whoever has the old one open keeps it
        pass
    assert np.array_equal(after["b"], CLIP)


def test_threads(archive: tokenzip.Archive) -> None:
    clip = archive["clip"]
    wrong = []

    def read(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for start in rng.integers(0, 50, 40):
            if not np.array_equal(clip[start : start + 10], CLIP[start : start + 10]):
                wrong.append(start)

    threads = [threading.Thread(target=read, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_threads_that_write(path: Path) -> None:
    with stored(path) as writer, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: writer.add(f"c{n}", CLIP + n), range(40)))
    with tokenzip.open(path) as archive:
        assert all(np.array_equal(archive[f"c{n}"], CLIP + n) for n in range(40))
        assert not [finding for finding in verify(archive) if finding.problem]


def test_other_processes(path: Path, archive: tokenzip.Archive) -> None:
    clip = pickle.loads(pickle.dumps(archive["clip"]))
    assert np.array_equal(clip, CLIP)
    code = (
        "import pickle, sys; clip = pickle.load(sys.stdin.buffer); "
        "print(int(clip[:].sum()), list(clip._archive))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=pickle.dumps(archive["clip"]),
        stdout=subprocess.PIPE,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(tokenzip.__file__).parents[1])},
    )
    assert done.stdout.decode().split() == [str(int(CLIP.sum())), "['clip']"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_forked_processes_read_but_do_not_hold_the_lock(path: Path) -> None:
    writer = stored(path)
    writer["a"] = CLIP
    archive = tokenzip.open(path)
    ready, wait = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(ready[1], b"ok" if np.array_equal(archive["a"], CLIP) else b"no")
            os.read(wait[0], 1)
        finally:
            os._exit(0)
    assert os.read(ready[0], 2) == b"ok"
    writer.close()
    with stored(path, "a") as again:  # though the child lives on
        again["b"] = CLIP
    os.write(wait[1], b"x")
    os.waitpid(child, 0)
    for end in (*ready, *wait):
        os.close(end)


def test_from_file_objects(path: Path, archive: tokenzip.Archive) -> None:
    data = path.read_bytes()
    remote = tokenzip.open(io.BytesIO(data))
    assert np.array_equal(remote["clip"][3:5], CLIP[3:5])
    with open(path, "rb") as file:
        assert tokenzip.open(file).name == str(path)
    with pytest.raises(errors.OptionError):
        tokenzip.open(io.BytesIO(), "w")


def test_json_is_plain_json(path: Path) -> None:
    """What others may read: see FORMAT.md."""
    with stored(path) as writer:
        writer.attrs["a"] = "ü"
    assert json.loads(json.dumps(dict(tokenzip.open(path).attrs))) == {"a": "ü"}

"""Archives under fire: processes killed, files cut off, bits flipped, disks full, liars."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import signal
import struct
import subprocess
import sys
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from archive_samples import chunked

import tokenzip
from tokenzip import errors
from tokenzip.archive import hdf5, verify
from tokenzip.archive import index as indices
from tokenzip.archive.contents import ROW
from tokenzip.archive.records import CLIP, HEAD_BYTES, INDEX, REPLACES, head_bytes

ROOT = Path(tokenzip.__file__).parents[1]
RNG = np.random.default_rng(5)
CLIPS = {f"c{n}": RNG.integers(0, 1024, (6 + n, 2, 3)).astype(np.uint16) for n in range(6)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data.tkz.h5"


def stored(path: Path, mode: str = "w", **options: Any) -> tokenzip.ArchiveWriter:
    return tokenzip.open(path, mode, predictor="stored", **options)  # type: ignore[call-overload]


def write(path: Path) -> bytes:
    """An archive of two sessions, with a bit of everything; its bytes."""
    with stored(path) as writer:
        writer.add_blob("c0", chunked(CLIPS["c0"], 2), attrs={"fps": 20})
        writer.attrs["a"] = 1
        writer["gone"] = CLIPS["c1"]
        writer.add_model("m", b"model" * 20)
        for name in ("c1", "c2"):
            writer[name] = CLIPS[name]
    with stored(path, "a") as writer:
        del writer["gone"]
        for name in ("c3", "c4", "c5"):
            writer[name] = CLIPS[name]
    return path.read_bytes()


def bad_clips(path: Path | io.BytesIO) -> set[str]:
    """What verify finds to be bad; "" for what is no clip."""
    with tokenzip.open(path, recover=True) as archive:
        return {finding.name for finding in verify(archive) if finding.problem}


def check(path: Path, expected: dict[str, np.ndarray], *, recover: bool = False) -> None:
    with tokenzip.open(path, recover=recover) as archive:
        assert list(archive) == list(expected)
        assert all(np.array_equal(archive[name][:], expected[name]) for name in expected)


# ---- kill -9 -----------------------------------------------------------------------------------


def session(path: Path, acknowledged: Callable[[str], object]) -> None:
    """What is done to an archive while it is killed."""
    with stored(path, "a") as writer:
        for name, tokens in CLIPS.items():
            if name not in writer:
                writer[name] = tokens
                acknowledged(name)
        writer.attrs["done"] = True
        acknowledged("done")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("how", ["before", "half", "after"])
def test_killed_at_every_single_call_that_changes_the_file(path: Path, how: str) -> None:
    """Not at random moments, but at all there are: kill -9 loses only what was not acknowledged."""
    calls = 0
    finished = False
    while not finished:
        path.unlink(missing_ok=True)
        calls += 1
        reader, sender = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                _die_at(calls, how)
                session(path, lambda name, to=sender: os.write(to, name.encode() + b"\n"))
            finally:
                os._exit(0)
        os.close(sender)
        with open(reader) as pipe:
            acknowledged = pipe.read().split()
        finished = os.waitpid(child, 0)[1] == 0
        if not path.exists():
            assert not acknowledged
            continue
        with tokenzip.open(path) as archive:
            names = list(archive)
            assert names == list(CLIPS)[: len(names)]
            assert set(acknowledged) - {"done"} <= set(names)
            assert archive.attrs.get("done", False) or "done" not in acknowledged
            assert all(np.array_equal(archive[name][:], CLIPS[name]) for name in names)
        assert bad_clips(path) == set()
        with h5py.File(path) as file:  # what HDF5 programs see is whole too, if not as new
            assert set(file) == {"payload", "index", "catalog", "models"}
            assert len(file["index"]) <= len(names)
        session(path, lambda name: None)
        check(path, CLIPS)
        with h5py.File(path) as file:
            assert len(file["index"]) == len(CLIPS)
    assert calls > 20
    left = {name for name in os.listdir(path.parent) if not name.endswith(".tmp")}
    assert left == {path.name}


def _die_at(call: int, how: str) -> None:
    """Kill this process at the n-th call that changes files."""
    count = 0

    def deadly(function: Any) -> Any:
        def call_or_die(*arguments: Any) -> Any:
            nonlocal count
            count += 1
            if count == call:
                # The first page is one small write, which no system does by halves.
                if how == "half" and function is pwrite and arguments[2]:
                    data = bytes(arguments[1])
                    function(arguments[0], data[: len(data) // 2], *arguments[2:])
                elif how == "after":
                    function(*arguments)
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments)

        return call_or_die

    pwrite = os.pwrite
    for name in ("pwrite", "ftruncate", "fsync", "link", "unlink", "replace"):
        setattr(os, name, deadly(getattr(os, name)))


def test_killed_while_packing_and_resumed(path: Path) -> None:
    """The whole command, some random moments; benchmarks/archive_faults.py has more."""
    clips = path.parent / "clips"
    clips.mkdir()
    expected = {}
    for n in range(40):
        tokens = RNG.integers(0, 1024, (50, 8, 16)).astype(np.uint16)
        np.save(clips / f"{n:02d}.npy", tokens)
        expected[f"{n:02d}"] = tokens
    command = [sys.executable, "-m", "tokenzip", "pack", "clips", "-o", path.name, "--resume"]
    command += ["--predictor", "stored", "--progress", "0"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for lines in (1, 3):
        child = subprocess.Popen(
            command, cwd=path.parent, env=environment, stderr=subprocess.PIPE, text=True
        )
        assert child.stderr is not None
        line = [line for _ in range(lines) if (line := child.stderr.readline())][-1]
        child.kill()
        child.communicate()
        acknowledged = int(line.split()[0]) if line[0].isdigit() else len(expected)
        with tokenzip.open(path) as archive:
            assert len(archive) >= acknowledged > 0
        assert bad_clips(path) == set()
    subprocess.run(command, cwd=path.parent, env=environment, check=True, capture_output=True)
    check(path, expected)


# ---- cut off -----------------------------------------------------------------------------------


def test_cut_off_anywhere(path: Path) -> None:
    data = write(path)
    with tokenzip.open(path) as archive:
        ends = [archive._contents.entry(f"c{n}") for n in range(6)]
    for length in range(0, len(data), 7):
        file = io.BytesIO(data[:length])
        if length < 132:
            with pytest.raises(errors.ArchiveError):
                tokenzip.open(file)
            continue
        if length >= struct.unpack_from("<Q", data, 56)[0]:
            with tokenzip.open(file) as archive:  # nothing but the index is cut off
                assert archive.problems and list(archive) == list(CLIPS)
            continue
        with pytest.raises(errors.ArchiveDamagedError, match=r"cut off|no whole index") as caught:
            tokenzip.open(file)
        assert caught.value.problems and "recover=True" in str(caught.value)
        whole = [f"c{n}" for n, entry in enumerate(ends) if entry.offset + entry.length <= length]
        with tokenzip.open(file, recover=True) as archive:
            assert archive.incomplete and archive.problems
            assert [name for name in archive if name != "gone"] == whole
            assert all(np.array_equal(archive[name][:], CLIPS[name]) for name in whole)
        assert "" in bad_clips(file)
    path.write_bytes(data[:1500])
    with pytest.raises(errors.ArchiveDamagedError):
        stored(path, "a")
    with stored(path, "a", recover=True) as writer:
        for name, tokens in CLIPS.items():
            if name not in writer:
                writer[name] = tokens
    assert bad_clips(path) == set()
    with tokenzip.open(path) as archive:
        assert set(CLIPS) <= set(archive)


# ---- flipped bits ------------------------------------------------------------------------------


def owners(path: Path) -> list[str]:
    """Whose each byte of the file is: a clip's name, or ""."""
    with tokenzip.open(path) as archive:
        found = [""] * path.stat().st_size
        for name in archive:
            entry = archive._contents.entry(name)
            start = entry.offset - entry.attributes - len(name.encode()) - HEAD_BYTES
            for position in range(start, entry.offset + entry.length):
                found[position] = name
    return found


def test_every_flipped_byte_is_found_and_hurts_nobody_else(path: Path) -> None:
    data = write(path)
    owner = owners(path)
    for position in (*range(200), *range(200, len(data), 3)):
        damaged = bytearray(data)
        damaged[position] ^= 1 << position % 8
        file = io.BytesIO(damaged)
        assert bad_clips(file) == {owner[position]}, position
        if position % 3:
            continue
        with tokenzip.open(file) as archive:  # opens without asking: all clips are there
            assert list(archive) == list(CLIPS)
            for name, tokens in CLIPS.items():
                if name != owner[position]:
                    assert np.array_equal(archive[name][:], tokens)
                else:
                    try:
                        assert np.array_equal(archive[name][:], tokens)  # the head only
                    except (errors.BlobError, errors.ArchiveDamagedError) as error:
                        assert f"clip {name!r}" in str(error) or name in str(error)


def test_flipped_bytes_after_the_last_index(path: Path) -> None:
    """Records of a session that was killed have no index to fall back on."""
    write(path)
    size = path.stat().st_size
    writer = stored(path, "a")
    for n in range(3):
        writer[f"late{n}"] = CLIPS["c5"]
    data = path.read_bytes()
    writer.close()
    for position in range(size, len(data), 3):
        damaged = bytearray(data)
        damaged[position] ^= 0x40
        file = io.BytesIO(damaged)
        with tokenzip.open(file, recover=True) as archive:
            assert set(CLIPS) <= set(archive)
            late = [name for name in archive if name.startswith("late")]
            assert len(late) >= 2
            for name in late:
                try:
                    assert np.array_equal(archive[name][:], CLIPS["c5"])
                except errors.BlobError:
                    assert name in bad_clips(file)
        assert bad_clips(file) or len(late) == 2  # an unfinished last one is no damage
    damaged = bytearray(data)
    damaged[size + 1] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(errors.ArchiveDamagedError, match="damaged"):
        tokenzip.open(path)


def test_an_index_that_is_gone_is_made_anew(path: Path) -> None:
    data = bytearray(write(path))
    data[-100] ^= 1
    path.write_bytes(data)
    with tokenzip.open(path) as archive:
        assert "index is damaged" in archive.problems[0] and not archive.incomplete
    with stored(path, "a"):
        pass
    assert bad_clips(path) == set()
    check(path, CLIPS)


# ---- full disks, closed doors --------------------------------------------------------------------


def test_a_full_disk(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pwrite
    writer = stored(path)
    room = path.stat().st_size + 300

    def full(descriptor: int, data: Any, position: int) -> int:
        if position + len(data) <= room:
            return real(descriptor, data, position)
        if position < room:
            return real(descriptor, bytes(data)[: room - position], position)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    added = []
    with pytest.raises(errors.ArchiveError, match="No space left on device"):
        for name, tokens in CLIPS.items():
            writer[name] = tokens
            added.append(name)
    assert added and path.stat().st_size <= room
    with pytest.raises(errors.ArchiveError, match="No space left"):
        writer.close()  # there is no room for the index
    monkeypatch.undo()
    check(path, {name: CLIPS[name] for name in added})
    assert bad_clips(path) == set()
    with stored(path, "a") as again:
        again.append({name: CLIPS[name] for name in CLIPS if name not in added})
    check(path, CLIPS)


def test_a_file_size_limit(path: Path) -> None:
    code = f"""
import resource, signal, sys, numpy as np, tokenzip
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
try:
    with tokenzip.open({str(path)!r}, "w", predictor="stored") as writer:
        for n in range(100):
            writer[f"c{{n}}"] = np.arange(500) % 1024
            print(n, flush=True)
except tokenzip.errors.ArchiveError as error:
    sys.exit(str(error))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 1 and "cannot be written: File too large" in done.stderr
    with tokenzip.open(path) as archive:
        assert len(archive) == len(done.stdout.split()) > 2
        assert all(np.array_equal(clip, np.arange(500)) for clip in archive.values())
    assert os.listdir(path.parent) == [path.name]


def test_the_second_writer_is_refused(path: Path) -> None:
    with stored(path) as writer:
        writer["a"] = CLIPS["c0"]
        for mode in ("a", "w"):
            with pytest.raises(errors.ArchiveLockedError, match="one writer at a time"):
                stored(path, mode)
        code = f"import tokenzip; tokenzip.open({str(path)!r}, 'a')"
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            check=False,
        )
        assert "ArchiveLockedError" in done.stderr and "another process" in done.stderr
        writer["b"] = CLIPS["c1"]
    with stored(path, "a") as writer:
        writer["c"] = CLIPS["c2"]
    assert list(tokenzip.open(path)) == ["a", "b", "c"]
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.skipif(not hasattr(os, "setuid"), reason="needs users")
def test_a_directory_that_is_read_only(path: Path) -> None:
    write(path)
    path.chmod(0o444)
    path.parent.chmod(0o555)
    code = f"""
import os, sys, tokenzip, tokenzip.archive.writer, tokenzip.predictors.stored
if os.geteuid() == 0:
    os.setuid(65534)
from tokenzip.errors import TokenzipError
assert len(tokenzip.open({str(path)!r})) == 6
for name, mode in (({str(path)!r}, "a"), ({str(path)!r}, "w"), ({str(path) + "2"!r}, "x")):
    try:
        tokenzip.open(name, mode)
    except TokenzipError as error:
        print(type(error).__name__, error)
"""
    for parent in (path.parent, *path.parent.parents[:3]):
        if parent.stat().st_uid == os.geteuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o055)
    try:
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
            check=False,
        )
    finally:
        path.parent.chmod(0o755)
    assert done.stdout.count("ArchiveError") == 3, done.stderr
    assert done.stdout.count("Permission denied") == 3
    assert os.listdir(path.parent) == [path.name]


# ---- liars -------------------------------------------------------------------------------------


class Forge:
    """An archive whose index says what it should not, with all checksums right."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with stored(path) as writer:
            writer["a"] = CLIPS["c0"]
            writer["b"] = CLIPS["c1"]
        self.data = path.read_bytes()
        self.start, self.clips = struct.unpack_from("<QQ", self.data, 56)
        body = self.data[self.start + HEAD_BYTES :]
        self.prefix = list(struct.unpack_from("<QQQQ", body))
        self.rows = np.frombuffer(body, ROW, 2, 32).copy()
        at = 32 + self.rows.nbytes
        self.catalog = json.loads(zlib.decompress(body[at : at + self.prefix[1]]))

    def save(self, *, catalog: bytes | None = None, prefix: list[int] | None = None) -> None:
        text = json.dumps(self.catalog).encode()
        packed = zlib.compress(text) if catalog is None else catalog
        head = prefix or [len(self.rows), len(packed), len(text), 0]
        body = struct.pack("<QQQQ", *head) + self.rows.tobytes() + packed
        record = head_bytes(INDEX, "", b"", len(body), zlib.crc32(body)) + body
        page = indices.first_page(self.start, len(self.rows), self.start + len(record), 0)
        self.path.write_bytes(page + self.data[128 : self.start] + record)

    def refused(self) -> None:
        """Not opened, or every use of a clip that lies is an error; never a wrong array."""
        tracemalloc.start()
        try:
            with tokenzip.open(self.path, recover=True) as archive:
                for name in archive:
                    try:
                        tokens = np.asarray(archive[name])
                    except (errors.BlobError, errors.ArchiveError):
                        continue
                    assert name in "ab" and np.array_equal(tokens, CLIPS[f"c{'ab'.index(name)}"])
                list(verify(archive, full=True))
                assert bad_clips(self.path)
        except errors.ArchiveError:
            pass
        finally:
            assert tracemalloc.get_traced_memory()[1] < 20_000_000
            tracemalloc.stop()


@pytest.mark.parametrize("field", ROW.names or ())
@pytest.mark.parametrize("value", [0, 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1, 200])
def test_lying_rows(path: Path, field: str, value: int) -> None:
    forge = Forge(path)
    if value > np.iinfo(ROW[field]).max or forge.rows[field][1] == value:
        pytest.skip("no lie")
    forge.rows[field][1] = value
    forge.save()
    forge.refused()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("names", ["a", "../b"]),
        ("names", ["a", "/etc/passwd"]),
        ("names", ["a", "a"]),
        ("names", ["a"]),
        ("names", ["a", 7]),
        ("names", ["a", "b\0"]),
        ("names", "ab"),
        ("kinds", []),
        ("kinds", [[[2, 3], "<u2", 1024]]),
        ("kinds", [[[2, 3], "O", 1024, "stored"]]),
        ("kinds", [[[2, 3], "<f4", 1024, "stored"]]),
        ("kinds", [[[2, -3], "<u2", 1024, "stored"]]),
        ("kinds", [[[2**70], "<u2", 1024, "stored"]]),
        ("kinds", [[[5, 5], "<u2", 1024, "stored"]]),
        ("kinds", [[None, "<u2", 1024, "stored"]]),
        ("kinds", [3]),
        ("attrs", []),
        ("changed", {"c": {}}),
        ("changed", {"a": 3}),
        ("models", {"m": [0, 10, 0]}),
        ("models", {"m": [200, 10**9, 0]}),
        ("models", {"../m": [200, 1, 0]}),
        ("models", {"m": "x"}),
    ],
)
def test_lying_catalogs(path: Path, key: str, value: Any) -> None:
    forge = Forge(path)
    forge.catalog[key] = value
    forge.save()
    forge.refused()


def test_lying_lengths(path: Path) -> None:
    forge = Forge(path)
    bomb = zlib.compress(bytes(50_000_000))
    for catalog, prefix in [
        (None, [2**60, 10, 10, 0]),
        (None, [2, 2**60, 10, 0]),
        (None, [2, 10, 2**60, 0]),
        (bomb, [2, len(bomb), 200, 0]),
        (b"nonsense", [2, 8, 8, 0]),
        (zlib.compress(b"[" * 100_000), None),
        (zlib.compress(b"3"), None),
    ]:
        forge.save(catalog=catalog, prefix=prefix)
        forge.refused()
    missing = Forge(path)
    del missing.catalog["names"]
    missing.save()
    missing.refused()


def test_a_newer_version(path: Path) -> None:
    data = bytearray(write(path))
    data[55] = 2
    data[72:76] = zlib.crc32(data[48:72]).to_bytes(4, "little")
    path.write_bytes(data)
    for recover in (False, True):
        with pytest.raises(errors.NotAnArchiveError, match=r"version 2.*update tokenzip"):
            tokenzip.open(path, recover=recover)


def test_lying_records(path: Path) -> None:
    """Behind the index, where a killed process would have left clips."""
    with stored(path) as writer:
        writer["a"] = CLIPS["c0"]
    data = path.read_bytes()
    blob = tokenzip.encode(CLIPS["c1"], predictor="stored")

    def record(kind: int, name: str, body: bytes, size: int | None = None, flags: int = 0) -> bytes:
        length = len(body) if size is None else size
        return head_bytes(kind, name, b"", length, zlib.crc32(body), flags) + body

    for lie in (
        record(CLIP, "../x", blob),
        record(CLIP, "x", blob, size=2**63),
        record(CLIP, "x", b"no blob"),
        record(CLIP, "x", tokenzip.encode([CLIPS["c1"]], predictor="stored")),
        record(CLIP, "a", blob),  # not said to replace
        record(99, "x", blob),
        record(CLIP, "x", blob, flags=2),
        record(CLIP, "", blob),
        record(INDEX, "x", blob),
    ):
        path.write_bytes(data + lie + record(CLIP, "good", blob))
        with pytest.raises(errors.ArchiveDamagedError):
            tokenzip.open(path)
        with tokenzip.open(path, recover=True) as archive:
            assert list(archive) == ["a", "good"]
            assert np.array_equal(archive["a"], CLIPS["c0"])
    path.write_bytes(data + record(CLIP, "a", blob, flags=REPLACES))
    assert np.array_equal(tokenzip.open(path)["a"], CLIPS["c1"])
    path.write_bytes(data + record(2, "", b"") + record(2, "nobody", b""))
    assert list(tokenzip.open(path)) == ["a"]


def test_other_files(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["payload"] = np.zeros(100, np.uint8)
    contents = [
        (path.read_bytes(), "an HDF5 file, but not an archive"),
        (b"", "empty"),
        (b"PK\3\4" + bytes(500), "not an archive"),
        (tokenzip.encode(CLIPS["c0"], predictor="stored"), "a .tkz file"),
    ]
    for data, text in contents:
        path.write_bytes(data)
        for mode in ("r", "a"):
            with pytest.raises(errors.NotAnArchiveError, match=text):
                tokenzip.open(path, mode, recover=True)  # type: ignore[call-overload]
        assert path.read_bytes() == data  # untouched
    with pytest.raises(errors.ArchiveError):
        tokenzip.open(path.parent)


def test_hdf5_that_points_elsewhere_is_never_followed(path: Path) -> None:
    """Links, virtual datasets and filters are HDF5's; an archive is read without HDF5."""
    secret = path.with_name("secret.h5")
    with h5py.File(secret, "w") as file:
        file["payload"] = np.arange(1000).astype(np.uint8)
    write(path)
    with h5py.File(path, "r+") as file:
        for name in ("payload", "index", "catalog"):
            del file[name]
            file[name] = h5py.ExternalLink("secret.h5", "payload")
        layout = h5py.VirtualLayout((1000,), np.uint8)
        layout[:] = h5py.VirtualSource(str(secret), "payload", (1000,))
        file.create_virtual_dataset("virtual", layout)
    check(path, CLIPS)
    assert bad_clips(path) == {""}  # somebody changed the file
    with stored(path, "a") as writer:
        writer["new"] = CLIPS["c0"]
    assert bad_clips(path) == set()
    with h5py.File(path) as file:
        assert set(file) == {"payload", "index", "catalog", "models"}


def test_random_bytes_never_crash(path: Path) -> None:
    data = write(path)
    rng = np.random.default_rng(8)
    for _ in range(300):
        damaged = bytearray(data)
        start = int(rng.integers(0, len(data)))
        part = rng.bytes(int(rng.integers(1, 200)))
        damaged[start : start + len(part)] = part
        try:
            opened = tokenzip.open(io.BytesIO(damaged), recover=True)
        except errors.NotAnArchiveError:
            assert start < 100  # nothing says any more what it is
            continue
        with opened as archive:
            assert any(finding.problem for finding in verify(archive, full=True))
            for name in archive:
                with contextlib.suppress(errors.BlobError, errors.ArchiveError):
                    assert np.array_equal(archive[name][:], CLIPS.get(name, CLIPS["c1"]))


def test_hdf5s_checksum() -> None:
    assert hdf5.lookup3(b"") == 0xDEADBEEF
    assert hdf5.lookup3(b"Four score and seven years ago") == 0x17770551

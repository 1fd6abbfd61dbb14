"""Token files: every format read as it was written, everything else refused by name."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import stat
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenzip import decode, encode, inspect
from tokenzip.errors import (
    BlobError,
    CorruptError,
    DTypeError,
    FileError,
    FileExistsRefusedError,
    FileFormatError,
    LimitError,
    NotABlobError,
    OptionError,
    TokenzipError,
    TruncatedError,
    UnsupportedVersionError,
)
from tokenzip.files import (
    Member,
    atomic_output,
    format_of_suffix,
    join_names,
    open_tokens,
    read_tokens,
    split_names,
    write_arrays,
    write_tokens,
)
from tokenzip.files import memory as memory_module
from tokenzip.files import npy as npy_module
from tokenzip.files.find import find_sources
from tokenzip.files.raw import parse_dtype, parse_shape

DTYPES = ["bool", "u1", "i1", "<u2", ">u2", "<i2", ">i4", "<u4", "<i8", ">u8"]
SHAPES = [(), (0,), (5,), (3, 0, 4), (4, 3, 2), (1, 2, 1, 3)]


def grid(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    values = np.random.default_rng(7).integers(0, 2 if dtype == "bool" else 100, shape)
    return np.asarray(values).astype(dtype)


def same(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and np.array_equal(a, b)


# ---- formats -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("suffix", [".npy", ".npz", ".h5"])
def test_what_is_written_is_read(
    tmp_path: Path, suffix: str, shape: tuple[int, ...], dtype: str
) -> None:
    path = tmp_path / f"tokens{suffix}"
    array = grid(shape, dtype)
    write_tokens(path, [("a", array)])
    ((name, back),) = open_tokens(path)
    assert same(back, array)
    assert name == ("" if suffix == ".npy" else "a")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_numpy_reads_and_writes_the_same(
    tmp_path: Path, shape: tuple[int, ...], dtype: str
) -> None:
    array = grid(shape, dtype)
    np.save(tmp_path / "theirs.npy", np.asfortranarray(array) if shape else array)
    assert same(read_tokens(tmp_path / "theirs.npy").arrays[0][1], array)
    write_tokens(tmp_path / "ours.npy", [("", array)])
    assert same(np.load(tmp_path / "ours.npy"), array)
    np.savez_compressed(tmp_path / "theirs.npz", x=array, y=array)
    file = read_tokens(tmp_path / "theirs.npz")
    assert file.format == "npz" and [name for name, _ in file.arrays] == ["x", "y"]
    assert all(same(back, array) for _, back in file.arrays)
    write_tokens(tmp_path / "ours.npz", [("x", array), ("sub/y", array)])
    with np.load(tmp_path / "ours.npz") as loaded:
        assert sorted(loaded) == ["sub/y", "x"]
        assert all(same(loaded[key], array) for key in loaded)


def test_raw_bytes_are_the_values_in_order_and_byte_order(tmp_path: Path) -> None:
    array = np.asfortranarray(grid((6, 2, 3), ">u2"))
    write_tokens(tmp_path / "t.bin", [("", array)])
    assert (tmp_path / "t.bin").read_bytes() == array.tobytes()
    for shape in ("-1,2,3", "6x-1x3", "(6, 2, 3)", [6, 2, -1]):
        ((_, back),) = open_tokens(tmp_path / "t.bin", dtype=">u2", shape=shape)
        assert same(back, array)
    ((_, flat),) = open_tokens(tmp_path / "t.bin", dtype=">u2")
    assert flat.shape == (36,)


def test_the_content_decides_where_the_suffix_does_not(tmp_path: Path) -> None:
    array = grid((4, 2), "<u2")
    for kind in ("npy", "npz", "h5"):
        path = tmp_path / f"{kind}-file.tokens"
        write_tokens(path, [("a", array)], kind=kind)  # type: ignore[arg-type]
        file = read_tokens(path)
        assert file.format == kind and same(file.arrays[0][1], array)
    (tmp_path / "noise").write_bytes(b"neither fish nor fowl")
    with pytest.raises(FileFormatError, match="--dtype"):
        read_tokens(tmp_path / "noise")


def test_large_npy_is_mapped_not_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(npy_module, "MAP_FROM_BYTES", 1000)
    array = grid((50, 8, 16), "<u2")
    np.save(tmp_path / "big.npy", array)
    back = read_tokens(tmp_path / "big.npy").arrays[0][1]
    base = back
    while isinstance(base, np.ndarray) and base.base is not None:
        base = base.base
    assert type(getattr(base, "obj", base)).__name__ == "mmap"
    assert same(back, array)


def test_suffixes() -> None:
    assert format_of_suffix("a/b.HDF5") == "h5"
    assert format_of_suffix("a.npz.tkz") is None


# ---- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["nonsense", "a", "float32", "O", "V8", "uint16, uint8"])
def test_dtypes_that_are_no_integers(text: str) -> None:
    """Aliases that numpy warns of are unknown, with whatever warnings are set to do."""
    with warnings.catch_warnings(), pytest.raises((OptionError, DTypeError), match="dtype"):
        warnings.simplefilter("error")
        parse_dtype(text)


def test_pickles_are_never_loaded(tmp_path: Path) -> None:
    trap = tmp_path / "sprung"

    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(trap),)

    np.save(tmp_path / "object.npy", np.array([Bomb(), Bomb()]), allow_pickle=True)
    np.savez(tmp_path / "object.npz", a=np.array([Bomb()]))
    (tmp_path / "pickle.npy").write_bytes(pickle.dumps(Bomb()))
    for name in ("object.npy", "object.npz", "pickle.npy"):
        with pytest.raises(FileFormatError, match=name):
            read_tokens(tmp_path / name)
    assert not trap.exists()


def npy_bytes(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def test_npy_with_too_few_or_too_many_bytes(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    whole = npy_bytes(grid((3, 2), "<u2"))
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(FileFormatError, match=r"x\.npy"):
            read_tokens(path)
    path.write_bytes(whole + whole)
    with pytest.raises(FileFormatError, match="140 bytes follow the array"):
        read_tokens(path)


def test_npy_that_claims_terabytes(tmp_path: Path) -> None:
    header = npy_bytes(np.zeros(3, "u1"))[:-3].replace(b"(3,), }          ", b"(999999999999,), }")
    assert b"999999999999" in header
    path = tmp_path / "x.npy"
    for body in (b"", b"123"):
        path.write_bytes(header + body)
        with pytest.raises(FileFormatError):
            read_tokens(path)


def test_h5_and_npz_that_claim_more_than_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("t", shape=(10**9, 10**6), dtype="u2", chunks=(1000, 1000))
    with pytest.raises(FileError, match="more than the"):
        read_tokens(tmp_path / "x.h5")
    np.savez_compressed(tmp_path / "x.npz", a=np.zeros(100_000, "u1"))
    monkeypatch.setattr(memory_module, "physical_memory", lambda: 50_000)
    with pytest.raises(FileError, match="100,128 bytes, more than the 50,000"):
        read_tokens(tmp_path / "x.npz")


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".h5"])
def test_damaged_files_give_typed_errors_only(tmp_path: Path, suffix: str) -> None:
    """Mutations and truncations: a FileError naming the file, or arrays; never anything else."""
    path = tmp_path / f"x{suffix}"
    write_tokens(path, [("tokens", grid((40, 8), "<u2"))])
    whole = path.read_bytes()
    rng = np.random.default_rng(1)
    refused = 0
    for trial in range(250):
        data = bytearray(whole)
        if trial % 5 == 0:
            del data[int(rng.integers(len(data))) :]
        else:
            for _ in range(int(rng.integers(1, 5))):
                # Mostly where the headers are.
                place = int(rng.integers(min(len(data), 200 if trial % 2 else len(data))))
                data[place] = int(rng.integers(256))
        path.write_bytes(data)
        try:
            for _, array in read_tokens(path).arrays:
                assert array.nbytes < 1 << 30
        except (FileError, DTypeError) as error:
            refused += 1
            assert path.name in str(error)
    assert refused > 50


def test_the_wrong_suffix_is_said(tmp_path: Path) -> None:
    whole = npy_bytes(grid((3,), "u1"))
    for name in ("x.npz", "x.h5"):
        (tmp_path / name).write_bytes(whole)
        with pytest.raises(FileFormatError, match=name.replace(".", r"\.")):
            read_tokens(tmp_path / name)
    for name in ("empty.npy", "empty.npz", "empty.h5", "empty"):
        (tmp_path / name).write_bytes(b"")
        with pytest.raises(FileFormatError, match="empty"):
            read_tokens(tmp_path / name)


def test_raw_options(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(bytes(12))
    for dtype, shape, error in [
        (None, None, FileFormatError),
        (None, "3", OptionError),
        ("nonsense", None, OptionError),
        ("float32", None, DTypeError),
        ("u2", "5", FileFormatError),
        ("u2", "-1,4", FileFormatError),
        ("u2", "-1,0", FileFormatError),
        ("u2", "-1,-1", OptionError),
        ("u2", "2,-3,1", OptionError),
        ("u2", "two", OptionError),
        ("u8", None, FileFormatError),
    ]:
        with pytest.raises(error):
            read_tokens(path, dtype=dtype, shape=shape)
    assert parse_shape("()") == ()


def test_missing_and_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"gone\.npy: cannot be read: No such file"):
        read_tokens(tmp_path / "gone.npy")
    with pytest.raises(FileError, match="directory"):
        read_tokens(tmp_path)


# ---- several arrays ----------------------------------------------------------------------------


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    path = tmp_path / "clips.h5"
    with h5py.File(path, "w") as file:
        for name in "ab":
            file[f"clips/{name}/tokens"] = grid((6, 2, 3), "<u2")
            file[f"clips/{name}/score"] = np.ones(4)
        file["flags"] = grid((9,), "bool")
        file["title"] = "a string"
        file.create_group("nothing")
        file.attrs["alphabet"] = 100
        file["soft"] = h5py.SoftLink("/clips/a/tokens")
        file["elsewhere"] = h5py.ExternalLink("other.h5", "/x")
        file["clips/back"] = file["/"]  # a cycle of hard links
    return path


def test_h5_takes_every_integer_dataset_and_names_the_rest(clips: Path) -> None:
    file = read_tokens(clips)
    assert [name for name, _ in file.arrays] == ["clips/a/tokens", "clips/b/tokens", "flags"]
    assert set(file.left_out) == {
        "dataset clips/a/score",
        "dataset clips/b/score",
        "dataset title",
        "empty group nothing",
        "link soft",
        "link elsewhere",
        "the attributes of 1 object",
    }


@pytest.mark.parametrize(
    ("select", "names"),
    [
        (["clips/a/tokens"], ["clips/a/tokens"]),
        (["/clips/a"], ["clips/a/tokens"]),
        (["clips"], ["clips/a/tokens", "clips/b/tokens"]),
        (["clips/*/tokens"], ["clips/a/tokens", "clips/b/tokens"]),
        (["flags", "*b/tokens"], ["clips/b/tokens", "flags"]),
        (["/"], ["clips/a/tokens", "clips/b/tokens", "flags"]),
    ],
)
def test_h5_selection(clips: Path, select: list[str], names: list[str]) -> None:
    assert [name for name, _ in read_tokens(clips, select=select).arrays] == names


def test_selection_errors(clips: Path, tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"no dataset 'clip'.*clips/a/tokens"):
        read_tokens(clips, select=["clip"])
    with pytest.raises(DTypeError, match="float64"):
        read_tokens(clips, select=["clips/a/score"])
    np.savez(tmp_path / "x.npz", tokens=grid((3,), "u1"), loss=np.ones(2))
    assert read_tokens(tmp_path / "x.npz").left_out == ("array loss (float64)",)
    assert [n for n, _ in open_tokens(tmp_path / "x.npz", key="tok*")] == ["tokens"]
    with pytest.raises(FileError, match="no array 'codes'; the file holds tokens, loss"):
        read_tokens(tmp_path / "x.npz", select=["codes"])
    np.savez(tmp_path / "floats.npz", loss=np.ones(2))
    with pytest.raises(FileFormatError, match="no integer array"):
        read_tokens(tmp_path / "floats.npz")
    np.save(tmp_path / "x.npy", grid((3,), "u1"))
    with pytest.raises(OptionError, match="no named arrays"):
        read_tokens(tmp_path / "x.npy", select=["a"])


def test_npz_with_two_members_of_one_name(tmp_path: Path) -> None:
    data = npy_bytes(grid((3,), "u1"))
    with (
        zipfile.ZipFile(tmp_path / "x.npz", "w") as archive,
        pytest.warns(UserWarning, match="Duplicate"),
    ):
        archive.writestr("a.npy", data)
        archive.writestr("a.npy", data)
    with pytest.raises(FileFormatError, match="same name"):
        read_tokens(tmp_path / "x.npz")


def test_what_does_not_fit_a_format_is_refused(tmp_path: Path) -> None:
    two = [("a", grid((2,), "u1")), ("b", grid((2,), "u1"))]
    for kind in ("npy", "raw"):
        with pytest.raises(FileError, match="2 arrays"):
            write_tokens(tmp_path / "x", two, kind=kind)  # type: ignore[arg-type]
    with pytest.raises(FileError, match="a/b"):
        write_tokens(tmp_path / "x.h5", [("a", two[0][1]), ("a/b", two[1][1])])
    assert list(tmp_path.iterdir()) == []


class NoSeek(io.BytesIO):
    def seekable(self) -> bool:
        return False

    def seek(self, *_: int) -> int:
        raise io.UnsupportedOperation("seek")

    def tell(self) -> int:
        raise io.UnsupportedOperation("tell")


@pytest.mark.parametrize("kind", ["npy", "npz", "h5", "raw"])
def test_files_can_be_written_to_pipes_and_depend_on_nothing_else(
    tmp_path: Path, kind: str
) -> None:
    arrays = [("a", grid((30, 4), "<u2"))]
    pipe, again = NoSeek(), NoSeek()
    write_arrays(pipe, arrays, kind)  # type: ignore[arg-type]
    write_arrays(again, arrays, kind)  # type: ignore[arg-type]
    assert pipe.getvalue() == again.getvalue()
    path = tmp_path / "x"
    path.write_bytes(pipe.getvalue())
    dtype = "<u2" if kind == "raw" else None
    back = read_tokens(path, dtype=dtype, shape="-1,4" if dtype else None)
    assert same(back.arrays[0][1], arrays[0][1])


# ---- atomic writing ----------------------------------------------------------------------------


def test_nothing_is_left_of_an_interrupted_write(tmp_path: Path) -> None:
    class Stop(BaseException):
        pass

    with pytest.raises(Stop), atomic_output(tmp_path / "x") as file:
        file.write(b"half")
        file.flush()
        assert len(list(tmp_path.iterdir())) == 1
        raise Stop
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"old")
    with pytest.raises(FileExistsRefusedError, match="--force"), atomic_output(path):
        pass
    with pytest.raises(RuntimeError), atomic_output(path, force=True) as file:
        file.write(b"new")
        raise RuntimeError
    assert path.read_bytes() == b"old"
    with atomic_output(path, force=True) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["x"]


@pytest.mark.parametrize("links", [True, False])
def test_a_file_that_appears_meanwhile_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    if not links:  # a file system without hard links

        def refuse(*_: object, **__: object) -> None:
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr(os, "link", refuse)
    path = tmp_path / "x"
    with pytest.raises(FileExistsRefusedError), atomic_output(path) as file:
        file.write(b"late")
        path.write_bytes(b"early")
    assert path.read_bytes() == b"early" and os.listdir(tmp_path) == ["x"]
    path.unlink()
    with atomic_output(path) as file:
        file.write(b"alone")
    assert path.read_bytes() == b"alone" and os.listdir(tmp_path) == ["x"]


def test_errors_of_the_system_name_the_file(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="no directory"), atomic_output(tmp_path / "no" / "x"):
        pass
    with pytest.raises(FileError, match="is a directory"), atomic_output(tmp_path):
        pass
    with (
        pytest.raises(FileError, match=r"x: cannot be written: No space left"),
        atomic_output(tmp_path / "x"),
    ):
        raise OSError(28, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_permissions_and_time_come_from_the_source(tmp_path: Path) -> None:
    source, target = tmp_path / "s", tmp_path / "t"
    source.write_bytes(b"s")
    for mode in (0o600, 0o444, 0o4755):
        source.chmod(mode)
        os.utime(source, ns=(10**18, 10**18 + 123_456_789))
        with atomic_output(target, force=True, like=source.stat()) as file:
            file.write(b"t")
            # Never more open than the source, even while it is written.
            (scratch,) = (p for p in tmp_path.iterdir() if p.name.endswith(".tmp"))
            assert stat.S_IMODE(scratch.stat().st_mode) & ~mode & 0o077 == 0
        assert stat.S_IMODE(target.stat().st_mode) == mode & 0o777
        assert target.stat().st_mtime_ns == source.stat().st_mtime_ns


def test_without_a_source_the_umask_decides(tmp_path: Path) -> None:
    previous = os.umask(0o027)
    try:
        with atomic_output(tmp_path / "x") as file:
            file.write(b"x")
    finally:
        os.umask(previous)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o640


def test_links_are_replaced_and_devices_are_not(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_bytes(b"real")
    link.symlink_to(real)
    with pytest.raises(FileExistsRefusedError), atomic_output(link):
        pass
    with atomic_output(link, force=True) as file:
        file.write(b"new")
    assert real.read_bytes() == b"real" and link.read_bytes() == b"new"
    assert not link.is_symlink()
    dangling = tmp_path / "dangling"
    dangling.symlink_to(tmp_path / "gone")
    with pytest.raises(FileExistsRefusedError), atomic_output(dangling):
        pass
    with atomic_output("/dev/null") as file:
        file.write(b"x")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


# ---- names around a blob -----------------------------------------------------------------------

MEMBERS = (
    Member("a/b.h5", "h5", ("clips/ä/tokens", "x")),
    Member("c.npy", "npy", ("",)),
)


def test_names_come_back() -> None:
    blob = encode(np.arange(5))
    for members in (MEMBERS, (Member("", "npz", ("one", "two:2")),), (Member("", "raw", ("",)),)):
        data = join_names(members, blob)
        back, rest = split_names(data)
        assert back == members and bytes(rest) == blob
    assert split_names(blob) == (None, blob)


def test_the_example_of_the_format_text() -> None:
    text = (Path(__file__).parents[1] / "FORMAT.md").read_text(encoding="utf-8")
    section = text.split("## 13. Files with names")[1].split("## 14.")[0]
    listing = section.split("```")[1]
    preamble = bytes.fromhex("".join(line[:24] for line in listing.splitlines()))
    blob = encode(np.arange(5))
    members, rest = split_names(preamble + blob)
    assert members == (Member("", "npz", ("tokens",)),) and bytes(rest) == blob
    assert f"The {len(preamble)} bytes before the blob" in section


def test_a_file_with_names_is_not_taken_for_a_blob() -> None:
    data = join_names([Member("", "npz", ("tokens",))], encode(np.arange(5)))
    for function in (decode, inspect):
        with pytest.raises(NotABlobError, match=r"tokenzip\.files\.split_names"):
            function(data)


def test_more_names_than_a_reader_takes_are_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    members = [Member("", "npz", ("tokens",))]
    size = len('{"files":[{"format":"npz","arrays":["tokens"]}]}')
    monkeypatch.setattr("tokenzip.files.named.MAX_NAMES_BYTES", size + 1)
    assert split_names(join_names(members, b""))[0] == tuple(members)
    monkeypatch.setattr("tokenzip.files.named.MAX_NAMES_BYTES", size)
    with pytest.raises(FileError, match="48 bytes of names are too many"):
        join_names(members, b"")


def test_a_lone_name_costs_little() -> None:
    assert len(join_names([Member("", "npz", ("tokens",))], b"")) < 80


@pytest.mark.parametrize(
    "name", ["../up", "/etc/passwd", "a//b", "a/./b", "c:/x", "a\\b", "..", "a\0b"]
)
def test_unsafe_file_names_are_neither_written_nor_believed(name: str) -> None:
    with pytest.raises(FileError, match="cannot be kept"):
        join_names([Member(name, "npy", ("",)), MEMBERS[1]], b"")
    honest = join_names([Member("Q" * len(name), "npy", ("",)), MEMBERS[1]], b"")
    assert split_names(honest)[0] is not None
    with pytest.raises(CorruptError, match="unsafe"):
        split_names(forge({"files": [{"name": name, "format": "npy", "arrays": [""]}]}))


def forge(document: object, *, version: int = 1, tail: bytes = b"") -> bytes:
    """A preamble with a right checksum around any JSON."""
    import json
    import zlib

    text = document if isinstance(document, bytes) else json.dumps(document).encode()
    packed = zlib.compress(text) + tail
    head = b"\xf7TKN" + bytes([version]) + len(packed).to_bytes(4, "little")
    return head + zlib.crc32(packed).to_bytes(4, "little") + packed


NAMELESS = {"format": "npy", "arrays": [""]}


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"{",
        b"[" * 100_000,
        b"\xff\xfe",
        [],
        {},
        {"files": []},
        {"files": [1]},
        {"files": [{"format": "exe", "arrays": [""]}]},
        {"files": [{"format": "npy", "arrays": ""}]},
        {"files": [{"format": "npy", "arrays": [1]}]},
        {"files": [{"format": "npz", "arrays": []}]},
        {"files": [{"format": "npz", "arrays": ["a", "a"]}]},
        {"files": [{"format": "npz", "arrays": ["../a"]}]},
        {"files": [{"name": 3, "format": "npy", "arrays": [""]}]},
        {"files": [{"name": "a", "format": "npy", "arrays": [""]}] * 2},
        {
            "files": [
                {"format": "npy", "arrays": [""]},
                {"name": "a", "format": "npy", "arrays": [""]},
            ]
        },
    ],
    ids=lambda d: str(d)[:40],
)
def test_names_that_make_no_sense(document: object) -> None:
    with pytest.raises(CorruptError) as caught:
        split_names(forge(document))
    assert caught.value.where == "names"


def test_names_of_the_future_and_bombs() -> None:
    good = {"files": [{"format": "npy", "arrays": [""]}]}
    assert split_names(forge(good))[0] == (Member("", "npy", ("",)),)
    with pytest.raises(UnsupportedVersionError):
        split_names(forge(good, version=2))
    with pytest.raises(CorruptError):
        split_names(forge(good, tail=b"x"))
    with pytest.raises(LimitError, match="json_bytes"):
        split_names(forge(b" " * (1 << 27)))
    with pytest.raises(TruncatedError):
        split_names(forge(good)[:-1])


def test_every_flipped_bit_and_every_length_is_noticed() -> None:
    array = np.arange(6).reshape(3, 2)
    data = join_names([Member("", "npz", ("tokens",))], encode(array, predictor="stored"))

    def load(changed: bytes) -> None:
        members, blob = split_names(changed)
        decode(blob)
        assert members is not None

    load(data)
    for changed in damaged(data):
        with pytest.raises(BlobError):
            load(changed)


def damaged(data: bytes) -> Iterator[bytes]:
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        yield bytes(flipped)
    for length in range(len(data)):
        yield data[:length]
    yield data + b"\0"


@given(st.binary(max_size=200))
def test_arbitrary_bytes_as_names(tail: bytes) -> None:
    with contextlib.suppress(BlobError):
        split_names(b"\xf7TKN\x01" + tail)


# ---- finding files -----------------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("d/b.npy", "d/a.npy", "d/s/c.NPZ", "d/s/note.txt", "d/.hidden.npy", "e/a.npy"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "d/loop").symlink_to(tmp_path / "d")
    (tmp_path / "odd[1].npy").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def found(*arguments: str) -> list[tuple[str, str]]:
    return [(s.path, s.relative) for s in find_sources(arguments, (".npy", ".npz"))]


def test_directories_and_patterns(tree: Path) -> None:
    whole = [("d/a.npy", "a.npy"), ("d/b.npy", "b.npy"), ("d/s/c.NPZ", "s/c.NPZ")]
    assert found("d") == whole
    assert found("d", "e/a.npy") == [(p, f"d/{r}") for p, r in whole] + [("e/a.npy", "a.npy")]
    assert found("d/*.npy") == [("d/a.npy", "a.npy"), ("d/b.npy", "b.npy")]
    assert found("*/a.npy") == [("d/a.npy", "d/a.npy"), ("e/a.npy", "e/a.npy")]
    assert ("d/s/c.NPZ", "s/c.NPZ") in found("d/**/*.NPZ")
    assert found("odd[1].npy") == [("odd[1].npy", "odd[1].npy")]  # a name before it is a pattern
    assert found("-", "gone.npy") == [("-", "-"), ("gone.npy", "gone.npy")]
    assert found("d/a.npy", "d/a.npy") == [("d/a.npy", "a.npy")]


def test_arguments_that_mean_nothing(tree: Path) -> None:
    (tree / "empty").mkdir()
    for argument in ("empty", "*.xyz"):
        with pytest.raises(FileError, match=r"no .*file"):
            found(argument)


def test_every_error_is_of_the_family() -> None:
    for kind in (FileError, FileFormatError, FileExistsRefusedError):
        assert issubclass(kind, TokenzipError) and issubclass(kind, OSError)

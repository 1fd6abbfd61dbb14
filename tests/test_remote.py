"""URLs: memory://, http:// and s3:// (s3fs against a server here), only what is needed is read."""

from __future__ import annotations

import multiprocessing
import pickle
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from object_store import ObjectStore, object_store

import tokenzip
from tokenzip import errors
from tokenzip.archive import open as open_archive
from tokenzip.files import Member, join_names
from tokenzip.remote import is_url

fsspec = pytest.importorskip("fsspec")

FRAMES = 400


@pytest.fixture(scope="module")
def clip() -> np.ndarray:
    """Predictable, or its chunks would be merged into a stored one."""
    frame = np.random.default_rng(1).integers(0, 500, (4, 8))
    return (frame + np.arange(FRAMES)[:, None, None] // 50).astype("u2")


@pytest.fixture(scope="module")
def content(clip: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """An archive of ten clips, a blob, and a .tkz file with names."""
    path = tmp_path_factory.mktemp("remote") / "a.tkz.h5"
    with tokenzip.open(path, "w", chunk_frames=20) as archive:
        for number in range(10):
            archive[f"clip/{number}"] = clip + number
    blob = tokenzip.encode(clip, chunk_frames=20)
    named = join_names([Member("", "npz", ("a",))], blob)
    return {"a.tkz.h5": path.read_bytes(), "b.npy.tkz": blob, "n.npz.tkz": named}


@pytest.fixture(scope="module")
def store(content: dict[str, bytes]) -> Iterator[ObjectStore]:
    with object_store() as store:
        store.files = {f"/bucket/{name}": data for name, data in content.items()}
        yield store


@pytest.fixture
def memory(content: dict[str, bytes]) -> Iterator[str]:
    system = fsspec.filesystem("memory")
    for name, data in content.items():
        system.pipe_file(f"/tokenzip-test/{name}", data)
    yield "memory://tokenzip-test/"
    system.rm("/tokenzip-test", recursive=True)


@pytest.fixture(params=["http", "s3"])
def place(request: pytest.FixtureRequest, store: ObjectStore) -> tuple[str, dict[str, Any]]:
    """URL of the folder and the options for it."""
    store.requests.clear()
    if request.param == "http":
        pytest.importorskip("aiohttp")
        return f"{store.url}/bucket/", {}
    pytest.importorskip("s3fs")
    return "s3://bucket/", {"key": "k", "secret": "s", "client_kwargs": {"endpoint_url": store.url}}


def test_archives_in_memory(memory: str, clip: np.ndarray) -> None:
    with tokenzip.open(memory + "a.tkz.h5") as archive:
        assert len(archive) == 10 and archive.name == "memory://tokenzip-test/a.tkz.h5"
        assert np.array_equal(archive["clip/3"][100:105], (clip + 3)[100:105])
        again = pickle.loads(pickle.dumps(archive))
    with pytest.raises(errors.ArchiveError, match="closed"):
        archive["clip/3"][0]
    assert np.array_equal(again["clip/0"], clip)


def test_archives_read_what_they_need(
    place: tuple[str, dict[str, Any]], store: ObjectStore, clip: np.ndarray
) -> None:
    url, options = place
    archive = tokenzip.open(url + "a.tkz.h5", storage_options=options)
    opened = store.bytes_read
    assert opened < 10_000 < len(store.files["/bucket/a.tkz.h5"])
    assert np.array_equal(archive["clip/7"][201:215], (clip + 7)[201:215])
    chunk = 20 * 32 * 9 // 8
    assert store.bytes_read - opened <= chunk + 1024
    assert len(store.requests) <= 12


def test_blobs_read_what_they_need(
    place: tuple[str, dict[str, Any]], store: ObjectStore, clip: np.ndarray
) -> None:
    url, options = place
    for name in ("b.npy.tkz", "n.npz.tkz"):
        store.requests.clear()
        blob = tokenzip.remote.blob(url + name, **options)
        assert np.array_equal(tokenzip.decode(blob, frames=slice(30, 35)), clip[30:35])
        assert store.bytes_read < 2000 < len(store.files[f"/bucket/{name}"])
        assert tokenzip.inspect(blob).grids[0].shape == clip.shape
        assert np.array_equal(tokenzip.decode(blob), clip)


def test_threads_share_it(place: tuple[str, dict[str, Any]], clip: np.ndarray) -> None:
    url, options = place
    archive = tokenzip.open(url + "a.tkz.h5", storage_options=options)
    with ThreadPoolExecutor(8) as pool:
        for number, part in enumerate(pool.map(lambda n: archive[f"clip/{n}"][5:30], range(10))):
            assert np.array_equal(part, (clip + number)[5:30])


def _sum(archive: Any) -> int:
    return int(archive["clip/4"][:].sum())


@pytest.mark.skipif(sys.platform != "linux", reason="forks beside threads")
@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_other_processes(place: tuple[str, dict[str, Any]], clip: np.ndarray, context: str) -> None:
    """fsspec's file systems have a thread, which does not live on in a forked process."""
    url, options = place
    archive = tokenzip.open(url + "a.tkz.h5", storage_options=options)
    assert _sum(archive) == (clip + 4).sum()
    with multiprocessing.get_context(context).Pool(1, _keep, (archive,)) as pool:
        assert pool.apply_async(_sum_kept).get(60) == (clip + 4).sum()


def _keep(archive: Any) -> None:
    globals()["kept"] = archive


def _sum_kept() -> int:
    return _sum(globals()["kept"])


def test_local_files_and_chains(content: dict[str, bytes], memory: str, tmp_path: Path) -> None:
    (tmp_path / "b.tkz").write_bytes(content["b.npy.tkz"])
    for url in (f"file://{tmp_path}/b.tkz", str(tmp_path / "b.tkz")):
        assert tokenzip.inspect(tokenzip.remote.blob(url)).tokens == FRAMES * 32
    with tokenzip.open(f"simplecache::{memory}a.tkz.h5") as archive:
        assert len(archive) == 10


def test_what_is_not_there(place: tuple[str, dict[str, Any]]) -> None:
    url, options = place
    with pytest.raises(errors.ArchiveError, match="no such file"):
        tokenzip.open(url + "none.tkz.h5", storage_options=options)
    with pytest.raises(errors.FileError, match="no such file"):
        tokenzip.remote.blob(url + "none.tkz", **options)


def test_urls_that_lead_nowhere(memory: str) -> None:
    with pytest.raises(errors.ArchiveError, match="Protocol not known"):
        tokenzip.open("nonsense://a/b")
    with pytest.raises(errors.ArchiveError, match=r"no such file \(.*connect"):
        tokenzip.open("http://127.0.0.1:9/a.tkz.h5")
    with pytest.raises(errors.NotAnArchiveError, match=r"\.tkz file"):
        tokenzip.open(memory + "b.npy.tkz")
    with pytest.raises(errors.NotABlobError):
        tokenzip.decode(tokenzip.remote.blob(memory + "a.tkz.h5"))
    with pytest.raises(errors.OptionError, match="this machine"):
        tokenzip.open(memory + "new.tkz.h5", "w")


def test_damage_on_the_way(content: dict[str, bytes]) -> None:
    system = fsspec.filesystem("memory")
    for name in ("b.npy.tkz", "n.npz.tkz"):
        for cut in (0, 3, 8, 20, len(content[name]) - 1):
            system.pipe_file("/tokenzip-cut", content[name][:cut])
            with pytest.raises(errors.BlobError):
                tokenzip.decode(tokenzip.remote.blob("memory://tokenzip-cut"))
    system.rm("/tokenzip-cut")


@pytest.mark.parametrize(
    ("package", "url", "extra"), [("s3fs", "s3://b/k", "s3"), ("fsspec", "memory://a", "fsspec")]
)
def test_a_package_that_is_missing(package: str, url: str, extra: str) -> None:
    code = f"""
import sys
import tokenzip
sys.modules[{package!r}] = None
try:
    tokenzip.open({url!r})
except tokenzip.errors.MissingDependencyError as error:
    assert "tokenzip[{extra}]" in str(error), error
else:
    raise SystemExit("no error")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("s3://bucket/key", True),
        ("memory://a", True),
        ("https://host/a.tkz", True),
        ("simplecache::s3://b/k", True),
        ("clip.tkz", False),
        ("/a/b.tkz", False),
        ("C:\\clips\\a.tkz", False),
        ("c://a", False),
        ("a b://c", False),
        (b"s3://a", False),
        (Path("s3://a"), False),
    ],
)
def test_what_is_a_url(path: object, expected: bool) -> None:
    assert is_url(path) is expected
    assert open_archive is tokenzip.open

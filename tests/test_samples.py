"""The samples: pinned to the bit, like driving tokens in their habits, and fetched with care."""

from __future__ import annotations

import hashlib
import http.server
import math
import os
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tokenzip import samples
from tokenzip.errors import DownloadError, OptionError
from tokenzip.samples import download, quantiser, scene, tones
from tokenzip.samples.chance import Stream
from tokenzip.samples.download import Remote, fetch_remote

CRC_DRIVE = 0x78F5A160
CRC_DRIVE_123 = 0xE24AA785
CRC_AUDIO = 0xA110BD66
CRC_IMAGE = 0x753781FB


def crc(tokens: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(tokens).astype("<u2").tobytes())


@pytest.fixture(scope="module")
def drive() -> np.ndarray:
    return samples.drive(frames=300, seed=0)


def test_drive_is_pinned(drive: np.ndarray) -> None:
    assert drive.shape == (300, 8, 16) and drive.dtype == np.uint16
    assert crc(drive) == CRC_DRIVE
    assert crc(samples.drive(frames=60, seed=123)) == CRC_DRIVE_123


def test_audio_is_pinned() -> None:
    audio = samples.audio(frames=200, seed=0)
    assert audio.shape == (200, 8) and audio.dtype == np.uint16
    assert crc(audio) == CRC_AUDIO


def test_image_is_pinned_and_made_of_drives(drive: np.ndarray) -> None:
    image = samples.image()
    assert image.shape == (1, 32, 32) and image.dtype == np.uint16
    assert crc(image) == CRC_IMAGE
    assert (image[0, :8, :16] == drive[0]).all()


def test_drive_looks_like_driving(drive: np.ndarray) -> None:
    assert drive.max() < 1024
    copied = (drive[1:] == drive[:-1]).mean()
    assert 0.35 < copied < 0.6
    share = np.bincount(drive.ravel()) / drive.size
    entropy = -(share[share > 0] * np.log2(share[share > 0])).sum()
    assert entropy > 7
    assert len(np.unique(drive)) > 500


def test_a_longer_sample_begins_with_the_shorter(drive: np.ndarray) -> None:
    # 73 is no multiple of the rendering batch nor of any knot of the random signals.
    assert (samples.drive(frames=73, seed=0) == drive[:73]).all()
    assert (samples.audio(frames=21, seed=4) == samples.audio(frames=50, seed=4)[:21]).all()


def test_seeds_differ() -> None:
    assert (samples.drive(5, seed=1) != samples.drive(5, seed=2)).mean() > 0.3
    assert (samples.audio(5, seed=1) != samples.audio(5, seed=2)).mean() > 0.5
    assert (samples.image(1) != samples.image(2)).mean() > 0.3


def test_no_frames() -> None:
    assert samples.drive(0).shape == (0, 8, 16)
    assert samples.audio(0).shape == (0, 8)
    assert samples.drive_pictures(0).shape == (0, 64, 128, 3)


def test_pictures_are_those_of_the_tokens() -> None:
    from tokenzip.samples import driving

    pictures = samples.drive_pictures(7, seed=3)
    assert pictures.shape == (7, scene.HEIGHT, scene.WIDTH, 3) and pictures.dtype == np.uint8
    codes = quantiser.nearest(driving.describe(pictures), driving.codebook())
    assert (codes.reshape(7, 8, 16) == samples.drive(7, seed=3)).all()


@pytest.mark.parametrize(
    "call",
    [
        lambda: samples.drive(-1),
        lambda: samples.drive(2.5),  # type: ignore[arg-type]
        lambda: samples.drive(3, seed=-2),
        lambda: samples.audio("7"),  # type: ignore[arg-type]
        lambda: samples.image(-1),
        lambda: samples.fetch("no-such-thing"),
    ],
)
def test_bad_arguments(call) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(OptionError):
        call()


def test_sine_table_is_safe_from_the_last_bit_of_a_libm() -> None:
    exact = [32767 * math.sin(2 * math.pi * k / 1024) for k in range(1024)]
    assert min(abs(value % 1 - 0.5) for value in exact) > 0.001
    assert len(tones._sine()) == 1024


def test_nearest_agrees_with_int64_distances() -> None:
    chance = Stream(5)
    shape = (700, quantiser.MAX_DIMENSIONS)
    values = chance.integers(-900, 900, shape[0] * shape[1]).reshape(shape)  # some are clipped
    vectors = quantiser.as_vectors(values)
    book = vectors[:90]
    whole = vectors.astype(np.int64)
    distances = ((whole[:, None, :] - whole[None, :90, :]) ** 2).sum(axis=2)
    assert (quantiser.nearest(vectors, book) == distances.argmin(axis=1)).all()


def test_fit_lowers_the_distortion() -> None:
    vectors = quantiser.as_vectors(Stream(6).integers(-500, 500, 4000).reshape(2000, 2))

    def distortion(book: np.ndarray) -> float:
        return float(((vectors - book[quantiser.nearest(vectors, book)]) ** 2).sum())

    begun = quantiser.fit(vectors, 32, 0, Stream(7))
    fitted = quantiser.fit(vectors, 32, 8, Stream(7))
    assert distortion(fitted) < 0.8 * distortion(begun)
    assert (fitted == fitted.round()).all()


# ---- fetch ----------------------------------------------------------------------------------

CONTENT = bytes(range(256)) * 40


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.hits += 1  # type: ignore[attr-defined]
        if self.path == "/missing":
            self.send_error(404)
            return
        self.send_response(200)
        if self.path != "/unannounced":
            self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        cut = self.path in ("/cut", "/unannounced")
        self.wfile.write(CONTENT[: len(CONTENT) // 2] if cut else CONTENT)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture()
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[http.server.ThreadingHTTPServer]:
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    instance = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    instance.hits = 0  # type: ignore[attr-defined]
    thread = threading.Thread(target=instance.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield instance
    instance.shutdown()
    instance.server_close()
    thread.join()


def remote(server: http.server.ThreadingHTTPServer, path: str, content: bytes = CONTENT) -> Remote:
    host, port = server.server_address[:2]
    digest = hashlib.sha256(content).hexdigest()
    return Remote("thing.npy", f"http://{host}:{port}{path}", digest, len(content))


def test_fetch_downloads_once(server: http.server.ThreadingHTTPServer, tmp_path: Path) -> None:
    cache = tmp_path / "new" / "cache"
    path = fetch_remote(remote(server, "/good"), cache)
    assert path == cache / "thing.npy" and path.read_bytes() == CONTENT
    assert fetch_remote(remote(server, "/good"), cache) == path
    assert server.hits == 1  # type: ignore[attr-defined]
    assert [p.name for p in cache.iterdir()] == ["thing.npy"]


def test_fetch_replaces_a_damaged_cache(
    server: http.server.ThreadingHTTPServer, tmp_path: Path
) -> None:
    (tmp_path / "thing.npy").write_bytes(CONTENT[:-1])
    assert fetch_remote(remote(server, "/good"), tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("path", "content", "message"),
    [
        ("/missing", CONTENT, "404"),
        ("/good", CONTENT[::-1], "not the file expected"),
        ("/good", CONTENT[:-8], "not the file expected"),  # more comes than wanted
        ("/cut", CONTENT, r"ended after|could not be fetched"),
        ("/unannounced", CONTENT, r"ended after \d+ of \d+ bytes"),
    ],
)
def test_a_bad_download_leaves_nothing(
    server: http.server.ThreadingHTTPServer,
    tmp_path: Path,
    path: str,
    content: bytes,
    message: str,
) -> None:
    with pytest.raises(DownloadError, match=message) as caught:
        fetch_remote(remote(server, path, content), tmp_path)
    assert str(tmp_path / "thing.npy") in str(caught.value)  # says how to help oneself
    assert list(tmp_path.iterdir()) == []


def test_offline(server: http.server.ThreadingHTTPServer, tmp_path: Path) -> None:
    gone = remote(server, "/good")
    server.shutdown()
    server.server_close()
    with pytest.raises(DownloadError, match="check the network connection"):
        fetch_remote(gone, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_cache_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DownloadError, match="TOKENZIP_CACHE"):
        samples.fetch("commavq-example", tmp_path / "file" / "below")


def test_default_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TOKENZIP_CACHE", str(tmp_path / "own"))
    assert download.default_cache() == tmp_path / "own"
    monkeypatch.delenv("TOKENZIP_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert download.default_cache() == tmp_path / "xdg" / "tokenzip"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert download.default_cache() == Path.home() / ".cache" / "tokenzip"


def test_fetch_uses_a_good_cached_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = hashlib.sha256(CONTENT).hexdigest()
    here = Remote("x.npy", "http://127.0.0.1:9/never-asked", digest, len(CONTENT))
    monkeypatch.setitem(download.REMOTES, "commavq-example", here)
    monkeypatch.setenv("TOKENZIP_CACHE", str(tmp_path))
    (tmp_path / "x.npy").write_bytes(CONTENT)
    assert samples.fetch("commavq-example") == tmp_path / "x.npy"


@pytest.mark.data
def test_the_pinned_hash_is_that_of_the_shared_example() -> None:
    base = Path(os.environ.get("TOKENZIP_DATA", Path(__file__).parents[2] / "shared" / "data"))
    path = base / "commavq" / "example.npy"
    if not path.is_file():
        pytest.skip(f"no {path}: set TOKENZIP_DATA to the folder of token data")
    pinned = download.REMOTES["commavq-example"]
    assert hashlib.sha256(path.read_bytes()).hexdigest() == pinned.sha256
    assert path.stat().st_size == pinned.size

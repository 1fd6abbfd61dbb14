"""Real token files, fetched once and kept: each has a pinned SHA-256, so what comes is known."""

from __future__ import annotations

import hashlib
import os
import urllib.error
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from tokenzip.errors import DownloadError, FileError, OptionError
from tokenzip.files.atomic import atomic_output

TIMEOUT = 30.0  # seconds without a byte


@dataclass(frozen=True)
class Remote:
    """A file on the web: what it is called here, where it lies, and what must arrive."""

    filename: str
    url: str
    sha256: str
    size: int  # bytes


REMOTES = {
    # commaVQ (MIT licence): 1200 frames of 8 x 16 tokens of a real drive, alphabet 1024, int16.
    "commavq-example": Remote(
        filename="commavq-example.npy",
        url="https://raw.githubusercontent.com/commaai/commavq/master/examples/tokens.npy",
        sha256="05f8ec962a8c5aabcdf15ba31c28de037b0a51f9f338cad04789e282809a0829",
        size=307_328,
    ),
}


def default_cache() -> Path:
    """TOKENZIP_CACHE, else XDG_CACHE_HOME/tokenzip, else ~/.cache/tokenzip."""
    own = os.environ.get("TOKENZIP_CACHE")
    if own:
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "tokenzip"


def fetch(name: str, cache_dir: str | os.PathLike[str] | None = None) -> Path:
    """The path of a real token file, downloaded the first time and kept in a cache.

    Args:
        name: "commavq-example": comma.ai's published example drive, (1200, 8, 16) int16, alphabet
            1024 (commaai/commavq, MIT licence).
        cache_dir: where to keep it; default TOKENZIP_CACHE, else XDG_CACHE_HOME/tokenzip, else
            ~/.cache/tokenzip.

    Raises:
        OptionError: there is no such name.
        DownloadError: no network, no such file there any more, a download cut short, a file whose
            SHA-256 is not the pinned one, or a cache that cannot be written.
    """
    if name not in REMOTES:
        known = ", ".join(sorted(REMOTES))
        raise OptionError(f"no sample is called {name!r}; there is: {known}")
    return fetch_remote(REMOTES[name], Path(cache_dir) if cache_dir else default_cache())


def fetch_remote(remote: Remote, cache: Path) -> Path:
    """``fetch`` for any :class:`Remote`. A file already there is checked, and replaced if wrong."""
    target = cache / remote.filename
    try:
        if target.is_file() and _digest(target.read_bytes()) == remote.sha256:
            return target
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DownloadError(
            f"the cache {cache} cannot be used ({error}); name another with cache_dir or "
            "TOKENZIP_CACHE"
        ) from error
    content = _download(remote, target)
    try:
        with atomic_output(target, force=True) as file:
            file.write(content)
    except FileError as error:
        raise DownloadError(str(error)) from error
    return target


def _download(remote: Remote, target: Path) -> bytes:
    by_hand = f"; or put the file at {target} yourself"
    try:
        with urllib.request.urlopen(remote.url, timeout=TIMEOUT) as response:
            content: bytes = response.read(remote.size + 1)  # never more than what is wanted
    except urllib.error.HTTPError as error:
        raise DownloadError(
            f"{remote.url} answered {error.code} {error.reason}: try again later{by_hand}"
        ) from error
    except (OSError, HTTPException) as error:  # URLError is an OSError
        reason = getattr(error, "reason", None) or error
        raise DownloadError(
            f"{remote.url} could not be fetched ({reason}): check the network connection{by_hand}"
        ) from error
    if len(content) < remote.size:
        raise DownloadError(
            f"{remote.url} ended after {len(content)} of {remote.size} bytes: try again{by_hand}"
        )
    digest = _digest(content)
    if digest != remote.sha256:
        raise DownloadError(
            f"{remote.url} is not the file expected: SHA-256 {digest}, not {remote.sha256}. "
            f"Nothing was kept{by_hand}"
        )
    return content


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()

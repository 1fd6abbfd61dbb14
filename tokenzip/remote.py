"""Blobs and archives by URL: s3://, https://, memory:// and whatever else fsspec knows.

archive = tokenzip.open("s3://bucket/data.tkz.h5", storage_options={"anon": True})
blob = tokenzip.remote.blob("s3://bucket/clip.npy.tkz")
tokenzip.decode(blob, frames=slice(100, 110))     # reads the header and the chunks it needs
"""

from __future__ import annotations

import os
import re
from typing import Any

from .blob import BlobSource
from .errors import FileError, MissingDependencyError, TruncatedError
from .files import NAMES_HEAD_BYTES, names_bytes
from .files.reasons import first_line

#: Two letters at least: "C://" is a drive. Chained ones ("simplecache::s3://...") are URLs too.
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+(::|://)")


def is_url(path: Any) -> bool:
    """Whether a path is one for fsspec rather than for the system."""
    return isinstance(path, str) and _URL.match(path) is not None


def blob(url: str, **storage_options: Any) -> BlobSource:
    """The blob of a .tkz file, for `tokenzip.decode` and `inspect`: they read what they need of it.

    Args:
        url: where it is; a path also works.
        storage_options: for fsspec's file system, such as key, secret, anon of s3.

    Raises:
        FileError: it is not there, cannot be read, or the URL makes no sense.
        TruncatedError, UnsupportedVersionError: so are the names before the blob.
        MissingDependencyError: fsspec, or what it needs for this kind of URL, is not installed.
    """
    file = RemoteFile(url, storage_options)
    start = names_bytes(file.read_at(0, NAMES_HEAD_BYTES))
    if start > file.size():
        raise TruncatedError("the file ends inside the preamble that holds its names")
    return BlobSource(file.size() - start, lambda a, b: file.read_at(start + a, b - a))


class RemoteFile:
    """A file that fsspec reaches, read in ranges: the bytes that are asked for and no others.

    Threads may share it, processes may inherit it, and it may be pickled.
    """

    def __init__(
        self,
        url: str,
        storage_options: dict[str, Any] | None = None,
        error: type[FileError] = FileError,
    ) -> None:
        """
        Args:
            url: where it is.
            storage_options: for fsspec's file system.
            error: class of the errors for what cannot be read.
        """
        self.name = url
        self._options = dict(storage_options or {})
        self._error = error
        self._system: Any = None
        self._process = 0  # whose the file system is: those with threads do not survive a fork
        self._path = ""
        self._size = -1
        self._closed = False
        self.size()

    def size(self) -> int:
        """Length in bytes, as it was at the first look."""
        if self._size < 0:
            size = self._ask(lambda system: system.size(self._path))
            if not isinstance(size, int):
                raise self._error(f"{self.name}: its length is unknown; download it first")
            self._size = size
        return self._size

    def read_at(self, start: int, count: int) -> bytes:
        """`count` bytes from `start` on; fewer where they end."""
        stop = min(start + count, self.size())
        if stop <= start:
            return b""
        return bytes(self._ask(lambda system: system.cat_file(self._path, start=start, end=stop)))

    def close(self) -> None:
        """Reading is an error from now on. Connections belong to fsspec, which keeps them."""
        self._closed = True

    def __reduce__(self) -> Any:
        return RemoteFile, (self.name, self._options, self._error)

    def _ask(self, what: Any) -> Any:
        """Let the file system do something; its failures become ours."""
        if self._closed:
            raise self._error(f"{self.name}: it is closed")
        try:
            if self._process != os.getpid():
                from fsspec.core import url_to_fs

                self._system, self._path = url_to_fs(self.name, **self._options)
                self._process = os.getpid()
            return what(self._system)
        except ImportError as error:
            extra = "s3" if "s3" in self.name.partition("://")[0] else "fsspec"
            raise MissingDependencyError(
                f"{self.name}: {first_line(error)}: pip install 'tokenzip[{extra}]'"
            ) from error
        except FileNotFoundError as error:
            reason = f" ({first_line(error.__cause__)})" if error.__cause__ else ""
            raise self._error(f"{self.name}: there is no such file{reason}") from error
        except Exception as error:  # each file system has errors of its own
            raise self._error(f"{self.name}: cannot be read: {first_line(error)}") from error

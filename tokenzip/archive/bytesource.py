"""Where the bytes of an archive come from: a file, or an open file object."""

from __future__ import annotations

import os
import threading
from typing import Any, Protocol

from ..errors import ArchiveError
from ..files.reasons import os_error_text


class ByteSource(Protocol):
    """Bytes that can be read anywhere, by several threads at a time."""

    name: str

    def size(self) -> int:
        """How many there are."""

    def read_at(self, start: int, count: int) -> bytes:
        """`count` bytes from `start` on; fewer where they end. Raises ArchiveError."""

    def close(self) -> None:
        """Let go of what is open. Reading is an error from now on."""


class FileSource:
    """A file of the system. Its descriptor has no position, so threads and forks can share it."""

    def __init__(self, name: str, descriptor: int) -> None:
        self.name = name
        self.descriptor = descriptor

    @classmethod
    def open(cls, path: str) -> FileSource:
        """Open a file for reading. Raises ArchiveError."""
        flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
        try:
            return cls(path, os.open(path, flags))
        except OSError as error:
            raise ArchiveError(f"{path}: cannot be opened: {os_error_text(error)}") from error

    def size(self) -> int:
        descriptor = self._open()
        try:
            return os.fstat(descriptor).st_size
        except OSError as error:
            raise self._unreadable(error) from error

    def read_at(self, start: int, count: int) -> bytes:
        pieces = []
        descriptor = self._open()
        try:
            while count > 0:
                piece = os.pread(descriptor, count, start)
                if not piece:
                    break
                pieces.append(piece)
                start += len(piece)
                count -= len(piece)
        except OSError as error:
            raise self._unreadable(error) from error
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def close(self) -> None:
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __del__(self) -> None:
        self.close()

    def __reduce__(self) -> Any:
        return FileSource.open, (os.path.abspath(self.name),)

    def _open(self) -> int:
        if self.descriptor < 0:
            raise ArchiveError(f"{self.name}: the archive is closed")
        return self.descriptor

    def _unreadable(self, error: OSError) -> ArchiveError:
        return ArchiveError(f"{self.name}: cannot be read: {os_error_text(error)}")


class ObjectSource:
    """A file object that can seek: one of Python's, of fsspec, of a zip file ..."""

    def __init__(self, name: str, file: Any, *, owned: bool = False) -> None:
        """
        Args:
            name: what errors call it.
            file: has read and seek.
            owned: close it as well.
        """
        self.name = name
        self._file = file
        self._owned = owned
        self._closed = False
        self._lock = threading.Lock()

    def size(self) -> int:
        with self._lock:
            self._check()
            try:
                return int(self._file.seek(0, os.SEEK_END))
            except (OSError, ValueError) as error:
                raise self._unreadable(error) from error

    def read_at(self, start: int, count: int) -> bytes:
        pieces = []
        with self._lock:
            self._check()
            try:
                self._file.seek(start)
                while count > 0:
                    piece = self._file.read(count)
                    if not piece:
                        break
                    pieces.append(bytes(piece))
                    count -= len(piece)
            except (OSError, ValueError) as error:
                raise self._unreadable(error) from error
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def close(self) -> None:
        with self._lock:
            if self._owned and not self._closed:
                self._file.close()
            self._closed = True

    def __reduce__(self) -> Any:
        # Files of fsspec can be pickled; others say that they cannot.
        return ObjectSource, (self.name, self._file)

    def _check(self) -> None:
        if self._closed:
            raise ArchiveError(f"{self.name}: the archive is closed")

    def _unreadable(self, error: Exception) -> ArchiveError:
        return ArchiveError(f"{self.name}: cannot be read: {error}")

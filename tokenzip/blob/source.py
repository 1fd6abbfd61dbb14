"""A blob that is not in memory: only what is asked for is read."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from ..errors import TruncatedError

#: The header of most blobs is within so many bytes, so that it takes a single reading.
_FIRST_BYTES = 1024
_MORE_BYTES = 16


class BlobSource:
    """What stands for the bytes of a blob that lies in a larger file, or far away.

    `tokenzip.decode` and `inspect` take it in place of bytes. They read the header, and the
    payloads of the chunks that are wanted.
    """

    def __init__(self, nbytes: int, read: Callable[[int, int], bytes]) -> None:
        """
        Args:
            nbytes: length of the blob.
            read: (start, stop) -> the bytes of the blob from start to stop; called from several
                threads if chunks are decoded by several.
        """
        self.nbytes = nbytes
        self._read = read
        self._first = b""

    def __getitem__(self, part: slice) -> bytes:
        start, stop, step = part.indices(self.nbytes)
        if step != 1:
            raise ValueError("a blob is read in one direction, byte by byte")
        if stop <= start:
            return b""
        if start == 0 and stop > len(self._first):
            # The header: it is looked at again, and its checksum stands right behind it.
            self._first = self._exactly(0, min(max(_FIRST_BYTES, stop + _MORE_BYTES), self.nbytes))
        if stop <= len(self._first):
            return self._first[start:stop]
        return self._exactly(start, stop)

    def _exactly(self, start: int, stop: int) -> bytes:
        data = bytes(self._read(start, stop))
        if len(data) != stop - start:
            raise TruncatedError(
                f"the blob is cut off: bytes {start} to {stop} were asked for, {len(data)} came"
            )
        return data


#: What a blob is read from.
BlobBytes: TypeAlias = "memoryview | BlobSource"

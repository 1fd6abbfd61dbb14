"""Tar shards in WebDataset's form: `key.token.npy` beside `key.json`, as commaVQ is published.

They are read as streams. Nothing is ever extracted: a member's name only becomes a clip's name, if
it may be one.
"""

from __future__ import annotations

import json
import lzma
import os
import struct
import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO, cast

import numpy as np

from ..errors import FileError, FileFormatError
from ..files.memory import check_fits
from ..files.npy import parse_npy
from ..files.reasons import first_line, os_error_text

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")

_MAX_JSON = 1 << 26

#: How often a file that has ended is asked for more before that is an error.
_ENDS = 64

# What damaged archives and streams raise.
_TAR_ERRORS = (
    tarfile.TarError,
    EOFError,
    lzma.LZMAError,
    zlib.error,
    struct.error,
    IndexError,
    OverflowError,
    TypeError,  # of a gzip header that is cut off
    ValueError,
)


@dataclass
class ShardClip:
    """One array of a sample: its name, and the rest as in SourceClip."""

    name: str
    nbytes: int
    load: Callable[[], np.ndarray[Any, Any]]
    attributes: dict[str, Any]


@dataclass
class _Sample:
    """Members of the same key, which stand one after the other."""

    key: str
    arrays: list[tuple[str, bytes]] = field(default_factory=list)
    attributes: dict[str, Any] = field(default_factory=dict)


def clips(path: str) -> Iterator[tuple[ShardClip, float]]:
    """The clips of a shard, and how much of the file has been read with each.

    Raises FileFormatError for a damaged shard, after the clips that were whole.
    """
    try:
        with open(path, "rb") as file:
            size = max(1, os.fstat(file.fileno()).st_size)
            found = False
            for sample, position in _samples(path, file):
                for clip in _clips_of(path, sample):
                    found = True
                    yield clip, min(1.0, position / size)
            if not found:
                raise FileFormatError(f"{path}: no .npy member in this shard")
    except FileError:
        raise
    except OSError as error:
        raise FileError(f"{path}: cannot be read: {os_error_text(error)}") from error


def _samples(path: str, file: BinaryIO) -> Iterator[tuple[_Sample, int]]:
    sample: _Sample | None = None
    position = before = 0
    try:
        with tarfile.open(fileobj=cast(BinaryIO, _Ending(file)), mode="r|*") as tar:
            for member in tar:
                before, position = position, file.tell()
                # A list of all members would grow with the shard.
                tar.members = []  # type: ignore[attr-defined]
                if not member.isreg() or member.issparse():
                    continue
                key, extension = _split(member.name)
                if sample is None or sample.key != key:
                    if sample is not None:
                        yield sample, before
                    sample = _Sample(key)
                _take(path, tar, member, extension, sample)
    except FileError:
        raise
    except _TAR_ERRORS as error:
        if sample is not None and sample.arrays:
            yield sample, position
        raise FileFormatError(f"{path}: a damaged tar file ({first_line(error)})") from error
    except OSError as error:
        if error.errno is not None:
            raise
        # gzip's errors are of this kind.
        if sample is not None and sample.arrays:
            yield sample, position
        raise FileFormatError(f"{path}: a damaged tar file ({first_line(error)})") from error
    if sample is not None:
        yield sample, position


class _Ending:
    """A file that is over when it is over.

    tarfile skips what a header claims, up to 2^88 bytes, and does not mind that nothing comes.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._ends = 0

    def read(self, count: int) -> bytes:
        data = self._file.read(count)
        self._ends = 0 if data else self._ends + 1
        if self._ends > _ENDS:
            raise EOFError("unexpected end of data")
        return data


def _take(
    path: str, tar: tarfile.TarFile, member: tarfile.TarInfo, extension: str, sample: _Sample
) -> None:
    """Read a member, if it is of use."""
    where = f"{path}[{member.name}]"
    if extension == "npy" or extension.endswith(".npy"):
        check_fits(member.size, where)
        sample.arrays.append((extension, _content(tar, member)))
    elif extension == "json" and member.size <= _MAX_JSON:
        try:
            attributes = json.loads(_content(tar, member))
        except (ValueError, RecursionError) as error:
            raise FileFormatError(f"{where}: not JSON ({first_line(error)})") from error
        if isinstance(attributes, dict):
            sample.attributes.update(attributes)


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    stream = cast(BinaryIO, tar.extractfile(member))  # a regular file has one
    data = stream.read()
    if len(data) != member.size:
        raise tarfile.ReadError("unexpected end of data")
    return data


def _clips_of(path: str, sample: _Sample) -> Iterator[ShardClip]:
    for extension, data in sample.arrays:
        where = f"{path}[{sample.key}.{extension}]"
        name = sample.key
        if len(sample.arrays) > 1:
            name += "/" + extension.removesuffix("npy").removesuffix(".")
        yield ShardClip(
            name,
            len(data),
            lambda data=data, where=where: parse_npy(data, where),  # type: ignore[misc]
            sample.attributes,
        )


def _split(name: str) -> tuple[str, str]:
    """Key and extension: all up to the first dot of the last part, and what is behind it."""
    folder, slash, base = name.removeprefix("./").rpartition("/")
    stem, _, extension = base.partition(".")
    return folder + slash + stem, extension.lower()

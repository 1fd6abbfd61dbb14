"""What a user calls a source, as a stream of clips: nothing is read before it is needed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from ..archive import ArchivedClip
from ..archive import open as open_archive
from ..errors import FileError, TokenzipError
from ..files.find import Source, find_sources
from ..files.stream import stream_tokens
from . import huggingface, shards

ARCHIVE_SUFFIX = ".tkz.h5"

_FILE_SUFFIXES = (".npy", ".npz", ".h5", ".hdf5")
SUFFIXES = (*_FILE_SUFFIXES, *shards.SUFFIXES)

#: Called with what could not be read and why; the rest goes on.
Failed = Callable[[str, Exception], object]


@dataclass(frozen=True)
class SourceClip:
    """One clip of a source.

    Attributes:
        name: what it will be called in the archive.
        source: the file it comes from.
        nbytes: bytes of the array, about.
        position: how much of all sources has been read with it, 0 to 1.
        load: reads it, or gives a clip of another archive; only until the next clip is asked for.
        attributes: its metadata.
    """

    name: str
    source: str
    nbytes: int
    position: float
    load: Callable[[], np.ndarray[Any, Any] | ArchivedClip]
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Sources:
    """Sources that were found, each a file or a data set's directory.

    Attributes:
        files: in order.
        select: names of arrays in .npz and .h5 files; none means all.
        column: of data sets, where the tokens are; None finds out.
        exclude: path of a file that is none, such as the archive that is being written.
    """

    files: tuple[Source, ...]
    select: tuple[str, ...] = ()
    column: str | None = None
    exclude: str | None = None

    def clips(self, failed: Failed | None = None) -> Iterator[SourceClip]:
        """All clips, one after the other.

        Args:
            failed: called for a source that cannot be read, after which the next one follows;
                without it, the error is raised.
        """
        sizes = [_size(file.path) for file in self.files]
        total = max(1, sum(sizes))
        before = 0
        for file, size in zip(self.files, sizes, strict=True):
            if self.exclude is None or not _same(file.path, self.exclude):
                try:
                    for clip, part in self._clips_of(file):
                        yield SourceClip(
                            clip.name,
                            file.path,
                            clip.nbytes,
                            (before + part * size) / total,
                            clip.load,
                            clip.attributes,
                        )
                except (TokenzipError, OSError, MemoryError) as error:
                    if failed is None:
                        raise
                    failed(file.path, error)
            before += size

    def _clips_of(self, file: Source) -> Iterator[tuple[Any, float]]:
        """Clips of one source, and how much of it has been read with each."""
        path = file.path
        lowered = path.lower()
        if os.path.isdir(path):
            yield from huggingface.clips(path, self.column)
        elif lowered.endswith(ARCHIVE_SUFFIX):
            yield from _clips_of_archive(path)
        elif lowered.endswith(shards.SUFFIXES):
            yield from shards.clips(path)
        else:
            stem = os.path.splitext(file.relative)[0].replace(os.sep, "/")
            done = 0
            size = max(1, _size(path))
            select = self.select if not lowered.endswith(".npy") else ()
            for array in stream_tokens(path, select):
                name = f"{stem}/{array.name.strip('/')}" if array.name else stem
                named = _Named(name, array.nbytes, array.load, array.attributes)
                done += array.nbytes
                yield named, min(1.0, done / size)


@dataclass(frozen=True)
class _Named:
    name: str
    nbytes: int
    load: Callable[[], Any]
    attributes: dict[str, Any]


def find_clips(
    arguments: Sequence[str],
    *,
    select: Sequence[str] = (),
    column: str | None = None,
    exclude: str | None = None,
) -> Sources:
    """The sources that arguments mean: files, directories, patterns, data sets on disk.

    A clip is called as its file below the directory that was named, without suffix; clips of .npz
    and .h5 files have the name of the array behind it; clips of tar shards have their keys.

    Raises FileError if an argument means nothing.
    """
    files: list[Source] = []
    plain: list[str] = []
    for argument in arguments:
        if os.path.isdir(argument) and huggingface.is_dataset(argument):
            files.append(Source(argument, os.path.basename(os.path.normpath(argument))))
        else:
            plain.append(argument)
    if plain:
        files = [*find_sources(plain, SUFFIXES), *files]
    for file in files:
        if not os.path.isdir(file.path) and not file.path.lower().endswith(SUFFIXES):
            raise FileError(
                f"{file.path}: not a source of clips; those are {', '.join(SUFFIXES)} files, "
                "directories of them, and data sets saved by the package datasets"
            )
    return Sources(tuple(files), tuple(select), column, exclude)


def _clips_of_archive(path: str) -> Iterator[tuple[_Named, float]]:
    with open_archive(path) as archive:
        for number, name in enumerate(archive):
            clip = archive[name]
            load = partial(archive.__getitem__, name)
            yield _Named(name, clip.nbytes, load, dict(clip.attrs)), (number + 1) / len(archive)


def _size(path: str) -> int:
    """Bytes of a file, or of all files of a data set."""
    try:
        if os.path.isdir(path):
            return sum(
                os.stat(os.path.join(parent, name)).st_size
                for parent, _, names in os.walk(path)
                for name in names
            )
        return os.stat(path).st_size
    except OSError:
        return 0


def _same(a: str, b: str) -> bool:
    return os.path.realpath(a) == os.path.realpath(b)

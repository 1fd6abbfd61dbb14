"""tokenzip.open."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Literal, overload

from ..codec import Codec
from ..errors import ArchiveError, OptionError
from ..limits import DEFAULT_MAX_TOKENS, Limits
from ..remote import RemoteFile, is_url
from .archive import Archive
from .bytesource import ByteSource, FileSource, ObjectSource

if TYPE_CHECKING:
    from .writer import ArchiveWriter


@overload
def open(
    path: Any, mode: Literal["r"] = "r", *, recover: bool = False, **options: Any
) -> Archive: ...


@overload
def open(
    path: Any, mode: Literal["w", "x", "a"], *, recover: bool = False, **options: Any
) -> ArchiveWriter: ...


def open(
    path: Any,
    mode: str = "r",
    *,
    recover: bool = False,
    max_tokens: int = DEFAULT_MAX_TOKENS,
    threads: int | None = None,
    limits: Limits | None = None,
    storage_options: dict[str, Any] | None = None,
    **options: Any,
) -> Archive:
    """Open an archive: a file (.tkz.h5) of many compressed clips with random access.

        with tokenzip.open("data.tkz.h5", "w", alphabet=1024) as archive:
            archive["drive/1"] = tokens
        archive = tokenzip.open("data.tkz.h5")
        archive["drive/1"][100:200]

    Args:
        path: a path; for reading also a URL that fsspec knows (s3://, https:// ...) or an open
            binary file object that can seek.
        mode: "r" to read; "w" to begin a new archive in place of what is there; "x" to begin one
            where nothing is yet; "a" to add to one, which is begun if it is not there. There are
            any number of readers, also beside a writer, and one writer.
        recover: accept a damaged archive of which clips may be missing; `.problems` says what is
            wrong. Without it that is an ArchiveDamagedError.
        storage_options: of a URL, for fsspec.
        max_tokens, threads, limits: for decoding, as tokenzip.decode has them; the limits on clips
            and JSON hold for opening.
        options: for encoding, as tokenzip.encode has them: alphabet, predictor, chunk_frames ...

    Raises:
        ArchiveError: it cannot be opened: NotAnArchiveError, ArchiveDamagedError,
            ArchiveLockedError (somebody else writes to it), or its system's reason.
        LimitError: it has more clips, or longer JSON, than the limits allow.
        FileExistsRefusedError: mode "x", and there is something.
        OptionError: the mode or an option makes no sense.
        MissingDependencyError: a URL, and fsspec or what it needs for this one is not installed.
    """
    if options.get("solid"):
        raise OptionError("solid is for lists of arrays; the clips of an archive stand alone")
    try:
        codec = Codec(max_tokens=max_tokens, threads=threads, limits=limits, **options)
    except TypeError as error:
        raise OptionError(f"an option that there is not: {error}") from None
    if mode == "r":
        return reopen(_source_of(path, storage_options), codec, recover)
    if mode not in ("w", "x", "a"):
        raise OptionError(f"mode must be 'r', 'w', 'x' or 'a', not {mode!r}")
    if is_url(path):
        raise OptionError(f"{path}: archives are written to files of this machine; copy it then")
    from .writer import ArchiveWriter

    return ArchiveWriter(_path_of(path), mode, codec=codec, recover=recover)


def reopen(source: ByteSource, codec: Codec, recover: bool) -> Archive:
    """An archive for reading; also in the process that a pickled one was sent to."""
    try:
        return Archive(source, codec=codec, recover=recover)
    except BaseException:
        source.close()
        raise


def _source_of(path: Any, storage_options: dict[str, Any] | None) -> ByteSource:
    if is_url(path):
        return RemoteFile(path, storage_options, ArchiveError)
    if hasattr(path, "read") and hasattr(path, "seek"):
        return ObjectSource(str(getattr(path, "name", "") or type(path).__name__), path)
    return FileSource.open(_path_of(path))


def _path_of(path: Any) -> str:
    try:
        text = os.fspath(path)
    except TypeError:
        raise OptionError(
            f"an archive is opened by its path (or a file object, to read), not by {path!r}"
        ) from None
    if isinstance(text, bytes):
        text = os.fsdecode(text)
    if "\0" in text or not text:
        raise ArchiveError(f"{text!r} is no path")
    return str(text)

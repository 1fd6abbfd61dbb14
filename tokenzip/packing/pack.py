"""Clips of sources into an archive."""

from __future__ import annotations

import os
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..archive import ArchivedClip, ArchiveWriter
from ..errors import ArchiveError, ClipExistsError, OptionError, TokenzipError
from .sources import Failed, SourceClip, Sources

#: Far more clips than are ever on their way.
_WAITING = 10_000


@dataclass(frozen=True)
class Progress:
    """How far a pack has come. All that is counted here is in the file, flushed.

    Attributes:
        clips: clips added.
        skipped: clips that were there already.
        failed: clips and sources that could not be packed.
        tokens: tokens of the clips added.
        raw_bytes: their bytes, bit-packed.
        bytes: bytes of their blobs.
        seconds: since the beginning.
        position: how much of the sources is done, 0 to 1.
        clip: name of the newest clip.
    """

    clips: int = 0
    skipped: int = 0
    failed: int = 0
    tokens: int = 0
    raw_bytes: int = 0
    bytes: int = 0
    seconds: float = 0.0
    position: float = 0.0
    clip: str = ""

    @property
    def ratio(self) -> float:
        return self.raw_bytes / self.bytes if self.bytes else 0.0

    @property
    def tokens_per_second(self) -> float:
        return self.tokens / self.seconds if self.seconds else 0.0

    @property
    def seconds_left(self) -> float | None:
        """A guess by how much of the sources is done; None while there is nothing to go by."""
        if not 0 < self.position <= 1:
            return None
        return self.seconds * (1 - self.position) / self.position

    def to_dict(self) -> dict[str, Any]:
        """JSON-able copy."""
        return {
            "clips": self.clips,
            "skipped": self.skipped,
            "failed": self.failed,
            "tokens": self.tokens,
            "raw_bytes": self.raw_bytes,
            "bytes": self.bytes,
            "ratio": self.ratio,
            "bits_per_token": 8 * self.bytes / self.tokens if self.tokens else None,
            "seconds": self.seconds,
            "tokens_per_second": self.tokens_per_second,
        }


#: What a pack came to in the end.
Report = Progress


class _Run:
    """The counts of a pack, while it runs."""

    def __init__(self) -> None:
        self.start = time.perf_counter()
        self.clips = self.skipped = self.failed = 0
        self.tokens = self.raw_bytes = self.bytes = 0
        self.newest = ""
        self.position = 0.0
        self.waiting: dict[str, SourceClip] = {}  # clips on their way

    def add(self, clip: ArchivedClip) -> None:
        self.clips += 1
        self.tokens += clip.size
        self.raw_bytes += clip.raw_bytes
        self.bytes += clip.compressed_bytes
        self.newest = clip.name
        source = self.waiting.pop(clip.name, None)
        self.position = self.position if source is None else source.position

    def now(self, position: float | None = None) -> Progress:
        return Progress(
            self.clips,
            self.skipped,
            self.failed,
            self.tokens,
            self.raw_bytes,
            self.bytes,
            time.perf_counter() - self.start,
            self.position if position is None else position,
            self.newest,
        )


def pack(
    archive: ArchiveWriter,
    sources: Sources,
    *,
    workers: int | None = None,
    executor: Executor | None = None,
    resume: bool = False,
    replace: bool = False,
    verify: bool = False,
    failed: Failed | None = None,
    progress: Callable[[Progress], object] | None = None,
    **options: Any,
) -> Report:
    """Add all clips of some sources to an archive, in their order.

    Args:
        archive: open for writing.
        sources: from find_clips.
        workers, executor: as ArchiveWriter.append has them.
        resume: skip clips that are there already. They are held against the source first (shape,
            dtype and the checksums of the tokens); one that differs has failed.
        replace: put clips in the place of those of the same name.
        verify: decode each clip and compare before it is added.
        failed: called with name and error of each clip, or source, that cannot be packed; the rest
            goes on. Without it the first error is raised.
        progress: called after each clip that was added.
        options: for encoding.

    Raises:
        ArchiveError: the archive cannot be written any more. What was reported as done is in it.
    """
    if resume and replace:
        raise OptionError("resume keeps the clips that are there, replace does not: choose one")
    run = _Run()

    def fail(name: str, error: Exception) -> None:
        run.failed += 1
        source = run.waiting.pop(name, None)
        if failed is None:
            raise error
        failed(name if source is None else _where(source), error)

    def clips() -> Iterator[tuple[str, Any, dict[str, Any]]]:
        for clip in sources.clips(fail):
            name = clip.name
            if len(run.waiting) < _WAITING:
                run.waiting[name] = clip
            try:
                if name in archive and not replace:
                    if not resume:
                        raise ClipExistsError(
                            f"there is a clip {name!r} already; --resume skips those that are the "
                            "same"
                        )
                    _check_same(archive[name], clip.load())
                    run.skipped += 1
                    run.position = clip.position
                    run.waiting.pop(name, None)
                    continue
                tokens = clip.load()
                if isinstance(tokens, ArchivedClip) and not options:
                    # Its bytes are taken over as they are.
                    _add(archive, clip, tokens, replace, run)
                    if progress is not None:
                        progress(run.now())
                    continue
            except (TokenzipError, OSError, MemoryError) as error:
                if isinstance(error, ArchiveError) and archive.closed:
                    raise
                fail(name, error)
                continue
            yield name, tokens, clip.attributes

    def done(clip: ArchivedClip) -> None:
        run.add(clip)
        if progress is not None:
            progress(run.now())

    archive.append(
        clips(),
        workers=workers,
        executor=executor,
        replace=replace,
        verify=verify,
        failed=fail,
        done=done,
        **options,
    )
    archive.flush()
    return run.now(1.0)


def _add(
    archive: ArchiveWriter, clip: SourceClip, tokens: ArchivedClip, replace: bool, run: _Run
) -> None:
    archive.take_models(tokens)
    added = archive.add_blob(clip.name, tokens.blob(), attrs=clip.attributes, replace=replace)
    run.add(added)


def _where(clip: SourceClip) -> str:
    """File and clip, where the file does not say it all."""
    stem = os.path.splitext(clip.source)[0].replace(os.sep, "/")
    return clip.source if stem.endswith(clip.name) else f"{clip.source}: {clip.name}"


def _check_same(there: ArchivedClip, tokens: Any) -> None:
    """Raise ClipExistsError if a clip of the archive has other tokens than its source."""
    same = there.shape == tokens.shape and there.dtype == tokens.dtype
    if same and isinstance(tokens, ArchivedClip):
        same = [c.token_crc for c in there.info.grids[0].chunks] == [
            c.token_crc for c in tokens.info.grids[0].chunks
        ] or np.array_equal(np.asarray(there), np.asarray(tokens))
    elif same:
        same = all(
            _token_crc(tokens[chunk.start : chunk.start + chunk.frames] if there.shape else tokens)
            == chunk.token_crc
            for chunk in there.info.grids[0].chunks
        )
    if not same:
        raise ClipExistsError(
            f"the archive has a clip {there.name!r} with other tokens (or another shape or dtype); "
            "give it another name, or pack anew"
        )


def _token_crc(tokens: np.ndarray[Any, Any]) -> int:
    """As in a blob's chunk table."""
    narrow = np.ascontiguousarray(tokens).astype("<u2")
    if not np.array_equal(narrow, tokens):
        return -1  # no tokens that were ever encoded
    return zlib.crc32(narrow.tobytes())

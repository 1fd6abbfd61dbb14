"""Is everything in an archive as it was written?"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..errors import (
    ArchiveDamagedError,
    ArchiveError,
    BlobError,
    LimitError,
    MissingModelError,
)
from .archive import Archive
from .index import START, BadIndexError, locate, parse_index
from .load import crc_of
from .parallel import OpenedOnce, Work, in_order
from .records import CLIP, HEAD_BYTES, INDEX, KINDS, Record, read_record, walk


@dataclass(frozen=True)
class Finding:
    """What was found about one part of an archive.

    Attributes:
        name: the clip; "" for what belongs to none.
        problem: what is wrong, "" if it is good.
        tokens: tokens of the clip.
        unknown: the clip may be good all the same: a limit, or a model that is elsewhere.
    """

    name: str
    problem: str
    tokens: int = 0
    unknown: bool = False


#: What says nothing about the bytes: something was not allowed, or was not there.
NOT_ITS_FAULT = (LimitError, MissingModelError)

#: Clips that a worker checks at a time.
_TOGETHER = 8


def verify(
    archive: Archive, *, full: bool = False, workers: int | None = None
) -> Iterator[Finding]:
    """Check every byte of an archive, and yield a Finding for each clip in turn.

    What is wrong outside of the clips (the first page, an index, a model) comes last.

    Args:
        archive: an archive; open a damaged one with recover=True.
        full: decode every clip as well, which also tells a faulty encoder.
        workers: processes that do so; None is this one.
    """
    source = archive._source
    names = list(archive)
    if workers is None:
        for name in names:
            yield _clip(archive, name, full)
    else:
        shared = OpenedOnce(archive)
        pieces = (
            Work(names[start], check_clips, (shared, names[start : start + _TOGETHER], full))
            for start in range(0, len(names), _TOGETHER)
        )
        for outcome in in_order(pieces, workers=workers):
            if outcome.error is not None:
                raise outcome.error
            yield from outcome.value
    size = source.size()
    for problem in archive.problems:
        yield Finding("", problem)
    if archive.problems:
        return
    heads = _heads_of_clips(archive)
    end = START
    known = archive._contents.end
    for item in walk(source, START, min(size, known)):
        if isinstance(item, tuple):
            # Damaged heads of clips have been named; what remains is said here.
            if not any(item[0] <= head < item[1] for head in heads):
                yield Finding("", f"bytes {item[0]:,} to {item[1]:,} are damaged")
            end = item[1]
            continue
        end = item.end
        problem = _outside(archive, item)
        if problem:
            yield Finding("", problem)
    yield from _first_page(archive, size)
    if end < known:
        yield Finding("", f"the file ends at {end:,}, {known:,} bytes were expected")


def check_clips(shared: OpenedOnce, names: list[str], full: bool) -> list[Finding]:
    """What workers do."""
    return [_clip(shared.archive, name, full) for name in names]


def _clip(archive: Archive, name: str, full: bool) -> Finding:
    entry = archive._contents.entry(name)
    clip = archive[name]
    try:
        start = entry.offset - entry.attributes - len(name.encode()) - HEAD_BYTES
        size = archive._source.size()
        record = read_record(archive._source, start, size) if start >= START else None
        if record is None or record.name != name or record.body_start != entry.offset:
            raise ArchiveDamagedError("the head of its record is damaged")
        if entry.length != record.body or entry.crc != record.body_crc:
            raise ArchiveDamagedError("the index and the record do not agree")
        if crc_of(archive._source, entry.offset, entry.length) != entry.crc:
            raise ArchiveDamagedError("wrong CRC-32")
        clip.attrs  # noqa: B018  - they are JSON
        clip.info  # noqa: B018  - the blob is what the index says
        if full:
            np.asarray(clip)
    except (ArchiveError, BlobError, MissingModelError) as error:
        text = str(error).removeprefix(f"{archive.name}: clip {name!r}: ")
        return Finding(name, text, clip.size, unknown=isinstance(error, NOT_ITS_FAULT))
    return Finding(name, "", clip.size)


def _heads_of_clips(archive: Archive) -> list[int]:
    entries = (archive._contents.entry(name) for name in archive)
    return [e.offset - e.attributes - len(e.name.encode()) - HEAD_BYTES for e in entries]


def _outside(archive: Archive, record: Record) -> str:
    """What is wrong with a record that is no clip of the archive, "" if nothing."""
    if (
        record.kind == CLIP
        and record.name in archive
        and archive._contents.entry(record.name).offset == record.body_start
    ):
        return ""
    if crc_of(archive._source, record.body_start, record.body) == record.body_crc:
        return ""
    what = {
        CLIP: f"the removed clip {record.name!r}",
        INDEX: "an index",
    }.get(record.kind, f"a record of kind {KINDS.index(record.kind) + 1}")
    return f"{what} at byte {record.start:,} is damaged: wrong CRC-32"


def _first_page(archive: Archive, size: int) -> Iterator[Finding]:
    """Superblock and locator: what other programs find the index by."""
    from .index import first_page

    source = archive._source
    try:
        start, clips = locate(source, size)
        record = read_record(source, start, size)
        if record is None or record.kind != INDEX:
            return
        body = source.read_at(record.body_start, record.body)
        if zlib.crc32(body) != record.body_crc:
            return
        parse_index(body, start)
        root = int.from_bytes(body[24:32], "little")
    except BadIndexError as error:
        yield Finding("", str(error))
        return
    if source.read_at(0, START) != first_page(start, clips, record.end, root):
        yield Finding("", "the first page is damaged, or another program has changed the file")

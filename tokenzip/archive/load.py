"""From the bytes of an archive to its contents: by the index, then record by record.

What was written after the last index (by a process that was killed, or is still at it) is found by
walking on from there. Where the index itself is missing or damaged, all records are walked.
"""

from __future__ import annotations

import zlib

from ..blob import BlobInfo, BlobSource
from ..codec import inspect
from ..errors import ArchiveDamagedError, ArchiveError, BlobError, NotAnArchiveError
from ..limits import DEFAULTS, Limits
from .bytesource import ByteSource
from .contents import Contents, Entry, Kind
from .index import START, BadIndexError, is_archive, locate, read_index
from .records import (
    ATTRIBUTES,
    CLIP,
    INDEX,
    MODEL,
    REMOVAL,
    REPLACES,
    VOID,
    Record,
    parse_attributes,
    walk,
)

_PIECE = 1 << 20


def load(
    source: ByteSource,
    *,
    recover: bool = False,
    check: bool = False,
    limits: Limits = DEFAULTS,
) -> Contents:
    """What is in an archive.

    Args:
        source: its bytes.
        recover: accept an archive of which clips may be missing.
        check: hold what was written after the last index against its checksums. Without this, only
            the heads of records are checked, and damaged clips show when they are read.
        limits: of which `clips` and `json_bytes` count.

    Raises:
        NotAnArchiveError: the file is something else.
        ArchiveDamagedError: clips may be missing, and `recover` is not set.
        LimitError: it has more clips, or longer JSON, than the limits allow.
    """
    size = source.size()
    head = source.read_at(0, START + 4)
    if not is_archive(head):
        raise NotAnArchiveError(_what_it_is(source.name, head))
    announced: int | None = None
    index = 0
    problems = []
    try:
        index, announced = locate(source, size)
        contents, _ = read_index(source, index, size, limits)
    except BadIndexError as error:
        problems.append(str(error))
        contents = Contents(end=START)
    # Up to the index it is known how many clips there are.
    found = _follow(source, contents, size, counted=index, check=check, limits=limits)
    if problems and announced is not None and (found != announced or size < index):
        contents.lost = True
        problems.append(f"of {announced:,} clips {found:,} were found")
    contents.problems[:0] = problems
    if contents.lost and not recover:
        raise ArchiveDamagedError(
            f"{source.name}: {'; '.join(contents.problems)}. {len(contents):,} clips can be read: "
            "open it with recover=True (command line: --recover)",
            problems=tuple(contents.problems),
        )
    return contents


def blob_source(source: ByteSource, offset: int, length: int) -> BlobSource:
    """The blob at this place of an archive, to be read piece by piece."""
    return BlobSource(length, lambda a, b: source.read_at(offset + a, b - a))


def crc_of(source: ByteSource, start: int, count: int) -> int | None:
    """CRC-32 of a part of the file, read in pieces; None if the file is shorter."""
    crc = 0
    while count > 0:
        piece = source.read_at(start, min(count, _PIECE))
        if not piece:
            return None
        crc = zlib.crc32(piece, crc)
        start += len(piece)
        count -= len(piece)
    return crc


def single_grid(info: BlobInfo) -> BlobInfo:
    """The same, or ArchiveError if it is a list of arrays."""
    if info.is_list:
        raise ArchiveError("a clip of an archive is one array, and this blob is a list of arrays")
    return info


def _follow(
    source: ByteSource,
    contents: Contents,
    size: int,
    *,
    counted: int,
    check: bool,
    limits: Limits,
) -> int:
    """Apply the records from `contents.end` on. What is damaged behind `counted` may be clips.

    Returns how many clips there were up to `counted`, which is 0 if nobody knows where to count.
    """
    gap: tuple[int, int] | None = None
    kind = 0
    found: int | None = None
    for item in walk(source, contents.end, size):
        if isinstance(item, tuple):
            gap = item
            continue
        if item.start >= counted and found is None:
            found = len(contents)
        if gap is not None:
            # Something whole stands behind it, so it is no unfinished end.
            contents.lost |= gap[1] > counted
            contents.ruins.append(gap)
            contents.problems.append(f"bytes {gap[0]:,} to {gap[1]:,} are damaged")
            gap = None
        limits.check("clips", len(contents) + (item.kind == CLIP), f"clips of {source.name}")
        if item.kind == ATTRIBUTES:
            limits.check("json_bytes", item.attributes, f"bytes of attributes in {source.name}")
        problem = None
        if check and crc_of(source, item.body_start, item.body) != item.body_crc:
            contents.ruins.append((item.start, item.end))
            problem = "wrong CRC-32"
        if item.kind in (INDEX, VOID):
            problem = None  # it says nothing that the records before it did not
        elif problem is None:
            try:
                _apply(source, contents, item)
            except (ArchiveError, BlobError) as error:
                problem = str(error)
        if problem is not None:
            contents.lost = True
            what = f"clip {item.name!r}" if item.kind == CLIP else "a record"
            contents.problems.append(f"{what} at byte {item.start:,} is damaged: {problem}")
        contents.end, kind = item.end, item.kind
    # A gap at the very end is what was being written when the process was killed. But where nothing
    # says where the last index was, only an index at the end says that the file was not cut off.
    if not counted and (gap is not None or kind != INDEX):
        contents.lost = True
        contents.problems.append(f"the file may be cut off at {contents.end:,}")
    return len(contents) if found is None else found


def _apply(source: ByteSource, contents: Contents, record: Record) -> None:
    name = record.name
    if record.kind == CLIP:
        if name in contents and not record.flags & REPLACES:
            raise ArchiveError(f"there are two clips {name!r}")
        blob = blob_source(source, record.body_start, record.body)
        info = single_grid(inspect(blob))
        contents.add(
            Entry(
                name,
                record.body_start,
                record.body,
                info.grids[0].frames,
                Kind.of(info),
                record.body_crc,
                record.attributes,
            )
        )
    elif record.kind == ATTRIBUTES:
        text = source.read_at(record.attributes_start, record.attributes)
        attributes = parse_attributes(text, f"clip {name!r}" if name else "the archive")
        if not name:
            contents.attrs = attributes
        elif name in contents:
            contents.changed[name] = attributes
    elif record.kind == REMOVAL:
        if name in contents:
            contents.remove(name)
    else:
        assert record.kind == MODEL
        contents.models[name] = (record.body_start, record.body, record.body_crc)


def _what_it_is(name: str, head: bytes) -> str:
    if not head:
        return f"{name}: empty, not an archive"
    if head.startswith(b"\x89HDF"):
        return (
            f"{name}: an HDF5 file, but not an archive of tokenzip's; "
            "make one of it with tokenzip pack"
        )
    if head.startswith(b"\xf7TK"):
        return f"{name}: a .tkz file, not an archive; tokenzip decompress restores it"
    return f"{name}: not an archive of tokenzip's"

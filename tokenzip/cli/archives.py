"""What `verify` and `info` do with archives."""

from __future__ import annotations

import os
import stat
import time
from collections import Counter
from typing import Any

from .. import archive as archives
from ..archive.index import START, is_archive
from ..codec import Codec
from ..errors import ArchiveDamagedError, TokenzipError, UncheckedError
from .limits import by_option
from .session import Session, printable

ARCHIVE_SUFFIX = ".tkz.h5"

_SHOWN_PROBLEMS = 20


def is_archive_file(path: str) -> bool:
    """Whether a file is an archive, by its first bytes; whatever else is wrong shows later."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return False
        with open(path, "rb") as file:
            return is_archive(file.read(START + 4))
    except OSError:
        return False


def verify_archive(
    session: Session, path: str, codec: Codec, *, fast: bool, workers: int | None
) -> dict[str, Any]:
    """Check an archive and say what is bad.

    Raises TokenzipError at the end if anything is, UncheckedError if nobody knows.
    """
    start = time.perf_counter()
    tokens = clips = 0
    bad: list[dict[str, str]] = []
    unchecked: list[dict[str, str]] = []
    limits, threads = codec.allowed, codec.threads
    with archives.open(path, recover=True, limits=limits, threads=threads) as archive:
        for finding in archives.verify(archive, full=not fast, workers=workers):
            if finding.name:
                clips += 1
                tokens += finding.tokens
            if finding.problem:
                what = f"clip {finding.name}" if finding.name else "(archive)"
                text = by_option(finding.problem)
                found = unchecked if finding.unknown else bad
                found.append({"source": path, "clip": finding.name, "problem": text})
                report_problem(session, f"{path}: {what}: {text}", unknown=finding.unknown)
    seconds = time.perf_counter() - start
    session.collect("unchecked", unchecked)
    session.collect("problems", bad)
    if bad:
        damaged = sum(1 for item in bad if item["clip"])
        raise ArchiveDamagedError(
            f"{path}: {damaged:,} of {clips:,} clips are bad"
            + (", and parts outside of the clips" if damaged < len(bad) else ""),
            problems=tuple(item["problem"] for item in bad),
        )
    if unchecked:
        raise UncheckedError(f"{path}: {len(unchecked):,} of {clips:,} clips could not be checked")
    if not session.quiet:
        how = "checksums" if fast else "decoded"
        session.report(f"OK   {printable(path)}: {clips:,} clips, {tokens:,} tokens, {how}")
    return {
        "source": path,
        "clips": clips,
        "tokens": tokens,
        "decoded": not fast,
        "bytes": os.path.getsize(path),
        "seconds": seconds,
    }


def report_problem(session: Session, text: str, *, unknown: bool) -> None:
    """Say that something is bad, or that nobody knows: it may be as good as new."""
    session.report(f"{'?   ' if unknown else 'BAD '} {printable(text)}")


def info_of_archive(session: Session, path: str, *, chunks: bool) -> dict[str, Any]:
    """Show what is in an archive. Raises TokenzipError."""
    size = os.path.getsize(path)
    with archives.open(path, recover=True) as archive:
        clips = list(archive.values())
        tokens = sum(clip.size for clip in clips)
        raw = sum(clip.raw_bytes for clip in clips)
        blobs = sum(clip.compressed_bytes for clip in clips)
        kinds = Counter(
            ("x".join(map(str, clip.shape[1:])) or "-", str(clip.dtype), clip.alphabet,
             clip.predictor)
            for clip in clips
        )  # fmt: skip
        fields: dict[str, Any] = {
            "clips": len(clips),
            "tokens": tokens,
            "raw_bytes": raw,
            "blob_bytes": blobs,
            "bytes": size,
            "ratio": raw / size,
            "bits_per_token": 8 * size / tokens if tokens else None,
            "attrs": dict(archive.attrs),
            "models": {name: len(archive.models[name]) for name in archive.models},
            "problems": list(archive.problems),
        }
        entry: dict[str, Any] = {"source": path, "archive": fields}
        if chunks:
            fields["chunks"] = {clip.name: clip.info.grids[0].to_dict()["chunks"] for clip in clips}
        if archive.incomplete:
            session.failed = True
        if session.json:
            return entry
        from .info import _table

        table = _table(printable(path), "field", "value")
        for name, value in (
            ("clips", f"{len(clips):,}"),
            ("tokens", f"{tokens:,}"),
            ("bit-packed", f"{raw:,} bytes"),
            ("compressed", f"{size:,} bytes"),
            ("of which container", f"{size - blobs:,} bytes"),
            ("ratio", f"{raw / size:.3f}"),
            ("bits/token", f"{8 * size / tokens:.3f}" if tokens else "-"),
            ("models", ", ".join(fields["models"]) or "none"),
            *((f"attribute {key}", str(value)) for key, value in archive.attrs.items()),
            *(("problem", text) for text in archive.problems[:_SHOWN_PROBLEMS]),
        ):
            table.add_row(printable(name), printable(value))
        session.stdout.print(table)
        shapes = _table("clips by kind", "frame", "dtype", "alphabet", "predictor", "clips")
        for (frame, dtype, alphabet, predictor), count in kinds.most_common(24):
            shapes.add_row(frame, dtype, f"{alphabet:,}", predictor, f"{count:,}")
        session.stdout.print(shapes)
        if chunks:
            _show_chunks(session, clips)
    return entry


def _show_chunks(session: Session, clips: list[archives.ArchivedClip]) -> None:
    from .info import _SHOWN_ROWS, _more, _table

    table = _table("chunks", "clip", "kind", "first frame", "frames", "offset in blob", "bytes")
    count = 0
    for clip in clips:
        try:
            found = clip.info.grids[0].chunks
        except TokenzipError:
            continue
        for chunk in found:
            count += 1
            if count <= _SHOWN_ROWS:
                table.add_row(
                    printable(clip.name),
                    chunk.kind,
                    f"{chunk.start:,}",
                    f"{chunk.frames:,}",
                    f"{chunk.offset:,}",
                    f"{chunk.bytes:,}",
                )
    session.stdout.print(table)
    _more(session, count)


__all__ = [
    "ARCHIVE_SUFFIX",
    "info_of_archive",
    "is_archive_file",
    "report_problem",
    "verify_archive",
]

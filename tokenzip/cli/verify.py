"""`tokenzip verify`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from ..archive.check import NOT_ITS_FAULT
from ..codec import Codec
from ..errors import UncheckedError
from ..files.find import Source
from ..files.formats import COMPRESSED_SUFFIX
from .archives import (
    ARCHIVE_SUFFIX,
    is_archive_file,
    report_problem,
    verify_archive,
)
from .compiling import warm_up
from .loading import decode_all, load, members_of
from .session import Session, error_text, printable
from .targets import sources_of
from .work import each


def verify(
    session: Session,
    arguments: Sequence[str],
    codec: Codec,
    *,
    fast: bool = False,
    workers: int | None = None,
) -> int:
    """Decode the files that `arguments` mean and drop the tokens; 1 if any cannot be decoded.

    Args:
        fast: of archives, verify the checksums and decode nothing.
        workers: processes for the clips of archives.
    """
    sources = sources_of(arguments, (COMPRESSED_SUFFIX, ARCHIVE_SUFFIX))
    if not fast and workers is None:
        warm_up(session, codec)

    def work(source: Source) -> Iterator[dict[str, Any]]:
        if is_archive_file(source.path):
            yield verify_archive(session, source.path, codec, fast=fast, workers=workers)
            return
        start = time.perf_counter()
        compressed = load(source.path, codec.allowed)
        members_of(compressed)
        tokens = sum(array.size for array in decode_all(compressed, codec))
        seconds = time.perf_counter() - start
        if not session.quiet:
            session.report(f"OK   {printable(source.path)}: {tokens:,} tokens")
        yield {
            "source": source.path,
            "tokens": tokens,
            "bytes": compressed.size,
            "decode_seconds": seconds,
        }

    def bad(source: Source, error: BaseException) -> None:
        text = error_text(error).removeprefix(f"{printable(source.path)}: ")
        unknown = isinstance(error, (*NOT_ITS_FAULT, UncheckedError))
        report_problem(session, f"{source.path}: {text}", unknown=unknown)

    return each(session, sources, lambda s: s.path, work, show_failures=session.json, failed=bad)

"""`tokenzip unpack` and `tokenzip extract`."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import archive as archives
from ..errors import ClipNotFoundError, OptionError
from ..files.atomic import check_target
from ..files.formats import format_of_suffix
from ..files.write import write_arrays, write_tokens
from ..limits import Limits
from ..packing.sources import ARCHIVE_SUFFIX
from ..packing.unpack import choose
from ..packing.unpack import unpack as run_unpack
from .compiling import warm_up
from .progress import progress_bar
from .session import Session, binary_stdout, printable
from .targets import STDOUT, make_parents


def unpack(
    session: Session,
    path: str,
    patterns: Sequence[str],
    *,
    output: str | None,
    force: bool,
    workers: int | None,
    recover: bool,
    limits: Limits,
) -> int:
    """Restore the clips of an archive; returns the exit code."""
    target = output or _default_directory(path)
    start = time.perf_counter()
    tokens = 0
    with archives.open(path, recover=recover, limits=limits) as archive:
        say_problems(session, archive)
        names = choose(archive, patterns)
        if workers is None:
            warm_up(session)
        with progress_bar(session, len(names)) as bar:

            def done(name: str, file: str, count: int) -> None:
                nonlocal tokens
                tokens += count
                bar.start(printable(name))
                bar.advance()

            def failed(name: str, error: Exception) -> None:
                bar.advance()
                session.fail(error, name)

            count = run_unpack(
                archive,
                target,
                names=names,
                workers=workers,
                force=force,
                failed=failed,
                done=done,
            )
    seconds = time.perf_counter() - start
    session.say(
        f"{printable(path)} -> {printable(target)}: {count:,} clips, {tokens:,} tokens, "
        f"{seconds:.1f} s"
    )
    session.result(
        {
            "source": path,
            "output": target,
            "clips": count,
            "tokens": tokens,
            "seconds": seconds,
        }
    )
    return session.finish()


def extract(
    session: Session,
    path: str,
    clip: str,
    *,
    output: str | None,
    force: bool,
    recover: bool,
    limits: Limits,
) -> int:
    """Restore one clip, or some of its frames; returns the exit code."""
    if output == STDOUT:
        binary_stdout()
        if session.json:
            raise OptionError("--json and the tokens both want standard output; use -o FILE")
    with archives.open(path, recover=recover, limits=limits) as archive:
        say_problems(session, archive)
        name, frames = _parse_clip(archive, clip)
        target = output or name.rpartition("/")[2] + ".npy"
        if target != STDOUT:
            make_parents(target)
            check_target(target, force=force)
        warm_up(session)
        start = time.perf_counter()
        try:
            array = np.asarray(archive[name][frames])
        except IndexError as error:
            raise OptionError(str(error)) from error
        seconds = time.perf_counter() - start
        kind = (None if target == STDOUT else format_of_suffix(target)) or "npy"
        label = name if kind in ("npz", "h5") else ""
        if target == STDOUT:
            stream = binary_stdout()
            write_arrays(stream, [("", array)], kind)
            stream.flush()
        else:
            write_tokens(target, [(label, array)], kind=kind, force=force)
    if target != STDOUT:
        session.say(
            f"{printable(path)}: {printable(clip)} -> {printable(target)}: {array.size:,} tokens, "
            f"{seconds:.2f} s"
        )
    session.result(
        {
            "source": path,
            "clip": name,
            "output": target,
            "shape": list(array.shape),
            "tokens": array.size,
            "seconds": seconds,
        }
    )
    return session.finish()


def say_problems(session: Session, archive: archives.Archive) -> None:
    """Notes about damage; that clips are missing is a failure."""
    for problem in archive.problems:
        session.note(f"{printable(archive.name)}: {printable(problem)}")
    if archive.incomplete:
        session.failed = True


def _parse_clip(archive: archives.Archive, text: str) -> tuple[str, Any]:
    """Name and frames from NAME, NAME:A or NAME:A:B."""
    if text in archive:
        return text, slice(None)
    match = re.fullmatch(r"(.+?):(-?\d*)(:(-?\d*))?", text)
    if match is None or (not match[3] and not match[2]) or match[1] not in archive:
        raise ClipNotFoundError(
            f"{archive.name}: no clip {text!r}; tokenzip ls lists them, and NAME:A:B chooses frames"
        )
    if not match[3]:
        return match[1], int(match[2])
    ends = (int(end) if end else None for end in (match[2], match[4]))
    return match[1], slice(*ends)


def _default_directory(path: str) -> str:
    if path.lower().endswith(ARCHIVE_SUFFIX):
        return path[: -len(ARCHIVE_SUFFIX)]
    stem = os.path.splitext(path)[0]
    if stem == path:
        raise OptionError("name the directory with -o")
    return stem

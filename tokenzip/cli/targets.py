"""Where results go: the rules behind -o."""

from __future__ import annotations

import os
from collections.abc import Sequence

from ..errors import FileError, OptionError
from ..files.atomic import check_target
from ..files.find import Source, find_sources
from ..files.formats import (
    COMPRESSED_SUFFIX,
    SUFFIXES,
    Format,
    format_of_suffix,
    suffix_of,
)
from ..files.read import STDIN
from ..files.reasons import os_error_text
from .session import check_stdin

STDOUT = "-"


def sources_of(arguments: Sequence[str], suffixes: Sequence[str]) -> list[Source]:
    """The files that the arguments mean; standard input only alone, and not from a terminal."""
    sources = find_sources(arguments, suffixes)
    if len(sources) > 1 and any(source.path == STDIN for source in sources):
        raise OptionError("'-' (standard input) cannot be combined with other sources")
    if sources[0].path == STDIN:
        check_stdin()
    return sources


def is_directory_target(output: str | None, arguments: Sequence[str], count: int) -> bool:
    """Whether -o names a directory: it is one, ends like one, or there are several results."""
    if output is None or output == STDOUT:
        return False
    return (
        count > 1
        or len(arguments) > 1
        or os.path.isdir(arguments[0])
        or os.path.isdir(output)
        or output.endswith(("/", os.sep))
    )


def refuse_shared_stdout(output: str | None, count: int) -> None:
    """Several results in one stream could not be told apart."""
    if output == STDOUT and count > 1:
        raise OptionError("several results do not go into one standard output; use -o DIRECTORY")


def compressed_target(source: Source, output: str | None, in_directory: bool) -> str:
    """Where the compressed form of `source` goes."""
    if output is not None and not in_directory:
        return output
    if source.path == STDIN:
        if output is None:
            return STDOUT
        return os.path.join(output, "stdin" + COMPRESSED_SUFFIX)
    if output is None:
        return source.path + COMPRESSED_SUFFIX
    return os.path.join(output, source.relative + COMPRESSED_SUFFIX)


def stem_of(name: str) -> str:
    """`name` without .tkz. Raises FileError if it does not end so."""
    stem, suffix = os.path.splitext(name)
    if suffix.lower() != COMPRESSED_SUFFIX or not os.path.basename(stem):
        raise FileError(f"{name}: does not end in {COMPRESSED_SUFFIX}; name the output with -o")
    return stem


def with_format(name: str, kind: Format, *, as_is: bool) -> str:
    """`name` with a suffix that says `kind`: kept, exchanged or appended.

    `as_is` is for names that are known to have belonged to a file of this format.
    """
    known = format_of_suffix(name)
    if known == kind or (as_is and known is None):
        return name
    stem, suffix = os.path.splitext(name)
    return (stem if suffix.lower() in SUFFIXES else name) + suffix_of(kind)


class Targets:
    """Targets of this run, so that two sources never write one file, --force or not."""

    def __init__(self) -> None:
        self._taken: dict[str, str] = {}

    def claim(self, target: str, source: str) -> None:
        """Raise FileError if another source of this run writes `target`."""
        place = os.path.realpath(target)
        other = self._taken.setdefault(place, source)
        if other != source:
            raise FileError(f"{source}: {target} is already the output of {other}")


def check_early(target: str, *, force: bool) -> None:
    """Raise what writing `target` would raise, as far as that is known before any work is done.

    Directories that are missing are made only when there is something to put into them.
    """
    if os.path.isdir(os.path.dirname(target) or "."):
        check_target(target, force=force)


def remove_source(path: str) -> None:
    """Remove a file whose content is now elsewhere (--rm). Raises FileError."""
    try:
        os.unlink(path)
    except OSError as error:
        raise FileError(f"{path}: cannot be removed: {os_error_text(error)}") from error


def make_parents(target: str) -> None:
    """Create the directories above `target`. Raises FileError."""
    parent = os.path.dirname(target)
    try:
        if parent:
            os.makedirs(parent, exist_ok=True)
    except OSError as error:
        raise FileError(f"{parent}: cannot be created: {os_error_text(error)}") from error

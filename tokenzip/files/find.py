"""Arguments of a command line into files: names, directories, shell patterns."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import FileError
from .read import STDIN
from .reasons import os_error_text


@dataclass(frozen=True)
class Source:
    """One file to work on.

    Attributes:
        path: the file, or "-".
        relative: where it lies below the argument that named it, with the system's separators;
            output directories mirror this.
    """

    path: str
    relative: str


def _walk(directory: str, suffixes: Sequence[str]) -> list[str]:
    """Files below `directory` with one of `suffixes`, sorted; no linked directory is entered."""

    def refuse(error: OSError) -> None:
        raise FileError(f"{error.filename}: cannot be read: {os_error_text(error)}") from error

    found: list[str] = []
    for parent, directories, files in os.walk(directory, onerror=refuse):
        directories.sort()
        found += [
            os.path.join(parent, name)
            for name in sorted(files)
            if name.lower().endswith(tuple(suffixes)) and not name.startswith(".")
        ]
    return found


def find_sources(arguments: Sequence[str], suffixes: Sequence[str]) -> list[Source]:
    """The files that `arguments` mean, in order, each once.

    A directory means the files below it with one of `suffixes` (hidden ones excepted). A pattern
    (*, ?, [...], ** for any depth) that is no file's name is expanded here, for shells that did
    not. Raises FileError if an argument means nothing.
    """
    sources: list[Source] = []
    single = len(arguments) == 1
    for argument in arguments:
        if argument == STDIN:
            sources.append(Source(STDIN, STDIN))
        elif os.path.isdir(argument):
            found = _walk(argument, suffixes)
            if not found:
                raise FileError(
                    f"{argument}: no {', '.join(suffixes)} file in this directory or below"
                )
            # One directory: its content is mirrored. Several arguments: its name too, as cp does.
            base = argument if single else os.path.dirname(os.path.abspath(argument))
            sources += [Source(path, os.path.relpath(path, base)) for path in found]
        elif glob.has_magic(argument) and not os.path.lexists(argument):
            matches = sorted(p for p in glob.glob(argument, recursive=True) if os.path.isfile(p))
            if not matches:
                raise FileError(f"{argument}: no file matches this pattern")
            base = _fixed_part(argument)
            sources += [Source(path, os.path.relpath(path, base)) for path in matches]
        else:
            sources.append(Source(argument, os.path.basename(argument)))
    return list({source.path: source for source in sources}.values())


def _fixed_part(pattern: str) -> str:
    """The directory of a pattern up to its first wildcard."""
    parts = pattern.split(os.sep)
    fixed = next(i for i, part in enumerate(parts) if glob.has_magic(part))
    return os.sep.join(parts[:fixed]) or (os.sep if pattern.startswith(os.sep) else ".")

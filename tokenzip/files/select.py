"""Which arrays of a file with several are wanted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from ..errors import FileError, FileFormatError

_SHOWN = 8


def listing(names: Sequence[str]) -> str:
    """A few of `names` for an error message, and how many more there are."""
    shown = ", ".join(names[:_SHOWN])
    rest = len(names) - _SHOWN
    return f"{shown} and {rest} more" if rest > 0 else shown or "nothing"


class ArraySelection:
    """Names, group paths or patterns that a caller gave, matched against the names in one file.

    A pattern wants a name if it equals it, is a group above it (`clips` wants `clips/a/tokens`),
    or matches it as a shell pattern (`clips/*/tokens`). No pattern at all wants everything.
    """

    def __init__(self, file: str, patterns: Sequence[str], *, what: str) -> None:
        self._file = file
        self._patterns = [pattern.strip("/") or "*" for pattern in patterns]
        self._what = what
        self._names: list[str] = []

    def _matches(self, pattern: str, name: str) -> bool:
        return name == pattern or name.startswith(pattern + "/") or fnmatchcase(name, pattern)

    def wants(self, name: str) -> bool:
        """Whether any pattern wants `name`."""
        return not self._patterns or any(self._matches(p, name) for p in self._patterns)

    def names_exactly(self, name: str) -> bool:
        """Whether `name` itself was asked for, so that leaving it out would not be honest."""
        return name in self._patterns

    def offer(self, names: Iterable[str]) -> None:
        """Tell all names of the file. Raises FileError for a pattern that wants none of them."""
        self._names = list(names)
        for pattern in self._patterns:
            if not any(self._matches(pattern, name) for name in self._names):
                raise FileError(
                    f"{self._file}: no {self._what} {pattern!r}; "
                    f"the file holds {listing(self._names)}"
                )

    def check_found(self, found: Sequence[object], left_out: Sequence[str]) -> None:
        """Raise FileFormatError if nothing usable was found."""
        if not found:
            raise FileFormatError(
                f"{self._file}: no integer {self._what} in it; the file holds {listing(left_out)}"
            )

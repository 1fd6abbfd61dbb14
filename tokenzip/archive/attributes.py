"""Metadata as a mapping of JSON values, of which every change goes into the archive."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any

from ..errors import ArchiveError


class Attributes(MutableMapping[str, Any]):
    """Attributes of an archive or of a clip.

    Values are what JSON holds: text, numbers, bools, None, lists, dicts. What is read is a copy; to
    change something inside a value, assign the whole value anew.
    """

    def __init__(
        self, values: dict[str, Any], save: Callable[[dict[str, Any]], dict[str, Any]] | None
    ) -> None:
        """
        Args:
            values: the attributes now.
            save: writes all of them and returns them as they will be read; None: read-only.
        """
        self._values = values
        self._save = save

    def __getitem__(self, key: str) -> Any:
        value = self._values[key]
        return json.loads(json.dumps(value)) if isinstance(value, (dict, list)) else value

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __setitem__(self, key: str, value: Any) -> None:
        self._change({**self._values, key: value})

    def __delitem__(self, key: str) -> None:
        values = dict(self._values)
        del values[key]
        self._change(values)

    def update(self, *others: Any, **more: Any) -> None:
        """As dict.update, in a single step."""
        self._change({**self._values, **dict(*others, **more)})

    def clear(self) -> None:
        self._change({})

    def __repr__(self) -> str:
        return repr(self._values)

    def _change(self, values: dict[str, Any]) -> None:
        if self._save is None:
            raise ArchiveError(
                "the archive is open for reading; open it with mode 'a' to change it"
            )
        self._values = self._save(values)

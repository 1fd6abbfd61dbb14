"""Tables in Markdown, printed row by row as they are measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


class Table:
    """Begins with the columns."""

    def __init__(self, heading: str, columns: Sequence[str]) -> None:
        self._heading, self._lines = heading, list[str]()
        self.add(columns)
        self.add(["---"] * len(columns))

    def add(self, cells: Sequence[str]) -> None:
        """Another row."""
        self._lines.append("| " + " | ".join(cells) + " |")
        print(self._lines[-1], flush=True)

    def save(self, path: str | None) -> None:
        """Write the table, under its heading, to this file, if there is one."""
        if path:
            target = Path(path)
            target.parent.mkdir(parents=True, exist_ok=True)
            text = "\n".join([f"## {self._heading}", "", *self._lines, ""])
            target.write_text(text, encoding="utf-8")

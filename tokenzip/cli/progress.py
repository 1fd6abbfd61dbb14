"""A progress bar on standard error, for somebody who watches long work."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from .session import Session


class Bar:
    """Counts files. Without a terminal all of it does nothing."""

    def __init__(self, progress: Progress | None, task: TaskID | None) -> None:
        self._progress = progress
        self._task = task

    def start(self, name: str) -> None:
        """Show what is being worked on."""
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, description=name)

    def advance(self) -> None:
        """One file more is done."""
        if self._progress is not None and self._task is not None:
            self._progress.advance(self._task)


@contextlib.contextmanager
def progress_bar(session: Session, files: int, *, wanted: bool = True) -> Iterator[Bar]:
    """A bar over `files` files on a terminal, gone when the work is done."""
    if not wanted or not session.interactive:
        yield Bar(None, None)
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = [SpinnerColumn(), TextColumn("{task.description}", markup=False)]
    if files > 1:
        columns += [BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()]
    columns.append(TimeElapsedColumn())
    # Not redirected: rich would print what goes to standard output on standard error.
    with Progress(
        *columns,
        console=session.stderr,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    ) as shown:
        yield Bar(shown, shown.add_task("", total=files))

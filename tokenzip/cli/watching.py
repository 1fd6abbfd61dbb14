"""How far a training run is: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .session import Session

if TYPE_CHECKING:
    from rich.progress import Progress as Shown
    from rich.progress import TaskID

    from ..training.loop import Progress

#: Seconds between two lines where nobody watches a bar.
_LINE_SECONDS = 60.0


@contextlib.contextmanager
def watch(session: Session, what: str = "reading the data") -> Iterator[Any]:
    """A function that shows progress; a bar says `what` before there is any."""
    if not session.interactive:
        yield _Lines(session)
        return
    from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn

    with Progress(
        SpinnerColumn(),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.description}", markup=False),
        console=session.stderr,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    ) as shown:
        yield _Bar(shown, shown.add_task(what, total=1.0))


class _Bar:
    def __init__(self, shown: Shown, task: TaskID) -> None:
        self._shown, self._task = shown, task

    def __call__(self, progress: Progress) -> None:
        self._shown.update(self._task, completed=progress.fraction, description=describe(progress))


class _Lines:
    def __init__(self, session: Session) -> None:
        self._session, self._last = session, time.monotonic()

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if progress.validated or now - self._last >= _LINE_SECONDS:
            self._last = now
            self._session.say(describe(progress))


def describe(progress: Progress) -> str:
    """One line about where a run is."""
    parts = [
        f"step {progress.step:,}",
        f"{progress.rate:,.0f} tokens/s",
        f"loss {progress.loss:.3f}",
    ]
    if progress.bits is not None:
        parts.append(f"validation {progress.bits:.3f} bits/token")
    if progress.ratio is not None:
        parts.append(f"best {progress.best:.3f}, ratio {progress.ratio:.2f}")
    minutes, seconds = divmod(round(progress.left), 60)
    parts.append(f"{minutes}:{seconds:02} left")
    return ", ".join(parts)

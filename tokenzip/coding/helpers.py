"""Threads of Python that help the one that leads a team.

Not those of concurrent.futures: an interrupt (Ctrl-C) in the middle of handing them work can leave
them, and the end of the process, waiting for ever. Here work is handed over by a single call of C,
and nothing waits for a helper that has not begun. Helpers are optional: where there can be no
thread, the leader does everything.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from .team import ALONE, CLOSED, MOST_HELPERS, new_team

Team = npt.NDArray[np.int64]
_Result = TypeVar("_Result")
_Tasks = SimpleQueue["Callable[[], object] | None"]


class Later(Generic[_Result]):
    """Work that whoever comes first does, once."""

    def __init__(self, work: Callable[[], _Result]) -> None:
        self._work: Callable[[], _Result] | None = work
        self._lock = threading.Lock()
        self._found: list[_Result] = []
        self._error: BaseException | None = None

    def __call__(self) -> None:
        """Do it, unless it is done; waits for whoever does it."""
        with self._lock:
            if self._work is not None:
                try:
                    self._found = [self._work()]
                except BaseException as error:
                    self._error = error
                self._work = None

    def result(self) -> _Result:
        """What came of it, or the exception that was raised; does it if nobody has begun."""
        self()
        if self._error is not None:
            raise self._error
        return self._found[0]

    def cancel(self) -> None:
        """Wait for whoever does it; if it is not done now, it will not be."""
        with self._lock:
            self._work = None


class Helpers:
    """So many threads, MOST_HELPERS at most, and none without a compiler.

    Attributes:
        count: how many there are.
    """

    def __init__(self, count: int) -> None:
        self.count = 0
        self._tasks: _Tasks = SimpleQueue()
        for _ in range(0 if ALONE else min(count, MOST_HELPERS)):
            # Daemons, for nobody has to wait for them at the end of the process.
            thread = threading.Thread(target=_serve, args=(self._tasks,), daemon=True)
            try:
                thread.start()
            except RuntimeError:  # as many as the system allows, or the process is ending
                break
            self.count += 1
        weakref.finalize(self, _dismiss, self._tasks, self.count)

    def run(self, lead: Callable[[Team], _Result], work: Callable[[Team, int], None]) -> _Result:
        """lead(team), in this thread, while helper i does work(team, i).

        A helper that comes too late does nothing.
        """
        team = new_team()
        try:
            for helper in range(self.count):
                self._tasks.put(partial(_help, team, work, helper))
            return lead(team)
        finally:
            team[CLOSED] = 1

    def offer(self, work: Later[_Result]) -> None:
        """Let a helper do this if it has nothing else to do."""
        if self.count:
            self._tasks.put(work)


def _serve(tasks: _Tasks) -> None:
    """What a helper does all day."""
    while True:
        task = tasks.get()
        if task is None:
            return
        task()
        # What it has to do with may hold these helpers, who otherwise would never be dismissed.
        del task


def _dismiss(tasks: _Tasks, count: int) -> None:
    for _ in range(count):
        tasks.put(None)


def _help(team: Team, work: Callable[[Team, int], None], helper: int) -> None:
    if not team[CLOSED]:
        work(team, helper)


NOBODY = Helpers(0)

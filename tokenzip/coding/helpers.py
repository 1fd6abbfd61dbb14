"""Threads of Python that help the one that leads a team."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from .team import ALONE, CLOSED, MOST_HELPERS, new_team

Team = npt.NDArray[np.int64]
_Result = TypeVar("_Result")


class Helpers:
    """So many threads, MOST_HELPERS at most, and none without a compiler.

    Attributes:
        count: how many.
    """

    def __init__(self, count: int) -> None:
        self.count = 0 if ALONE else min(count, MOST_HELPERS)
        self._pool = ThreadPoolExecutor(self.count) if self.count else None

    def run(self, lead: Callable[[Team], _Result], work: Callable[[Team, int], None]) -> _Result:
        """lead(team), in this thread, while helper i does work(team, i).

        A helper that comes too late does nothing.
        """
        team = new_team()
        if self._pool is None:
            return lead(team)
        for helper in range(self.count):
            self._pool.submit(_help, team, work, helper)
        try:
            return lead(team)
        finally:
            team[CLOSED] = 1

    def soon(self, work: Callable[[], _Result]) -> Callable[[], _Result]:
        """Let a helper do some work; what is returned waits for it and gives its result.

        It is done there and then if no helper has begun.
        """
        if self._pool is None:
            return work
        future = self._pool.submit(work)
        return lambda: work() if future.cancel() else future.result()


NOBODY = Helpers(0)


def _help(team: Team, work: Callable[[Team, int], None], helper: int) -> None:
    if not team[CLOSED]:
        work(team, helper)

"""Work is done side by side, and its results come back in order.

Only a few pieces are on their way at any time, so that neither their number nor a slow disk makes
memory grow. A worker process that dies is replaced, and what it was at is done again.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any, ClassVar

from ..errors import ArchiveError, OptionError, TokenzipError

#: Pieces on their way for each worker: one at work, and enough waiting for it not to stand idle.
_AHEAD = 3
#: How often a piece is tried whose worker died.
_TRIES = 3
_WATCH_SECONDS = 0.5


@dataclass(frozen=True)
class Work:
    """A piece of work: a function of a module, with arguments that can be pickled.

    Attributes:
        label: what errors call it, and whatever the caller needs to know it again.
        function, arguments: what is to be done.
    """

    label: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    extra: Any = None


@dataclass(frozen=True)
class Outcome:
    """What came of a piece of work: a value, or the error that it raised."""

    work: Work
    value: Any = None
    error: Exception | None = None


def in_order(
    pieces: Iterable[Work], *, workers: int | None = None, executor: Executor | None = None
) -> Iterator[Outcome]:
    """Do all pieces, and yield what came of them in their order.

    Args:
        pieces: read only as fast as they are done. An error that it raises is raised here, after
            the outcomes of what came before.
        workers: processes; None works in this one.
        executor: of concurrent.futures' kind, instead.

    Raises:
        ArchiveError: a piece of work was tried three times, and its worker died each time.
        OptionError: workers makes no sense.
    """
    if workers is not None and executor is not None:
        raise OptionError("give workers or an executor, not both")
    if workers is not None and (not isinstance(workers, int) or workers < 1):
        raise OptionError(f"workers must be a number of at least 1, not {workers!r}")
    if executor is not None:
        yield from _side_by_side(pieces, _Given(executor))
    elif workers is not None:
        pool = _Pool(workers)
        try:
            yield from _side_by_side(pieces, pool)
        finally:
            pool.end()
    else:
        for work in pieces:
            try:
                outcome = Outcome(work, work.function(*work.arguments))
            except (TokenzipError, OSError, MemoryError) as error:
                outcome = Outcome(work, error=error)
            yield outcome


class OpenedOnce:
    """An archive on its way to workers, each of which opens it once."""

    _kept: ClassVar[dict[bytes, Any]] = {}

    def __init__(self, archive: Any) -> None:
        self._packed = pickle.dumps(archive)

    @property
    def archive(self) -> Any:
        if self._packed not in self._kept:
            self._kept.clear()
            self._kept[self._packed] = pickle.loads(self._packed)
        return self._kept[self._packed]

    def __getitem__(self, name: str) -> Any:
        return self.archive[name]


@dataclass
class _Job:
    work: Work
    future: Future[Any] | None = None
    tries: int = 0


def _side_by_side(pieces: Iterable[Work], pool: _Given | _Pool) -> Iterator[Outcome]:
    source = iter(pieces)
    jobs: deque[_Job] = deque()
    failure: Exception | None = None
    try:
        while True:
            while failure is None and len(jobs) < pool.room:
                try:
                    work = next(source, None)
                except Exception as error:
                    # Those before it are not its fault.
                    failure = error
                    break
                if work is None:
                    break
                jobs.append(_Job(work))
                _submit(jobs[-1], pool)
            if not jobs:
                break
            yield _first_outcome(jobs, pool)
    finally:
        for job in jobs:
            if job.future is not None:
                job.future.cancel()
    if failure is not None:
        raise failure


def _submit(job: _Job, pool: _Given | _Pool) -> None:
    job.tries += 1
    try:
        job.future = pool.executor.submit(job.work.function, *job.work.arguments)
    except BrokenExecutor:
        job.future = None  # it is noticed where the result is awaited


def _first_outcome(jobs: deque[_Job], pool: _Given | _Pool) -> Outcome:
    """What came of the first job, which is then taken away."""
    job = jobs[0]
    while True:
        try:
            if job.future is None:
                raise BrokenExecutor("the pool of workers is broken")
            value = job.future.result()
            jobs.popleft()
            return Outcome(job.work, value)
        except Exception as error:
            if not _is_loss(error):
                jobs.popleft()
                return Outcome(job.work, error=error)
            if job.tries >= _TRIES or not pool.renew():
                raise ArchiveError(
                    f"{job.work.label}: the worker died that was at it, {job.tries} times "
                    f"({type(error).__name__}: {error}). If it ran out of memory, use fewer workers"
                ) from error
            for other in jobs:
                if _was_lost(other):
                    if other is not job:
                        other.tries -= 1  # whose fault it was is not known; the first one pays
                    _submit(other, pool)


def _was_lost(job: _Job) -> bool:
    future = job.future
    if future is None or future.cancelled():
        return True
    return future.done() and _is_loss(future.exception())


def _is_loss(error: BaseException | None) -> bool:
    """Whether an error says that a worker is gone, and nothing about the work."""
    if isinstance(error, BrokenExecutor):
        return True
    # dask's, which is not imported for this
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & {"KilledWorker", "FutureCancelledError", "CommClosedError"})


class _Given:
    """An executor of the caller's."""

    def __init__(self, executor: Executor) -> None:
        self.executor = executor
        workers = getattr(executor, "_max_workers", None)
        client = getattr(executor, "_client", None)  # dask's
        if client is not None:
            workers = sum(client.ncores().values())
        self.room = _AHEAD * max(1, workers if isinstance(workers, int) else os.cpu_count() or 1)

    def renew(self) -> bool:
        # A broken pool of the caller's cannot be replaced; dask replaces its workers itself.
        return not isinstance(self.executor, ProcessPoolExecutor)


class _Pool:
    """Worker processes of our own, which end with this one."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self.room = _AHEAD * workers
        self.executor = self._make()

    def renew(self) -> bool:
        try:
            # It may have been replaced already, because of another piece.
            self.executor.submit(os.getpid).result()
        except BrokenExecutor:
            self.executor.shutdown(wait=False, cancel_futures=True)
            self.executor = self._make()
        return True

    def end(self) -> None:
        """Whatever they are at is of no use any more."""
        processes = list((getattr(self.executor, "_processes", None) or {}).values())
        self.executor.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()

    def _make(self) -> ProcessPoolExecutor:
        # Not forked: threads of numba's or the caller's, and locks they hold, would be copied.
        return ProcessPoolExecutor(
            self._workers,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_begin_worker,
            initargs=(os.getpid(),),
        )


def _begin_worker(parent: int) -> None:
    """A worker leaves Ctrl-C to its parent, and does not outlive it."""
    for name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_WATCH_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()

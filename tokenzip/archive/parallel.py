"""Clips are compressed side by side, and come back in their order.

Only a few are on their way at any time, so that neither the number of clips nor a slow disk makes
memory grow. A worker process that dies is replaced, and its clips are done again.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..codec import Codec
from ..errors import ArchiveError, InputError, OptionError, TokenzipError

#: Clips on their way for each worker: one at work, and enough waiting for it not to stand idle.
_AHEAD = 3
#: How often a clip is tried whose worker died.
_TRIES = 3
#: What is ready goes to the disk together, at least so often.
_FLUSH_SECONDS = 1.0
_WATCH_SECONDS = 0.5


@dataclass(frozen=True)
class Task:
    """A clip to compress."""

    name: str
    tokens: Any
    attributes: bytes
    codec: Codec
    verify: bool


@dataclass(frozen=True)
class Encoded:
    """A clip that is compressed."""

    name: str
    blob: bytes
    attributes: bytes


def encode_task(codec: Codec, tokens: Any, verify: bool) -> bytes:
    """What a worker does."""
    blob = codec.encode(tokens)
    if verify:
        array = np.asarray(tokens)
        back = Codec(max_tokens=max(array.size, 1), threads=codec.threads).decode(blob)
        assert isinstance(back, np.ndarray)
        if (
            back.shape != array.shape
            or back.dtype != array.dtype
            or not np.array_equal(back, array)
        ):
            raise TokenzipError(
                "what was decoded differs from what was encoded. This is a bug in tokenzip or "
                "faulty memory: please report it"
            )
    return blob


def encode_all(
    tasks: Iterable[Task],
    added: Callable[[list[Encoded]], None],
    *,
    workers: int | None,
    executor: Executor | None,
) -> None:
    """Compress all tasks and hand the results to `added`, in order, some at a time."""
    if workers is not None and executor is not None:
        raise OptionError("give workers or an executor, not both")
    if workers is not None and (not isinstance(workers, int) or workers < 1):
        raise OptionError(f"workers must be a number of at least 1, not {workers!r}")
    if workers is None and executor is None:
        results: Iterator[Encoded] = (_here(task) for task in tasks)
    elif executor is not None:
        results = _side_by_side(tasks, _Given(executor))
    else:
        assert workers is not None
        results = _with_pool(tasks, workers)
    waiting: list[Encoded] = []
    last = time.monotonic()
    try:
        for result in results:
            waiting.append(result)
            if time.monotonic() - last >= _FLUSH_SECONDS:
                batch, waiting = waiting, []
                added(batch)
                last = time.monotonic()
    finally:
        # What is done is done, also if the next one failed.
        if waiting:
            added(waiting)


def _here(task: Task) -> Encoded:
    with _named(task):
        return Encoded(
            task.name, encode_task(task.codec, task.tokens, task.verify), task.attributes
        )


def _with_pool(tasks: Iterable[Task], workers: int) -> Iterator[Encoded]:
    pool = _Pool(workers)
    try:
        yield from _side_by_side(tasks, pool)
    finally:
        pool.shutdown()


@dataclass
class _Job:
    task: Task
    future: Future[bytes] | None = None
    tries: int = 0


def _side_by_side(tasks: Iterable[Task], pool: _Given | _Pool) -> Iterator[Encoded]:
    source = iter(tasks)
    jobs: deque[_Job] = deque()
    failure: BaseException | None = None
    try:
        while True:
            while failure is None and len(jobs) < pool.room:
                try:
                    task = next(source, None)
                except (TokenzipError, OSError) as error:
                    # Those before it are not its fault.
                    failure = error
                    break
                if task is None:
                    break
                job = _Job(task)
                jobs.append(job)
                _submit(job, pool)
            if not jobs:
                break
            yield _result(jobs, pool)
    finally:
        for job in jobs:
            if job.future is not None:
                job.future.cancel()
    if failure is not None:
        raise failure


def _submit(job: _Job, pool: _Given | _Pool) -> None:
    task = job.task
    job.tries += 1
    try:
        job.future = pool.executor.submit(encode_task, task.codec, task.tokens, task.verify)
    except BrokenExecutor:
        job.future = None  # it is noticed where the result is awaited


def _result(jobs: deque[_Job], pool: _Given | _Pool) -> Encoded:
    """The result of the first job, which is then taken away."""
    job = jobs[0]
    while True:
        try:
            if job.future is None:
                raise BrokenExecutor("the pool of workers is broken")
            with _named(job.task):
                blob = job.future.result()
            jobs.popleft()
            return Encoded(job.task.name, blob, job.task.attributes)
        except Exception as error:
            if not _is_loss(error):
                raise
            if job.tries >= _TRIES or not pool.renew():
                raise ArchiveError(
                    f"clip {job.task.name!r}: the worker that compressed it died "
                    f"{job.tries} times ({type(error).__name__}: {error}); with fewer workers "
                    "there is more memory for each"
                ) from error
            for other in jobs:
                if other.future is None or (
                    other.future.done() and _is_loss(_exception_of(other.future))
                ):
                    if other is not job:
                        other.tries -= 1  # whose fault it was is not known; the first one pays
                    _submit(other, pool)


def _exception_of(future: Future[bytes]) -> BaseException | None:
    return None if future.cancelled() else future.exception()


def _is_loss(error: BaseException | None) -> bool:
    """Whether an error says that a worker is gone, and nothing about the clip."""
    names = {kind.__name__ for kind in type(error).__mro__}
    # dask's, which is not imported for this
    return isinstance(error, BrokenExecutor) or bool(
        names & {"KilledWorker", "FutureCancelledError", "CommClosedError"}
    )


class _Given:
    """An executor of the caller's."""

    def __init__(self, executor: Executor) -> None:
        self.executor = executor
        workers = getattr(executor, "_max_workers", None)
        client = getattr(executor, "_client", None)  # dask's
        if client is not None:
            workers = sum(client.ncores().values()) or 1
        self.room = _AHEAD * (workers if isinstance(workers, int) else os.cpu_count() or 1)

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
            # It may have been replaced already because of another clip.
            self.executor.submit(os.getpid).result()
        except BrokenExecutor:
            self.executor.shutdown(wait=False, cancel_futures=True)
            self.executor = self._make()
        return True

    def shutdown(self) -> None:
        self.executor.shutdown(wait=False, cancel_futures=True)

    def _make(self) -> ProcessPoolExecutor:
        import multiprocessing

        # Not forked: threads of numba's or the caller's, and locks they hold, would be copied.
        context = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(
            self._workers, mp_context=context, initializer=_begin_worker, initargs=(os.getpid(),)
        )


def _begin_worker(parent: int) -> None:
    """A worker ignores Ctrl-C, which is its parent's to handle, and does not outlive it."""
    import signal

    for name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_WATCH_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextlib.contextmanager
def _named(task: Task) -> Iterator[None]:
    """Errors about a clip's tokens get to know its name."""
    try:
        yield
    except InputError as error:
        error.args = (f"clip {task.name!r}: {error}",)
        raise

"""One file after the other: a bad one is reported and the rest goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from ..errors import TokenzipError
from .progress import progress_bar
from .session import Session, printable

Job = TypeVar("Job")


def each(
    session: Session,
    jobs: Sequence[Job],
    name: Callable[[Job], str],
    work: Callable[[Job], Iterable[dict[str, Any]]],
    *,
    long: bool = True,
    show_failures: bool = True,
    failed: Callable[[Job, BaseException], None] | None = None,
) -> int:
    """Do `work` on every job, record what it yields, and return the exit code.

    Args:
        name: what errors call a job.
        work: yields one result for each file that it dealt with.
        long: whether this can take long enough for a progress bar.
        show_failures: print a line on standard error for each failure.
        failed: called for each failure as well.
    """
    with progress_bar(session, len(jobs), wanted=long) as bar:
        for job in jobs:
            bar.start(printable(name(job)))
            try:
                for entry in work(job):
                    session.result(entry)
            except BrokenPipeError:
                raise
            except (TokenzipError, OSError, MemoryError) as error:
                session.fail(error, name(job), show=show_failures)
                if failed is not None:
                    failed(job, error)
            bar.advance()
    return session.finish()

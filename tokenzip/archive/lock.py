"""One writer: a lock that lasts exactly as long as the process that holds it."""

from __future__ import annotations

import os
import weakref

try:
    import fcntl
except ImportError:  # no POSIX system
    fcntl = None  # type: ignore[assignment]

from ..errors import ArchiveLockedError

_held: weakref.WeakSet[WriterLock] = weakref.WeakSet()


class WriterLock:
    """A lock on an open file, which the system gives back when the process ends, however it ends.

    It hinders nobody from reading. Processes that are forked off do not hold it.
    """

    def __init__(self, name: str, path: str, flags: int, mode: int = 0o666) -> None:
        """Open a file and lock it.

        Args:
            name: what errors call it.
            path: the file.
            flags: for os.open.
            mode: permissions, if it is created.

        Raises ArchiveLockedError, and OSError for what the system refuses.
        """
        self.descriptor = os.open(path, flags | getattr(os, "O_CLOEXEC", 0), mode)
        _held.add(self)
        if fcntl is None:
            return
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.release()
            raise ArchiveLockedError(
                f"{name}: another process has it open for writing (or a program of HDF5's has it "
                "open); wait until that is done. There is one writer at a time, and any number of "
                "readers"
            ) from None
        except OSError:
            self.release()
            raise

    def release(self) -> None:
        """Close the file, and with it give up the lock."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def _let_go() -> None:
    # A forked worker that outlives its parent would keep the archive locked.
    for lock in list(_held):
        lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)

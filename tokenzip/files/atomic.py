"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from typing import BinaryIO

from ..errors import FileError, FileExistsRefusedError
from .reasons import os_error_text

_PERMISSIONS = 0o777  # never hand on set-user-id bits


def is_special(path: str) -> bool:
    """Whether `path` is something to write into, not to replace: a device, pipe or /dev/stdout.

    Renaming a finished file onto /dev/null would replace the device itself.
    """
    with contextlib.suppress(OSError):
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            return True
    # /dev/stdout may lead to a regular file, which must not be replaced under its owner either.
    return os.path.abspath(path).startswith(("/dev/std", "/dev/fd/", "/proc/"))


def check_target(path: str | os.PathLike[str], *, force: bool = False) -> None:
    """Raise what `atomic_output` would raise for this path, before any work is done.

    Raises FileExistsRefusedError if it exists (a dangling link counts) and `force` is not set,
    FileError if it is a directory or its directory does not exist.
    """
    target = os.fspath(path)
    if is_special(target):
        return
    if os.path.isdir(target):
        raise FileError(f"{target}: is a directory")
    if os.path.lexists(target) and not force:
        raise FileExistsRefusedError(f"{target}: exists; use --force to overwrite it")
    parent = os.path.dirname(target) or "."
    if not os.path.isdir(parent):
        raise FileError(f"{target}: there is no directory {parent}")
    if not os.access(parent, os.W_OK):
        raise FileError(f"{target}: no permission to write in the directory {parent}")


@contextlib.contextmanager
def atomic_output(
    path: str | os.PathLike[str], *, force: bool = False, like: os.stat_result | None = None
) -> Iterator[BinaryIO]:
    """Open `path` for writing so that it gets its whole content when the block ends, or none.

    The bytes go to a new file in the same directory, are flushed to the disk, and only then take
    the name; whatever ends the block early (an error, Ctrl-C, SIGTERM made an exception) removes
    that file. Without `force` an existing file stays, even one that appeared meanwhile. With it, an
    existing file is replaced in one step; a symbolic link is replaced itself, not what it points
    to. Devices, pipes and the like are written directly, for there is nothing to rename.

    Args:
        path: the file to write.
        force: replace an existing file.
        like: status of the source; its permission bits and modification time are handed on.

    Yields: a binary file open for writing and seeking.

    Raises FileExistsRefusedError, and FileError for everything that the system refuses
    (BrokenPipeError excepted: the reader of a pipe may go when it likes).
    """
    target = os.fspath(path)
    check_target(target, force=force)
    try:
        if is_special(target):
            with open(target, "wb") as file:
                yield file
            return
        parent, base = os.path.split(target)
        # The name is chosen before the file is made, so that no interruption can lose it.
        scratch = os.path.join(parent, f".{base[:40]}.{secrets.token_hex(8)}.tmp")
        try:
            yield from _write_and_rename(scratch, target, force, like)
        finally:
            remove(scratch)
    except (FileError, BrokenPipeError):
        raise
    except OSError as error:
        raise FileError(f"{target}: cannot be written: {os_error_text(error)}") from error


def remove(scratch: str) -> None:
    """Remove an unfinished file, if it is there, also if a signal comes just then."""
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(scratch)
    except OSError:
        raise
    except BaseException:  # the signal, made an exception; it comes once
        with contextlib.suppress(FileNotFoundError):
            os.unlink(scratch)
        raise


def _write_and_rename(
    scratch: str, target: str, force: bool, like: os.stat_result | None
) -> Iterator[BinaryIO]:
    mode = 0o666 if like is None else like.st_mode & _PERMISSIONS
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    # The source's mode from the start: private tokens are never readable by others, even briefly.
    descriptor = os.open(scratch, flags | getattr(os, "O_CLOEXEC", 0), mode | 0o600)
    with open(descriptor, "w+b") as file:
        yield file
        file.flush()
        if like is not None:
            if hasattr(os, "fchmod"):
                os.fchmod(descriptor, mode)
            times = (like.st_atime_ns, like.st_mtime_ns)
            os.utime(descriptor if os.utime in os.supports_fd else scratch, ns=times)
        os.fsync(descriptor)
    if force:
        os.replace(scratch, target)
    else:
        _link_new(scratch, target)
    _sync_directory(os.path.dirname(target) or ".")


def _link_new(scratch: str, target: str) -> None:
    """Give `scratch` the name `target` unless that name is taken, in one step where possible."""
    try:
        os.link(scratch, target)
    except FileExistsError as error:
        raise FileExistsRefusedError(
            f"{target}: appeared while it was being written; use --force to overwrite it"
        ) from error
    except (OSError, AttributeError, NotImplementedError):
        # No hard links here (FAT, some network drives): a gap remains, as small as it can be.
        if os.path.lexists(target):
            raise FileExistsRefusedError(f"{target}: exists; use --force to overwrite it") from None
        os.replace(scratch, target)


def _sync_directory(path: str) -> None:
    """Make the new name last through a power cut, where directories can be synchronised."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

"""Refuse arrays that this machine cannot hold, before anything is allocated."""

from __future__ import annotations

import os

from ..errors import FileError


def physical_memory() -> int | None:
    """Bytes of main memory, or None where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def check_fits(nbytes: int, what: str) -> None:
    """Raise FileError if `nbytes` exceed main memory: a few bytes can claim terabytes."""
    memory = physical_memory()
    if memory is not None and nbytes > memory:
        raise FileError(
            f"{what} claims {nbytes:,} bytes, more than the {memory:,} bytes of memory here; "
            "split the file, or run this on a larger machine"
        )

"""Refuse arrays that this machine cannot hold, before anything is allocated."""

from __future__ import annotations

from ..errors import FileError
from ..limits import physical_memory

__all__ = ["check_fits", "physical_memory"]


def check_fits(nbytes: int, what: str) -> None:
    """Raise FileError if `nbytes` exceed main memory: a few bytes can claim terabytes."""
    memory = physical_memory()
    if memory is not None and nbytes > memory:
        raise FileError(
            f"{what} claims {nbytes:,} bytes, more than the {memory:,} bytes of memory here; "
            "split the file, or run this on a larger machine"
        )

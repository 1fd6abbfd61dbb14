"""The command line: compress, decompress, info, verify, bench.

`main` is the entry point of the installed script and of `python -m tokenzip`; `run` is the same
without leaving the process. typer and rich are imported when one of them is called, and numpy,
numba and h5py only by the commands that need them, so that `tokenzip --help` answers at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

__all__ = ["main", "run"]


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (default: sys.argv[1:]) and return its exit code."""
    from .entry import run as run_arguments

    return run_arguments(arguments)


def main() -> NoReturn:
    """Run sys.argv and exit with the code that `tokenzip --help` documents."""
    import sys

    sys.exit(run())

"""`tokenzip bench`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..bench import compare, contenders, machine_info, rich_table
from ..files.raw import parse_dtype, parse_shape
from ..files.read import READABLE_SUFFIXES, read_tokens
from .compiling import warm_up
from .progress import progress_bar
from .session import Session, printable
from .targets import sources_of

SAMPLE_NAME = "built-in sample (synthetic drive)"


def bench(
    session: Session,
    arguments: Sequence[str],
    *,
    select: Sequence[str],
    dtype: str | None,
    shape: str | None,
    alphabet: int | None,
    compressors: Sequence[str],
    solid: bool,
    threads: int,
    frames: int,
) -> int:
    """Measure compressors on files, or on the built-in sample; returns the exit code."""
    if arguments:
        grids, names = _read(arguments, select, dtype, shape)
    else:
        from ..samples import drive

        grids, names = [drive(frames=frames)], [SAMPLE_NAME]
        alphabet = alphabet or 1024
    title = names[0] if len(names) == 1 else f"{len(names)} files"
    _note_missing(session, compressors)
    warm_up(session)
    with progress_bar(session, 1) as bar:
        results = compare(
            grids,
            alphabet=alphabet,
            compressors=list(compressors) or None,
            solid=solid,
            threads=threads,
            report=lambda name: bar.start(f"measuring {name}"),
        )
    if session.json:
        session.extra(
            sources=names,
            machine=machine_info(),
            results=[result.as_dict() for result in results],
        )
    else:
        session.stdout.print(rich_table(results, title=title))
    return session.finish()


def _read(
    arguments: Sequence[str], select: Sequence[str], dtype: str | None, shape: str | None
) -> tuple[list[np.ndarray[Any, Any]], list[str]]:
    """All arrays of the files that `arguments` mean, and the files' names."""
    if dtype is not None:
        parse_dtype(dtype)
    if shape is not None:
        parse_shape(shape)
    grids: list[np.ndarray[Any, Any]] = []
    names: list[str] = []
    for source in sources_of(arguments, READABLE_SUFFIXES):
        file = read_tokens(source.path, select=select, dtype=dtype, shape=shape)
        grids += [array for _, array in file.arrays]
        names.append(printable(source.path))
    return grids, names


def _note_missing(session: Session, compressors: Sequence[str]) -> None:
    """Say which compressors are not in the table for want of a package or program."""
    if compressors:
        return
    for name, what in contenders().items():
        if what is not None:
            session.note(f"{name} is left out: it needs {what}")

"""One way out for every kind of token file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import numpy as np

from ..errors import FileError
from .atomic import atomic_output
from .formats import Format, format_of_suffix
from .npy import write_npy
from .npz import write_npz

NamedArrays = Sequence[tuple[str, np.ndarray[Any, Any]]]

_SLICE_BYTES = 1 << 22


def array_bytes(array: np.ndarray[Any, Any]) -> Iterator[memoryview]:
    """The values of `array` in C order and its own byte order, a few megabytes at a time."""
    flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    for start in range(0, flat.size, _SLICE_BYTES):
        yield flat[start : start + _SLICE_BYTES].data


def _with_names(arrays: NamedArrays, single: str) -> list[tuple[str, np.ndarray[Any, Any]]]:
    """Every array with a name: those without are `single`, or arr_0, arr_1 ... if several."""
    alone = len(arrays) == 1
    return [
        (name or (single if alone else f"arr_{i}"), array) for i, (name, array) in enumerate(arrays)
    ]


def write_arrays(file: BinaryIO, arrays: NamedArrays, kind: Format) -> None:
    """Write arrays to an open binary file, seekable or not.

    Unnamed arrays are called arr_0, arr_1 ... in .npz (as np.savez calls them); a single unnamed
    one is the dataset "tokens" in .h5. Raises FileError if `kind` holds one array (npy, raw) and
    there are several, or if the names cannot be stored.
    """
    if kind in ("npy", "raw"):
        if len(arrays) != 1:
            raise FileError(
                f"{len(arrays)} arrays do not go into one {kind} file; "
                "write .npz or .h5, or choose one of them with --dataset"
            )
        if kind == "npy":
            write_npy(file, arrays[0][1])
        else:
            for piece in array_bytes(arrays[0][1]):
                file.write(piece)
    elif kind == "npz":
        write_npz(file, _with_names(arrays, "arr_0"))
    else:
        from .hdf5 import write_h5

        write_h5(file, _with_names(arrays, "tokens"))


def write_tokens(
    path: str | os.PathLike[str],
    arrays: NamedArrays,
    *,
    kind: Format | None = None,
    force: bool = False,
    like: os.stat_result | None = None,
) -> None:
    """Write (name, array) pairs to `path`, whole or not at all; see `atomic_output`.

    Args:
        path: the file; its suffix tells the format unless `kind` does, .npy if it tells nothing.
        arrays: one pair for npy and raw, any number for npz and h5.
        kind: "npy", "npz", "h5" or "raw".
        force: replace an existing file.
        like: status of a file whose permissions and time are handed on.

    Raises FileExistsRefusedError or FileError.
    """
    chosen = kind or format_of_suffix(path) or "npy"
    with atomic_output(path, force=force, like=like) as file:
        write_arrays(file, arrays, chosen)

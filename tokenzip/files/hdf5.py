"""HDF5 files: every dataset of integers, whatever the groups around it."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from ..errors import DTypeError, FileError, FileFormatError, MissingDependencyError
from .memory import check_fits
from .reasons import first_line
from .select import ArraySelection

_COPY_BYTES = 1 << 20


def _h5py() -> Any:
    try:
        import h5py
    except ImportError as error:
        raise MissingDependencyError(
            "HDF5 files need the package h5py: pip install h5py"
        ) from error
    return h5py


def _walk(group: Any, prefix: str, above: frozenset[object]) -> Iterator[tuple[str, Any, str]]:
    """Yield (path, object or None, kind) below `group`, in the order of names.

    Kind is "dataset", "group" or "link". Links to elsewhere are not followed: an external link
    would let one file read another. `above` holds the addresses of the groups on the way here,
    for a hard link can point upwards.
    """
    h5py = _h5py()
    for key in group:
        path = prefix + key
        if not isinstance(group.get(key, getlink=True), h5py.HardLink):
            yield path, None, "link"
            continue
        item = group[key]
        if isinstance(item, h5py.Dataset):
            yield path, item, "dataset"
        elif isinstance(item, h5py.Group):
            yield path, item, "group"
            address = h5py.h5o.get_info(item.id).addr
            if address not in above:
                yield from _walk(item, path + "/", above | {address})


def read_h5(
    source: str | BinaryIO, name: str, datasets: Sequence[str]
) -> tuple[list[tuple[str, np.ndarray[Any, Any]]], list[str]]:
    """The integer (or bool) datasets of an HDF5 file by path, and what was left out of it.

    Args:
        source: path or seekable binary file.
        name: how errors call it.
        datasets: paths, groups or patterns of the wanted datasets; none means every integer one.

    Raises FileFormatError for a damaged file, FileError for a dataset that is not there or would
    not fit in memory, DTypeError for a dataset asked for by its path that holds no integers.
    """
    h5py = _h5py()
    selection = ArraySelection(name, datasets, what="dataset")
    try:
        with h5py.File(source, "r") as file:
            arrays, left_out = _read_all(file, name, selection)
    except (FileError, DTypeError):
        raise
    except (FileNotFoundError, PermissionError):
        raise
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        # What h5py makes of damaged headers and data, unknown filters and broken references.
        raise FileFormatError(f"{name}: not a readable HDF5 file ({first_line(error)})") from error
    selection.check_found(arrays, left_out)
    return arrays, left_out


def _read_all(
    file: Any, name: str, selection: ArraySelection
) -> tuple[list[tuple[str, np.ndarray[Any, Any]]], list[str]]:
    """The wanted arrays of an open file, and all else that is in it, in words."""
    h5py = _h5py()
    arrays: list[tuple[str, np.ndarray[Any, Any]]] = []
    left_out: list[str] = []
    root = h5py.h5o.get_info(file.id).addr
    attributed = {root} if len(file.attrs) else set()  # addresses: hard links name one twice
    items = list(_walk(file, "", frozenset({root})))
    selection.offer([path for path, _, kind in items if kind == "dataset"])
    total = 0
    for path, item, kind in items:
        if kind == "link":
            left_out.append(f"link {path}")
            continue
        if len(item.attrs):
            attributed.add(h5py.h5o.get_info(item.id).addr)
        if kind == "group":
            if not len(item):
                left_out.append(f"empty group {path}")
            continue
        integers = item.dtype.kind in "biu" and item.shape is not None
        if not integers and selection.names_exactly(path):
            raise DTypeError(
                f"{name}[{path}]: tokens must be integers, this dataset is {item.dtype}"
            )
        if not integers or not selection.wants(path):
            left_out.append(f"dataset {path}")
            continue
        total += item.size * item.dtype.itemsize
        check_fits(total, f"{name}[{path}]")
        # The dtype again: a single value would otherwise lose its byte order.
        arrays.append((path, np.asarray(item[()], dtype=item.dtype)))
    if attributed:
        plural = "s" if len(attributed) > 1 else ""
        left_out.append(f"the attributes of {len(attributed)} object{plural}")
    return arrays, left_out


@dataclass(frozen=True)
class Dataset:
    """A dataset of integers that was found but not read.

    Attributes:
        path: inside the file.
        shape, dtype: of the array.
        group: the attribute `source` of the dataset or of the group around it, "" if none.
    """

    path: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    group: str


def open_h5(path: str) -> Any:
    """An open h5py.File for reading in slices; FileFormatError if it is none."""
    h5py = _h5py()
    try:
        return h5py.File(path, "r")
    except (FileNotFoundError, PermissionError):
        raise
    except (OSError, RuntimeError, ValueError) as error:
        raise FileFormatError(f"{path}: not a readable HDF5 file ({first_line(error)})") from error


def list_h5(file: Any, name: str, datasets: Sequence[str]) -> list[Dataset]:
    """The integer datasets of an open file, unread; `datasets` and errors are those of read_h5."""
    h5py = _h5py()
    selection = ArraySelection(name, datasets, what="dataset")
    found: list[Dataset] = []
    left_out: list[str] = []
    try:
        root = h5py.h5o.get_info(file.id).addr
        items = list(_walk(file, "", frozenset({root})))
        selection.offer([path for path, _, kind in items if kind == "dataset"])
        for path, item, kind in items:
            if kind != "dataset":
                continue
            integers = item.dtype.kind in "biu" and item.shape is not None
            if not integers and selection.names_exactly(path):
                raise DTypeError(
                    f"{name}[{path}]: tokens must be integers, this dataset is {item.dtype}"
                )
            if integers and selection.wants(path):
                source = item.attrs.get("source", item.parent.attrs.get("source", ""))
                group = source if isinstance(source, str) else ""
                found.append(Dataset(path, item.shape, item.dtype, group))
            else:
                left_out.append(f"dataset {path}")
    except (FileError, DTypeError):
        raise
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise FileFormatError(f"{name}: not a readable HDF5 file ({first_line(error)})") from error
    selection.check_found(found, left_out)
    return found


def write_h5(file: BinaryIO, arrays: Sequence[tuple[str, np.ndarray[Any, Any]]]) -> None:
    """Write named arrays as datasets (groups made as their paths say) to `file`, seekable or not.

    Raises FileError where one name is a dataset and another wants it as a group.
    """
    h5py = _h5py()
    memory = io.BytesIO()
    with h5py.File(memory, "w") as target:
        for path, array in arrays:
            try:
                target.create_dataset(path, data=array, track_times=False)
            except (ValueError, RuntimeError, TypeError) as error:
                raise FileError(
                    f"cannot store an array as HDF5 dataset {path!r} ({first_line(error)})"
                ) from error
    view = memory.getbuffer()
    for start in range(0, len(view), _COPY_BYTES):
        file.write(view[start : start + _COPY_BYTES])

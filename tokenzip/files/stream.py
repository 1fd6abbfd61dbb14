"""Token files array by array: what a file holds need not fit into memory at once."""

from __future__ import annotations

import contextlib
import json
import os
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import DTypeError, FileError, FileFormatError
from .formats import format_of_suffix
from .hdf5 import _h5py, _walk
from .memory import check_fits
from .npy import parse_npy
from .npz import _ZIP_ERRORS
from .read import read_tokens
from .reasons import first_line, os_error_text
from .select import ArraySelection


@dataclass(frozen=True)
class Streamed:
    """One array of a file.

    Attributes:
        name: its name inside the file, "" where the format has none.
        nbytes: bytes of the array, not yet read.
        load: reads it; only until the next array is asked for.
        attributes: metadata that belongs to it.
    """

    name: str
    nbytes: int
    load: Callable[[], np.ndarray[Any, Any]]
    attributes: dict[str, Any] = field(default_factory=dict)


def stream_tokens(path: str, select: Sequence[str] = ()) -> Iterator[Streamed]:
    """The integer arrays of a .npy, .npz or .h5 file, one after the other.

    Metadata is what stands in `clip.json` beside `clip.npy`, or in attributes of the dataset and
    of the group around it.

    Raises what read_tokens raises, some of it only when an array is loaded.
    """
    kind = format_of_suffix(path)
    try:
        if kind == "npz":
            yield from _stream_npz(path, select)
        elif kind == "h5":
            yield from _stream_h5(path, select)
        else:
            load = lambda: read_tokens(path, select=select).arrays[0][1]  # noqa: E731
            yield Streamed("", os.stat(path).st_size, load, _beside(path))
    except FileError:
        raise
    except OSError as error:
        raise FileError(f"{path}: cannot be read: {os_error_text(error)}") from error


def _beside(path: str) -> dict[str, Any]:
    """The JSON object in the file of the same name that ends in .json; {} if there is none."""
    described = os.path.splitext(path)[0] + ".json"
    if not os.path.isfile(described):
        return {}
    try:
        with open(described, "rb") as file:
            found = json.load(file)
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"{described}: not JSON ({first_line(error)})") from error
    return found if isinstance(found, dict) else {}


def _stream_npz(path: str, select: Sequence[str]) -> Iterator[Streamed]:
    selection = ArraySelection(path, select, what="array")
    try:
        with zipfile.ZipFile(path) as archive:
            members = {m.filename[:-4]: m for m in archive.infolist() if m.filename[-4:] == ".npy"}
            selection.offer(members)
            for name, member in members.items():
                if selection.wants(name):
                    load = _npz_loader(archive, member, f"{path}[{name}]")
                    yield Streamed(name, member.file_size, load)
    except _ZIP_ERRORS as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise FileFormatError(f"{path}: not a readable .npz file ({first_line(error)})") from error


def _npz_loader(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, what: str
) -> Callable[[], np.ndarray[Any, Any]]:
    def load() -> np.ndarray[Any, Any]:
        check_fits(member.file_size, what)
        try:
            with archive.open(member) as stream:
                data = stream.read(member.file_size + 1)
        except _ZIP_ERRORS as error:
            raise FileFormatError(f"{what}: damaged ({first_line(error)})") from error
        return parse_npy(data, what)

    return load


def _stream_h5(path: str, select: Sequence[str]) -> Iterator[Streamed]:
    h5py = _h5py()
    selection = ArraySelection(path, select, what="dataset")
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(h5py.File(path, "r"))
            root = h5py.h5o.get_info(file.id).addr
            # Names only: a handle for each of very many datasets would stay open.
            found = [
                (name, item.dtype, item.size, item.shape)
                for name, item, kind in _walk(file, "", frozenset({root}))
                if kind == "dataset"
            ]
        except (FileNotFoundError, PermissionError):
            raise
        except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
            raise FileFormatError(
                f"{path}: not a readable HDF5 file ({first_line(error)})"
            ) from error
        selection.offer([name for name, *_ in found])
        for name, dtype, size, shape in found:
            integers = dtype.kind in "biu" and shape is not None
            if not integers and selection.names_exactly(name):
                raise DTypeError(f"{path}[{name}]: tokens must be integers, not {dtype}")
            if integers and selection.wants(name):
                yield Streamed(
                    name,
                    size * dtype.itemsize,
                    _h5_loader(file, name, f"{path}[{name}]"),
                    _h5_attributes(file, name),
                )


def _h5_loader(file: Any, name: str, what: str) -> Callable[[], np.ndarray[Any, Any]]:
    def load() -> np.ndarray[Any, Any]:
        item = file[name]
        check_fits(item.size * item.dtype.itemsize, what)
        try:
            return np.asarray(item[()], dtype=item.dtype)
        except (OSError, RuntimeError, ValueError, TypeError) as error:
            raise FileFormatError(f"{what}: cannot be read ({first_line(error)})") from error

    return load


def _h5_attributes(file: Any, name: str) -> dict[str, Any]:
    """Attributes of a dataset, and of the group that it is in, as far as they go into JSON."""
    found: dict[str, Any] = {}
    item = file[name]
    parent = item.parent
    for owner in ([parent] if parent.name != "/" else []) + [item]:
        for key in owner.attrs:
            with contextlib.suppress(OSError, TypeError, ValueError, RuntimeError):
                value = owner.attrs[key]
                value = value.tolist() if hasattr(value, "tolist") else value
                value = value.decode() if isinstance(value, bytes) else value
                json.dumps(value, allow_nan=False)
                found[key] = value
    return found

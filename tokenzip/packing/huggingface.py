"""Data sets that the package `datasets` saved on disk (`save_to_disk`)."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import FileError, FileFormatError, MissingDependencyError
from ..files.reasons import first_line

#: Columns that hold tokens where they are not named, in order of preference.
_TOKENS = ("token.npy", "tokens.npy", "tokens", "token", "codes", "audio_codes", "npy", "input_ids")
#: Columns that name a row.
_NAMES = ("__key__", "name", "file_name", "id", "key", "path")


@dataclass
class RowClip:
    """One row: its name, and the rest as in SourceClip."""

    name: str
    nbytes: int
    load: Callable[[], np.ndarray[Any, Any]]
    attributes: dict[str, Any]


def is_dataset(path: str) -> bool:
    """Whether a directory is a data set, or a dictionary of splits."""
    return os.path.isfile(os.path.join(path, "dataset_dict.json")) or (
        os.path.isfile(os.path.join(path, "state.json"))
        and os.path.isfile(os.path.join(path, "dataset_info.json"))
    )


def clips(path: str, column: str | None) -> Iterator[tuple[RowClip, float]]:
    """The rows of a data set, and how much of it has been read with each.

    Raises MissingDependencyError without the package `datasets`, FileFormatError if the directory
    cannot be read, FileError if no column of tokens is found.
    """
    try:
        import datasets
    except ImportError as error:
        raise MissingDependencyError(
            f"{path} is a data set of the package datasets: pip install 'tokenzip[datasets]'"
        ) from error
    try:
        loaded = datasets.load_from_disk(path)
    except Exception as error:  # datasets and pyarrow raise many kinds
        raise FileFormatError(f"{path}: not a readable data set ({first_line(error)})") from error
    splits = list(loaded.items()) if isinstance(loaded, dict) else [("", loaded)]
    total = max(1, sum(len(split) for _, split in splits))
    done = 0
    for prefix, split in splits:
        for clip in _rows(path, prefix, split, column):
            done += 1
            yield clip, done / total


def _rows(path: str, prefix: str, split: Any, column: str | None) -> Iterator[RowClip]:
    tokens = _token_column(path, split, column)
    dtype = _dtype(split.features[tokens])
    others = [name for name in split.column_names if name != tokens]
    described = split.select_columns(others) if others else None
    arrays = split.select_columns([tokens]).with_format("numpy")
    nbytes = max(1, split.data.nbytes // max(1, len(split)))
    for number in range(len(split)):
        row = described[number] if described is not None else {}
        name = next((row[n] for n in _NAMES if isinstance(row.get(n), str) and row[n]), None)
        attributes = row.get("json") if isinstance(row.get("json"), dict) else _plain(row)
        if name is None:
            name = f"{number:06d}"
        stem = f"{prefix}/{name}" if prefix else name

        def load(number: int = number) -> np.ndarray[Any, Any]:
            try:
                array = np.asarray(arrays[number][tokens])
            except Exception as error:
                raise FileFormatError(f"{path}: row {number}: {first_line(error)}") from error
            if array.dtype.kind in "iu" and dtype is not None:
                # datasets widens all integers to 64 bits.
                array = array.astype(dtype)
            return array

        yield RowClip(stem, nbytes, load, attributes or {})


def _token_column(path: str, split: Any, column: str | None) -> str:
    names = list(split.column_names)
    if column is not None:
        if column not in names:
            raise FileError(f"{path}: no column {column!r}; there are {', '.join(names)}")
        return column
    for name in _TOKENS:
        if name in names:
            return name
    nested = [n for n in names if _dtype(split.features[n]) is not None and _is_nested(split, n)]
    if len(nested) == 1:
        return str(nested[0])
    raise FileError(
        f"{path}: which column holds the tokens? There are {', '.join(names)}; say it with --column"
    )


def _is_nested(split: Any, name: str) -> bool:
    return not hasattr(split.features[name], "id") or type(split.features[name]).__name__ != "Value"


def _dtype(feature: Any) -> np.dtype[Any] | None:
    """The integer dtype inside a feature, or None."""
    for _ in range(32):
        if isinstance(feature, (list, tuple)):
            feature = feature[0]
        elif hasattr(feature, "feature"):
            feature = feature.feature
        else:
            break
    name = getattr(feature, "dtype", None)
    try:
        dtype = np.dtype(name) if isinstance(name, str) else None
    except TypeError:
        return None
    return dtype if dtype is not None and dtype.kind in "biu" else None


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """What of a row goes into JSON."""
    found = {}
    for key, value in row.items():
        if value is None:
            continue
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError):
            continue
        found[key] = value
    return found

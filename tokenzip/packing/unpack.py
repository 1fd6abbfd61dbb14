"""Clips of an archive into files."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Any, BinaryIO, cast

import numpy as np

from ..archive import Archive, ArchivedClip
from ..archive.parallel import OpenedOnce, Work, in_order
from ..errors import FileError, FileFormatError, TokenzipError
from ..files.atomic import atomic_output, check_target
from ..files.formats import format_of_suffix
from ..files.npy import write_npy
from ..files.reasons import first_line, os_error_text
from ..files.write import write_tokens

Failed = Callable[[str, Exception], object]


def choose(archive: Archive, patterns: Sequence[str]) -> list[str]:
    """Names of the clips that patterns mean: names, folders above them, or shell patterns.

    Raises FileError for a pattern that means none.
    """
    if not patterns:
        return list(archive)
    for pattern in patterns:
        if not any(_matches(pattern, name) for name in archive):
            raise FileError(f"{archive.name}: no clip matches {pattern!r}")
    return [name for name in archive if any(_matches(p, name) for p in patterns)]


def _matches(pattern: str, name: str) -> bool:
    return name == pattern or name.startswith(pattern + "/") or fnmatchcase(name, pattern)


def unpack(
    archive: Archive,
    target: str,
    *,
    names: Sequence[str] | None = None,
    workers: int | None = None,
    force: bool = False,
    failed: Failed | None = None,
    done: Callable[[str, str, int], object] | None = None,
) -> int:
    """Restore clips: `monday/1` becomes monday/1.npy in a directory, with monday/1.json beside it
    if it has attributes. A target that ends in .npz or .h5 gets all clips in that one file.

    Args:
        archive: what to restore from.
        target: a directory, which is created, or a .npz or .h5 file.
        names: clips to restore; None means all.
        workers: processes that decode; for directories only.
        force: overwrite what is there.
        failed: called with name and error of a clip that cannot be restored; the rest goes on.
            Without it the first error is raised.
        done: called with name, file and number of tokens of each clip.

    Returns:
        How many clips were restored.

    Raises:
        FileError: the target cannot be written.
    """
    wanted = list(archive) if names is None else list(names)
    kind = format_of_suffix(target)
    if kind in ("npz", "h5") and not os.path.isdir(target):
        count = 0
        check_target(target, force=force)
        with atomic_output(target, force=force) as file:
            write = _write_npz if kind == "npz" else _write_h5
            for name, tokens in write(file, _arrays(archive, wanted, failed)):
                count += 1
                if done is not None:
                    done(name, target, tokens)
        return count
    return _unpack_directory(archive, target, wanted, workers, force, failed, done)


def _unpack_directory(
    archive: Archive,
    target: str,
    names: Sequence[str],
    workers: int | None,
    force: bool,
    failed: Failed | None,
    done: Callable[[str, str, int], object] | None,
) -> int:
    reader = archive if workers is None else OpenedOnce(archive)
    pieces = (
        Work(name, restore, (reader, name, os.path.join(target, *name.split("/")), force))
        for name in names
    )
    count = 0
    for outcome in in_order(pieces, workers=workers):
        name = outcome.work.label
        if outcome.error is not None:
            if failed is None or not isinstance(outcome.error, (TokenzipError, OSError)):
                raise outcome.error
            failed(name, outcome.error)
            continue
        count += 1
        if done is not None:
            done(name, os.path.join(target, *name.split("/")) + ".npy", outcome.value)
    return count


def restore(archive: Archive | OpenedOnce, name: str, stem: str, force: bool) -> int:
    """Write one clip to stem.npy, and its attributes to stem.json; how many tokens it has."""
    clip = archive[name]
    paths = [stem + ".npy"] + ([stem + ".json"] if clip.attrs else [])
    try:
        os.makedirs(os.path.dirname(stem) or ".", exist_ok=True)
    except OSError as error:
        raise FileError(
            f"{os.path.dirname(stem)}: cannot be created: {os_error_text(error)}"
        ) from error
    for path in paths:
        check_target(path, force=force)
    write_tokens(paths[0], [("", np.asarray(clip))], kind="npy", force=force)
    if clip.attrs:
        with atomic_output(paths[1], force=force) as file:
            file.write(json.dumps(dict(clip.attrs), indent=1).encode())
    return clip.size


def _arrays(
    archive: Archive, names: Sequence[str], failed: Failed | None
) -> Iterator[tuple[ArchivedClip, np.ndarray[Any, Any]]]:
    for name in names:
        try:
            clip = archive[name]
            array = np.asarray(clip)
        except (TokenzipError, OSError) as error:
            if failed is None:
                raise
            failed(name, error)
            continue
        yield clip, array


def _write_npz(
    file: BinaryIO, arrays: Iterator[tuple[ArchivedClip, np.ndarray[Any, Any]]]
) -> Iterator[tuple[str, int]]:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for clip, array in arrays:
            info = zipfile.ZipInfo(clip.name + ".npy")
            info.external_attr = 0o644 << 16
            with archive.open(info, "w", force_zip64=True) as stream:
                write_npy(cast(BinaryIO, stream), array)
            yield clip.name, clip.size


def _write_h5(
    file: BinaryIO, arrays: Iterator[tuple[ArchivedClip, np.ndarray[Any, Any]]]
) -> Iterator[tuple[str, int]]:
    import h5py

    with h5py.File(file, "w") as target:
        for clip, array in arrays:
            # A clip may be called as a folder of others: the tokens have a name of their own.
            path = str(PurePosixPath(clip.name) / "tokens")
            try:
                dataset = target.create_dataset(path, data=array, track_times=False)
                for key, value in clip.attrs.items():
                    plain = (
                        value if isinstance(value, (str, int, float, bool)) else json.dumps(value)
                    )
                    dataset.attrs[key] = plain
            except (ValueError, RuntimeError, TypeError) as error:
                raise FileFormatError(
                    f"clip {clip.name!r} does not go into an HDF5 file ({first_line(error)})"
                ) from error
            yield clip.name, clip.size

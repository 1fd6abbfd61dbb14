"""Clips to train on: found, checked in one pass, then read slice by slice, never all at once."""

from __future__ import annotations

import hashlib
import os
import zlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from ..blob.fields import MAX_ALPHABET
from ..errors import (
    DTypeError,
    FileError,
    InputError,
    OptionError,
    ShapeError,
    TokenRangeError,
)
from ..files.find import find_sources
from ..files.hdf5 import Dataset, list_h5, open_h5
from ..files.npy import map_npy
from ..files.npz import list_npz
from ..files.read import READABLE_SUFFIXES, STDIN, format_of_file, read_tokens
from ..files.reasons import os_error_text
from ..grid import check_alphabet

if TYPE_CHECKING:
    from .lessons import Lessons

Tokens = npt.NDArray[np.uint16]

#: What callers may name: files, directories, patterns, and arrays they have at hand.
Data = str | os.PathLike[str] | npt.NDArray[Any]

#: Tokens that the pass over the data looks at in one go.
_SLICE_TOKENS = 1 << 22
#: Above this share of tokens that repeat the frame before, a clip counts less.
REPETITIVE = 0.7
REPETITIVE_WEIGHT = 0.3
#: Arrays of .npz files that stay in memory: their members cannot be read in slices.
_NPZ_BYTES = 1 << 28
_OPEN_FILES = 16


class _Array(Protocol):
    """An array that need not be in memory."""

    def read(self, start: int, stop: int) -> npt.NDArray[Any]:
        """Entries start .. stop - 1 of axis 0."""


@dataclass(frozen=True, eq=False)
class Clip:
    """One token grid of a data set, not in memory.

    Attributes:
        name: what messages call it: file and array.
        key: name without the folder, which decides about the validation split.
        group: the attribute `source` of an .h5 clip, or "".
        frames: its length.
        frame: shape of one frame.
        largest: the largest token.
        repeats: share of tokens equal to the one before.
        crc: CRC-32 of the tokens as little-endian uint16.
        lessons: what a teacher said about it.
        invented: whether a teacher made it up.
    """

    name: str
    key: str
    group: str
    frames: int
    frame: tuple[int, ...]
    largest: int
    repeats: float
    crc: int
    array: _Array = field(repr=False)
    first: int = 0
    lessons: Lessons | None = None
    invented: bool = False

    @property
    def tokens(self) -> int:
        """How many."""
        return self.frames * int(np.prod(self.frame, dtype=np.int64))

    @property
    def weight(self) -> float:
        """How often it is to be seen: by its length, less if it says the same again and again."""
        return self.frames * (REPETITIVE_WEIGHT if self.repeats > REPETITIVE else 1.0)

    def read(self, start: int = 0, stop: int | None = None) -> Tokens:
        """Frames start .. stop - 1."""
        stop = self.frames if stop is None else min(stop, self.frames)
        try:
            part = self.array.read(self.first + start, self.first + stop)
        except FileError:
            raise
        except (OSError, KeyError, RuntimeError) as error:
            what = os_error_text(error) if isinstance(error, OSError) else str(error)
            raise FileError(f"{self.name}: cannot be read any more: {what}") from error
        if part.shape != (stop - start, *self.frame):
            raise FileError(f"{self.name}: changed while it was in use")
        return np.ascontiguousarray(part, np.uint16)

    def part(self, start: int, stop: int) -> Clip:
        """Some of its frames as a clip."""
        lessons = self.lessons.later(start) if self.lessons else None
        return replace(self, first=self.first + start, frames=stop - start, lessons=lessons)


@dataclass(frozen=True, eq=False)
class Clips:
    """Clips of one frame shape.

    Attributes:
        clips: those that hold tokens.
        frame: the shape of all their frames.
        largest: the largest token in any of them.
        empty: how many clips without tokens were left out.
    """

    clips: tuple[Clip, ...]
    frame: tuple[int, ...]
    largest: int
    empty: int = 0

    def __len__(self) -> int:
        return len(self.clips)

    def __iter__(self) -> Iterator[Clip]:
        return iter(self.clips)

    @property
    def tokens(self) -> int:
        return sum(clip.tokens for clip in self.clips)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of names, shapes and CRCs, in hexadecimal."""
        digest = hashlib.sha256()
        for clip in self.clips:
            shape = [clip.first, clip.frames, *clip.frame]
            digest.update(f"{clip.key}\n{shape}\n{clip.crc:08x}\n".encode())
        return digest.hexdigest()

    def only(self, clips: Sequence[Clip]) -> Clips:
        return replace(self, clips=tuple(clips))


def open_clips(
    data: Data | Sequence[Data],
    *,
    select: Sequence[str] = (),
    alphabet: int | None = None,
) -> Clips:
    """Find the clips that `data` means and look at every token once.

    Args:
        data: files (.npy, .npz, .h5), directories, patterns, arrays, or several of these.
        select: arrays of .npz and .h5 files, as names, groups or patterns.
        alphabet: tokens must be below this.

    Raises:
        FileError, FileFormatError: a file cannot be read.
        DTypeError, TokenRangeError, ShapeError: a clip holds no tokens of this alphabet, or its
            frames have another shape than those of the first; names the file.
        InputError: there is no token at all.
    """
    limit = MAX_ALPHABET if alphabet is None else check_alphabet(alphabet)
    found: list[Clip] = []
    empty = 0
    for name, key, group, array, shape, dtype in _arrays(data, select):
        if dtype.kind not in "bui":
            raise DTypeError(f"{name}: tokens must be integers, this is {dtype}")
        frames, frame = (shape[0], shape[1:]) if shape else (1, ())
        if 0 in (frames, *frame):
            empty += 1
            continue
        if found and frame != found[0].frame:
            raise ShapeError(
                f"{name}: frames of shape {_shown(frame)}, but those of {found[0].name} have "
                f"{_shown(found[0].frame)}; one model is for one frame shape: train on files of "
                "one shape, or choose arrays with --dataset or --key"
            )
        found.append(_looked_at(name, key, group, array, frames, frame, limit))
    if not found:
        raise InputError(
            "there are no tokens in the data" + (": all clips are empty" * bool(empty))
        )
    return Clips(tuple(found), found[0].frame, max(clip.largest for clip in found), empty)


def inferred_alphabet(clips: Clips) -> int:
    """The next power of two above the largest token: the tokens not used here may come yet."""
    return 1 << max(1, clips.largest.bit_length())


def split(clips: Clips, fraction: float) -> tuple[Clips, Clips | None]:
    """Clips to train on, and those held aside for validation.

    A clip's name alone decides, by a hash, so that more data moves no clip to the other side; but
    either side gets one clip at least. Of a single clip the last frames are held aside, if there
    are enough.
    """
    if fraction <= 0:
        return clips, None
    if len(clips) == 1:
        (clip,) = clips.clips
        held = min(max(1, round(clip.frames * fraction)), clip.frames // 4)
        if held == 0:
            return clips, None
        start = clip.frames - held
        return clips.only([clip.part(0, start)]), clips.only([clip.part(start, clip.frames)])
    places = {clip.name: _place(clip.key) for clip in clips}
    ordered = sorted(clips, key=lambda clip: (places[clip.name], clip.name))
    count = sum(places[clip.name] < fraction for clip in clips)
    held_aside = {clip.name for clip in ordered[: min(max(1, count), len(clips) - 1)]}
    return (
        clips.only([clip for clip in clips if clip.name not in held_aside]),
        clips.only([clip for clip in clips if clip.name in held_aside]),
    )


def _place(key: str) -> float:
    """A number in 0 .. 1 that is a name's own."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64


def _shown(frame: tuple[int, ...]) -> str:
    return " x ".join(map(str, frame)) or "()"


def _looked_at(
    name: str,
    key: str,
    group: str,
    array: _Array,
    frames: int,
    frame: tuple[int, ...],
    limit: int,
) -> Clip:
    """The clip of an array, after one pass over its tokens."""
    size = int(np.prod(frame, dtype=np.int64))
    step = max(1, _SLICE_TOKENS // size)
    largest, crc, equal = 0, 0, 0
    last: npt.NDArray[Any] | None = None
    for start in range(0, frames, step):
        part = array.read(start, min(start + step, frames))
        low, high = int(part.min()), int(part.max())
        if low < 0 or high >= limit:
            _refuse(name, part, start, limit)
        largest = max(largest, high)
        tokens = part.astype("<u2", order="C")
        crc = zlib.crc32(tokens.data, crc)
        equal += int((tokens[1:] == tokens[:-1]).sum())
        if last is not None:
            equal += int((tokens[0] == last).sum())
        last = tokens[-1]
    repeats = equal / ((frames - 1) * size) if frames > 1 else 0.0
    return Clip(name, key, group, frames, frame, largest, repeats, crc, array)


def _refuse(name: str, part: npt.NDArray[Any], start: int, limit: int) -> None:
    bad = np.argwhere((part < 0) | (part >= limit))[0].tolist()
    value = int(part[tuple(bad)])
    index = (start + bad[0], *bad[1:])
    reason = "is negative" if value < 0 else f"is not below the alphabet, {limit}"
    raise TokenRangeError(f"{name}: token {value} at {index} {reason}", index=index, value=value)


# Arrays of files


_Found = tuple[str, str, str, _Array, tuple[int, ...], "np.dtype[Any]"]


def _arrays(data: Data | Sequence[Data], select: Sequence[str]) -> Iterator[_Found]:
    """(name, key, group, array, shape, dtype) of all that `data` means."""
    items = [data] if isinstance(data, (str, os.PathLike, np.ndarray)) else list(data)
    paths: list[str] = []
    for number, item in enumerate(items):
        if isinstance(item, (str, os.PathLike)):
            paths.append(os.fspath(item))
        else:
            values = np.asarray(item)
            name = f"array {number}"
            yield name, name, "", _InMemory(values), values.shape, values.dtype
    if STDIN in paths:
        raise OptionError("training data cannot come from standard input: it is read many times")
    h5, npz = _H5Files(), _NpzFiles()
    for source in find_sources(paths, READABLE_SUFFIXES) if paths else []:
        path, base = source.path, os.path.basename(source.path)
        try:
            kind = format_of_file(path)
            if kind == "npy":
                if select:
                    raise OptionError(f"{path}: a npy file has no named arrays to choose from")
                mapped = map_npy(path)
                yield path, base, "", _Npy(path), mapped.shape, mapped.dtype
            elif kind == "h5":
                for found in h5.listing(path, select):
                    shape, dtype = found.shape, found.dtype
                    array = _H5(h5, path, found.path)
                    name, key = f"{path}[{found.path}]", f"{base}[{found.path}]"
                    yield name, key, found.group, array, shape, dtype
            elif kind == "npz":
                for member in list_npz(path, select):
                    values = npz.array(path, member)
                    if values.dtype.kind not in "bui" and not select:
                        continue
                    name, key = f"{path}[{member}]", f"{base}[{member}]"
                    yield name, key, "", _Npz(npz, path, member), values.shape, values.dtype
            else:
                raise OptionError(
                    f"{path}: raw files do not say what they hold; save .npy, .npz or .h5"
                )
        except FileError:
            raise
        except OSError as error:
            raise FileError(f"{path}: cannot be read: {os_error_text(error)}") from error


def _rows(values: npt.NDArray[Any], start: int, stop: int) -> npt.NDArray[Any]:
    return values.reshape(1)[start:stop] if values.ndim == 0 else values[start:stop]


@dataclass(frozen=True, eq=False)
class _InMemory:
    values: npt.NDArray[Any]

    def read(self, start: int, stop: int) -> npt.NDArray[Any]:
        return _rows(self.values, start, stop)


@dataclass(frozen=True)
class _Npy:
    path: str

    def read(self, start: int, stop: int) -> npt.NDArray[Any]:
        # Mapped anew each time: thousands of files would be too many to keep open.
        return np.array(_rows(map_npy(self.path), start, stop))


class _H5Files:
    """A few open HDF5 files."""

    def __init__(self) -> None:
        self._open: OrderedDict[str, Any] = OrderedDict()

    def file(self, path: str) -> Any:
        if path not in self._open:
            while len(self._open) >= _OPEN_FILES:
                self._open.popitem(last=False)[1].close()
            self._open[path] = open_h5(path)
        self._open.move_to_end(path)
        return self._open[path]

    def listing(self, path: str, select: Sequence[str]) -> list[Dataset]:
        return list_h5(self.file(path), path, select)


@dataclass(frozen=True, eq=False)
class _H5:
    files: _H5Files
    path: str
    dataset: str

    def read(self, start: int, stop: int) -> npt.NDArray[Any]:
        found = self.files.file(self.path)[self.dataset]
        if found.ndim == 0:
            return np.asarray(found[()]).reshape(1)[start:stop]
        return np.asarray(found[start:stop])


class _NpzFiles:
    """Arrays of .npz files, the last used ones in memory."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, str], npt.NDArray[Any]] = OrderedDict()

    def array(self, path: str, member: str) -> npt.NDArray[Any]:
        if (path, member) not in self._kept:
            self._kept[path, member] = dict(read_tokens(path, select=[member]).arrays)[member]
            while sum(v.nbytes for v in self._kept.values()) > _NPZ_BYTES and len(self._kept) > 1:
                self._kept.popitem(last=False)
        self._kept.move_to_end((path, member))
        return self._kept[path, member]


@dataclass(frozen=True, eq=False)
class _Npz:
    files: _NpzFiles
    path: str
    member: str

    def read(self, start: int, stop: int) -> npt.NDArray[Any]:
        return _rows(self.files.array(self.path, self.member), start, stop)

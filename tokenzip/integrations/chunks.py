"""One chunk of somebody's array as a blob and back, as the codecs of Zarr, numcodecs and HDF5 need.

Those tools cut arrays into chunks of their own, so a chunk here is what they call one: it becomes a
blob of its own and decodes without its neighbours.
"""

from __future__ import annotations

import math
import operator
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..blob import GridInfo
from ..codec import Codec, decode, inspect
from ..errors import CorruptError, DTypeError, OptionError

Array = npt.NDArray[Any]


class _Turns:
    """As many at a time as there are cores: Zarr starts many chunks at once, and each that is coded
    takes the memory of a coder."""

    def __init__(self) -> None:
        self.reset()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.reset)  # no thread of the parent is there

    def reset(self) -> None:
        self._places = threading.BoundedSemaphore(os.cpu_count() or 1)

    @contextmanager
    def one(self) -> Iterator[None]:
        with self._places:
            yield


_turns = _Turns()


def check_dtype(dtype: np.dtype[Any], what: str) -> None:
    """Raise DTypeError unless arrays of this dtype can hold tokens."""
    if dtype.kind not in "biu":
        raise DTypeError(
            f"{what} has dtype {dtype}, but tokenzip compresses integers (and bools) of 0 to 65,535"
        )


def frames_first(shape: Sequence[int], frame: Sequence[int] | None) -> tuple[int, ...]:
    """The shape (T, *frame) as which a chunk of `shape` is coded; the order of tokens stays.

    Without `frame`, the axis of time is the first that is longer than one: a chunk of one clip out
    of (clips, T, 8, 16) is coded as (T, 8, 16).
    """
    if frame is None:
        leading = next((axis for axis, size in enumerate(shape) if size != 1), len(shape) - 1)
        return tuple(shape[max(leading, 0) :])
    tokens, one = math.prod(shape), math.prod(frame)
    if tokens % one:
        raise OptionError(
            f"{tokens:,} tokens, a chunk of shape {tuple(shape)}, cannot be cut into frames of "
            f"shape {tuple(frame)}: choose another `frame`, or None"
        )
    return (tokens // one, *frame)


@dataclass(frozen=True)
class Settings:
    """How chunks are encoded; decoding needs none of it. All that a tool keeps is JSON.

    Attributes:
        alphabet: number of symbols; None takes the largest token of each chunk plus one.
        predictor: as in tokenzip.encode.
        chunk_frames: frames per chunk inside the blob of one chunk; seldom of use.
        frame: shape of a frame, for chunks of more than one clip or of one axis: see frames_first.

    Raises:
        OptionError: a setting is wrong.
    """

    alphabet: int | None = None
    predictor: str = "auto"
    chunk_frames: int | None = None
    frame: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        codec = self.codec
        object.__setattr__(self, "alphabet", codec.alphabet)
        object.__setattr__(self, "chunk_frames", codec.chunk_frames)
        if self.frame is not None:
            object.__setattr__(self, "frame", _checked_frame(self.frame))

    @property
    def codec(self) -> Codec:
        return Codec(
            alphabet=self.alphabet, predictor=self.predictor, chunk_frames=self.chunk_frames
        )

    def to_dict(self) -> dict[str, Any]:
        """What differs from the defaults, as JSON."""
        said: dict[str, Any] = {"alphabet": self.alphabet, "chunk_frames": self.chunk_frames}
        said["frame"] = None if self.frame is None else list(self.frame)
        named = {name: value for name, value in said.items() if value is not None}
        return named if self.predictor == "auto" else {**named, "predictor": self.predictor}

    def encode(self, chunk: Array) -> bytes:
        """The blob of one chunk; raises as tokenzip.encode does."""
        frames = chunk.reshape(frames_first(chunk.shape, self.frame))
        with _turns.one():
            return self.codec.encode(frames)


def _checked_frame(frame: Any) -> tuple[int, ...]:
    try:
        sizes = tuple(operator.index(size) for size in frame)
    except TypeError:
        sizes = (0,)
    if any(size < 1 for size in sizes):
        raise OptionError(f"frame must be a shape such as (8, 16), not {frame!r}")
    return sizes


def decode_chunk(blob: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """The chunk in a blob, C-contiguous and writable, if it has this many tokens of this dtype.

    Nothing is allocated by a blob's own claims: one that says otherwise is refused first.

    Raises:
        BlobError: not a blob, damaged, or not of such a chunk.
    """
    expected = math.prod(shape)
    grid = only_grid(blob)
    if grid.tokens != expected or grid.dtype.newbyteorder("=") != dtype.newbyteorder("="):
        raise CorruptError(
            f"a blob of shape {grid.shape} and dtype {grid.dtype} where a chunk of shape {shape} "
            f"and dtype {dtype} should be"
        )
    return decode_tokens(blob, expected).astype(dtype, copy=False).reshape(shape)


def decode_tokens(blob: Any, most: int) -> Array:
    """The array of a blob of one, in the shape that was encoded; LimitError above `most` tokens."""
    with _turns.one():
        tokens = decode(blob, max_tokens=most)
    assert isinstance(tokens, np.ndarray)
    return tokens


def only_grid(blob: Any) -> GridInfo:
    """What the header of a chunk's blob says; CorruptError if it holds a list of arrays."""
    info = inspect(blob)
    if info.is_list or len(info.grids) != 1:
        raise CorruptError(f"a blob of {len(info.grids)} arrays where one chunk should be")
    return info.grids[0]

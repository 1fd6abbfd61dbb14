"""`decode(frames=...)`: which frames are wanted, and which chunks hold them."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any, TypeAlias

from .blob import ChunkInfo, GridInfo
from .errors import OptionError

#: None (all), an index, or a slice; as in numpy an index drops the axis of time.
Frames: TypeAlias = "int | slice | None"


@dataclass(frozen=True, slots=True)
class Selection:
    """The wanted frames of one grid, in the order wanted.

    Attributes:
        wanted: frame numbers, none negative.
        drop_axis: whether a single index was asked for.
    """

    wanted: range
    drop_axis: bool

    @classmethod
    def of(cls, frames: Frames, grid: GridInfo) -> Selection:
        """Resolve an index or slice as numpy would; OptionError if it is not one or is outside."""
        if frames is None:
            return cls(range(grid.frames), False)
        if not grid.shape:
            raise OptionError("this grid has no dimensions, so no frames can be chosen from it")
        if isinstance(frames, slice):
            try:
                return cls(range(grid.frames)[frames], False)
            except (TypeError, ValueError) as error:
                raise OptionError(f"frames={frames!r} is not a valid slice: {error}") from error
        index = _index(frames)
        try:
            number = range(grid.frames)[index]
        except IndexError:
            raise OptionError(f"frame {index} of a grid of {grid.frames} frames") from None
        return cls(range(number, number + 1), True)

    def within(self, chunk: ChunkInfo) -> tuple[slice, slice]:
        """(places in the output, frames of the chunk) of the wanted frames that a chunk holds.

        Both slices have the same length; an empty one means that the chunk is not needed.
        """
        first, stop = chunk.start, chunk.start + chunk.frames
        ordered = self.wanted if self.wanted.step > 0 else self.wanted[::-1]
        low = _count_below(ordered, first)
        high = _count_below(ordered, stop)
        if low == high:
            return slice(0, 0), slice(0, 0)
        source = slice(ordered[low] - first, ordered[high - 1] - first + 1, ordered.step)
        if self.wanted.step > 0:
            return slice(low, high), source
        last = len(ordered) - 1
        before = last - high
        return slice(last - low, before if before >= 0 else None, -1), source

    def needs(self, chunk: ChunkInfo) -> bool:
        target, _ = self.within(chunk)
        return target != slice(0, 0)


def _count_below(ordered: range, bound: int) -> int:
    """How many members of a rising range are below `bound`."""
    return min(len(ordered), max(0, -(-(bound - ordered.start) // ordered.step)))


def _index(value: Any) -> int:
    try:
        if not isinstance(value, bool):
            return operator.index(value)
    except TypeError:
        pass
    raise OptionError(f"frames must be a slice or an integer, not {value!r}")

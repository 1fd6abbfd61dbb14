"""Windows of frames over the clips of an archive: which there are, and in which order they come."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import OptionError

#: What chooses among clips: names, a pattern such as "train/*", or a function of the name.
Clips = Iterable[str] | str | Callable[[str], bool] | None

#: Frames that are decoded at a time where windows follow one another.
_RUN_FRAMES = 1200


class Window(NamedTuple):
    """A window: frames start to start + frames of a clip."""

    clip: str
    start: int


class Run(NamedTuple):
    """Windows of one clip that follow one another: numbers first to stop of that clip's."""

    clip: int
    first: int
    stop: int


class Windows:
    """All windows of `frames` frames at a distance of `stride` over the clips of an archive."""

    def __init__(
        self, archive: Mapping[str, Any], frames: int, stride: int | None, clips: Clips
    ) -> None:
        """
        Raises:
            OptionError: there is no such window, or they differ in the shape of a frame.
            ClipNotFoundError: a clip was named that is not there.
        """
        self.frames = _positive("frames", frames)
        self.stride = self.frames if stride is None else _positive("stride", stride)
        names, counts = [], []
        shapes: dict[tuple[int, ...], str] = {}
        for name in _chosen(archive, clips):
            shape = archive[name].shape
            if shape and shape[0] >= self.frames:
                names.append(name)
                counts.append((shape[0] - self.frames) // self.stride + 1)
                shapes.setdefault(shape[1:], name)
        if not names:
            raise OptionError(f"no clip that was chosen has {self.frames} frames")
        if len(shapes) > 1:
            (one, name), (other, another) = list(shapes.items())[:2]
            raise OptionError(
                f"clips of different frames: {one} ({name!r}) and {other} ({another!r}); choose "
                "with clips=..."
            )
        self.clips = names
        self.counts: npt.NDArray[np.int64] = np.array(counts, np.int64)
        self._ends = np.cumsum(self.counts).tolist()

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> Window:
        number = range(len(self))[index]
        clip = bisect_right(self._ends, number)
        before = self._ends[clip - 1] if clip else 0
        return Window(self.clips[clip], (number - before) * self.stride)

    def runs(self) -> list[Run]:
        """All windows, cut into runs that are decoded at a time."""
        most = max(1, (_RUN_FRAMES - self.frames) // self.stride + 1)
        return [
            Run(clip, first, min(first + most, count))
            for clip, count in enumerate(self.counts.tolist())
            for first in range(0, count, most)
        ]


def share(total: int, part: int, parts: int, *, even: bool = False) -> tuple[int, int]:
    """(first, stop) of one part of `total` things; if even, all parts have as many."""
    if even:
        each = total // parts
        return part * each, (part + 1) * each
    return total * part // parts, total * (part + 1) // parts


def part_of_runs(runs: list[Run], first: int, stop: int) -> Iterator[Run]:
    """The runs, or parts of them, that hold windows number first to stop of their sequence."""
    position = 0
    for run in runs:
        length = run.stop - run.first
        low, high = max(first - position, 0), min(stop - position, length)
        if low < high:
            yield Run(run.clip, run.first + low, run.first + high)
        position += length


def _chosen(archive: Mapping[str, Any], clips: Clips) -> Iterable[str]:
    if clips is None:
        return archive
    if isinstance(clips, str):
        pattern = clips
        return [name for name in archive if fnmatchcase(name, pattern)]
    if callable(clips):
        return [name for name in archive if clips(name)]
    return clips


def _positive(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise OptionError(f"{name} must be an integer of at least 1, not {value!r}")
    return int(value)

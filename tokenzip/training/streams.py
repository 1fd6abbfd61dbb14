"""Segments to train on: streams run through clips for a while, and a network's state runs along.

A stream takes up a clip somewhere (at its start now and then, where every clip begins), gives a few
segments that follow one another, and then takes up another. Which ones depends on the seed alone,
and a stream's place can be saved and restored.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..models import HISTORY, Geometry
from .clips import Clip, Clips

#: Share of runs that begin at the first frame.
_FROM_START = 0.15
#: Share of runs through clips that a teacher invented, where there are any.
_INVENTED = 0.75
#: Share of runs through other clips with lessons in which the frame being predicted is hidden, as
#: it is in invented ones.
_BLIND = 0.3


@dataclass(frozen=True)
class Shape:
    """How a step's symbols are laid out.

    Attributes:
        streams: side by side.
        frames: of a segment, through which gradients flow back.
        segments: that follow one another with the state carried, at most.
    """

    streams: int
    frames: int
    segments: int

    @classmethod
    def of(
        cls, geometry: Geometry, longest: int, symbols: int, segments: int, segment: int | None
    ) -> Shape:
        """About `symbols` symbols a step, for clips of at most `longest` frames.

        Large frames get short segments, but never so short that nothing can be learnt over time;
        small ones get long segments, as they cost little and their past reaches further.
        """
        of_frame = geometry.sites * geometry.planes
        most = 16 if of_frame >= 64 else 64
        frames = min(longest, segment or min(most, max(4, symbols // (2 * of_frame))))
        return cls(max(1, symbols // (frames * of_frame)), frames, segments)

    def symbols(self, geometry: Geometry) -> int:
        """Symbols of a step."""
        return self.streams * self.frames * geometry.sites * geometry.planes


@dataclass(frozen=True)
class Batch:
    """What one step trains on.

    Attributes:
        symbols: int16/int32 (streams, HISTORY + frames, height, width, planes).
        there: bool (streams, frames): false where a clip had ended.
        fresh: bool (streams,): true where a new run begins, with no state.
        blind: bool (streams,): where networks are to see nothing of the frame they predict, as the
            teacher did, whose places of a frame know nothing of each other. None without lessons.
        labels: int32 (streams, frames, height, width, planes, K): symbols that may come.
        shares: float32, likewise: how likely they are; what is missing to 1 is all symbols'.
    """

    symbols: npt.NDArray[np.int32]
    there: npt.NDArray[np.bool_]
    fresh: npt.NDArray[np.bool_]
    blind: npt.NDArray[np.bool_] | None = None
    labels: npt.NDArray[np.int32] | None = None
    shares: npt.NDArray[np.float32] | None = None


class Streams:
    """A batch's streams, in one process of possibly several."""

    def __init__(
        self,
        clips: Clips,
        geometry: Geometry,
        shape: Shape,
        seed: int,
        rank: int = 0,
        teacher_share: float = 0.0,
    ) -> None:
        self._clips, self._geometry, self.shape = clips.clips, geometry, shape
        self._teacher_share = teacher_share
        self._taught = any(clip.lessons for clip in clips)
        weights = np.cumsum(_weights(clips))
        self._bounds = weights / weights[-1]
        self._rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, rank])))
        self._streams = [_Stream() for _ in range(shape.streams)]

    def next(self) -> Batch:
        """The next segment of every stream."""
        geometry, frames = self._geometry, self.shape.frames
        sites = (geometry.height, geometry.width, geometry.planes)
        shape = (len(self._streams), HISTORY + frames, *sites)
        symbols = np.full(shape, geometry.symbols, np.int32)
        there = np.zeros((len(self._streams), frames), np.bool_)
        fresh = np.zeros(len(self._streams), np.bool_)
        lessons: list[_Lesson] = []
        for number, stream in enumerate(self._streams):
            if stream.place >= stream.stop:
                self._take_up(stream)
                fresh[number] = True
            start = stream.place
            stop = min(start + frames, stream.stop)
            before = min(HISTORY, start)
            run = self._symbols(stream, start - before, stop).reshape(-1, *sites)
            symbols[number, HISTORY - before : HISTORY + stop - start] = run
            # After a clip's end, any symbols do: they are costed, but not counted.
            symbols[number, HISTORY + stop - start :] = 0
            there[number, : stop - start] = True
            if self._taught:
                lessons.append(self._lesson(stream, start, stop, symbols[number, HISTORY:]))
            stream.place = stop
        if not self._taught:
            return Batch(symbols, there, fresh)
        blind = np.array([stream.blind for stream in self._streams])
        return Batch(symbols, there, fresh, blind, *_side_by_side(lessons))

    def _lesson(
        self, stream: _Stream, start: int, stop: int, symbols: npt.NDArray[np.int32]
    ) -> _Lesson:
        """Labels and their shares of a segment int32 (frames, height, width, planes).

        Of what came, and, if there is a teacher's word, of what the teacher holds likely.
        """
        clip, true = self._clips[stream.number], symbols[..., None]
        if clip.lessons is None:
            return true, np.ones(true.shape, np.float32)
        kept, likely = clip.lessons.read(start, stop)
        shape = (*symbols.shape, kept.shape[-1])
        labels, shares = np.zeros(shape, np.int32), np.zeros(shape, np.float32)
        labels[: stop - start] = kept.reshape(-1, *shape[1:])
        shares[: stop - start] = likely.reshape(-1, *shape[1:])
        # Where the teacher saw as much as the network does, its word is all that counts.
        share = 1.0 if stream.blind else self._teacher_share
        return (
            np.concatenate([true, labels], -1),
            np.concatenate([np.full(true.shape, 1 - share, np.float32), shares * share], -1),
        )

    def _take_up(self, stream: _Stream) -> None:
        rng, frames = self._rng, self.shape.frames
        number = int(np.searchsorted(self._bounds, rng.random(), side="right"))
        stream.number = min(number, len(self._clips) - 1)
        length = self._clips[stream.number].frames
        first = rng.random() < _FROM_START
        stream.place = 0 if first else int(rng.integers(0, max(1, length - frames + 1)))
        left = min(length - stream.place, frames * self.shape.segments)
        # Whole segments, unless the clip is shorter than one.
        stream.stop = stream.place + (left // frames * frames or left)
        stream.read = None
        if self._taught:
            clip = self._clips[stream.number]
            stream.blind = clip.invented or (clip.lessons is not None and rng.random() < _BLIND)

    def _symbols(self, stream: _Stream, start: int, stop: int) -> npt.NDArray[np.int32]:
        if stream.read is None:
            # The whole run at once, with what comes before it.
            stream.first = max(0, stream.place - HISTORY)
            clip: Clip = self._clips[stream.number]
            stream.read = self._geometry.to_symbols(clip.read(stream.first, stream.stop))
        return stream.read[start - stream.first : stop - stream.first]

    def state(self) -> dict[str, Any]:
        """All that decides what comes next."""
        streams = [[s.number, s.place, s.stop, s.blind] for s in self._streams]
        return {"random": json.dumps(self._rng.bit_generator.state), "streams": streams}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on as after `state`."""
        self._rng.bit_generator.state = json.loads(state["random"])
        self._streams = [_Stream(*numbers) for numbers in state["streams"]]


_Lesson = tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]


def _side_by_side(lessons: list[_Lesson]) -> _Lesson:
    """The labels and shares of all streams, (streams, ...), whose numbers of labels may differ."""
    most = max(labels.shape[-1] for labels, _ in lessons)
    shape = (len(lessons), *lessons[0][0].shape[:-1], most)
    every, parts = np.zeros(shape, np.int32), np.zeros(shape, np.float32)
    for number, (labels, shares) in enumerate(lessons):
        every[number, ..., : labels.shape[-1]] = labels
        parts[number, ..., : shares.shape[-1]] = shares
    return every, parts


def _weights(clips: Clips) -> npt.NDArray[np.float64]:
    """How often each clip is to be seen."""
    weights = np.array([clip.weight for clip in clips], np.float64)
    invented = np.array([clip.invented for clip in clips])
    if invented.any():
        weights[invented] *= _INVENTED / weights[invented].sum()
        weights[~invented] *= (1 - _INVENTED) / weights[~invented].sum()
    return weights


@dataclass
class _Stream:
    number: int = 0
    place: int = 0
    stop: int = 0
    blind: bool = False
    first: int = 0
    read: npt.NDArray[np.int32] | None = None

"""What a teacher said about clips, kept in a folder so that it is asked once.

    real-<CRC>-<first>-<frames>.npy      a training clip
    invented-<number>.npy                a clip that the teacher went on inventing from a real one
    lessons.json                         what they were made of

Each array is uint32 (T, *frame, 1 + K): the token, then the K likeliest ones with their
probabilities, as symbol + 2^16 * steps of 1/8 bit. Files appear whole or not at all, so a folder
begun is gone on with.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..errors import FileError, OptionError
from ..files.atomic import atomic_output
from ..files.npy import map_npy, write_npy
from ..files.reasons import os_error_text
from ..models.geometry import MAX_SYMBOLS
from .clips import Clip, Clips
from .teacher import Teacher, log_probabilities

#: The likeliest tokens that are kept: of a commaVQ teacher they have 91 % of all probability.
KEPT = 64
#: Frames that a teacher invents in a row, behind the frames of a real clip that it looked at.
INVENTED_FRAMES = 56
#: Invented tokens are drawn at temperatures of 1 to this, one a clip. At 1 a teacher that draws
#: positions independently freezes: of commaVQ's, 41 % of the tokens repeated the frame before at
#: first and 67 % after 40 frames; at 1.1 it was 35 % and 26 %. Real clips have 35 to 49 %.
HOTTEST = 1.1
_STEPS = 8
_MOST_STEPS = 255
_CLIPS_AT_ONCE = 4
_ABOUT = "lessons.json"


@dataclass(frozen=True)
class Lessons:
    """The lessons about a clip: a file, frame by frame those of the clip."""

    path: str
    first: int = 0

    def read(self, start: int, stop: int) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.float32]]:
        """Tokens uint16 (T, *frame, K) and their probabilities, float32, of frames of the clip."""
        kept = np.array(map_npy(self.path)[self.first + start : self.first + stop, ..., 1:])
        return (kept & 0xFFFF).astype(np.uint16), np.exp2((kept >> 16) * np.float32(-1 / _STEPS))

    def later(self, frames: int) -> Lessons:
        """Those of a part of the clip that begins so many frames later."""
        return replace(self, first=self.first + frames)


def taught(
    folder: Path,
    teacher: Teacher,
    clips: Clips,
    alphabet: int,
    frames: int,
    *,
    seed: int = 0,
    stop: Callable[[], bool] = lambda: False,
    note: Callable[[str], None] = lambda text: None,
) -> Clips:
    """The clips with the teacher's lessons, and clips of about `frames` frames that it invents.

    Lessons that are in the folder already are taken from there. If `stop` says so, no more clips
    are invented.

    Raises:
        OptionError: the teacher's answers make no sense, the alphabet is too large for lessons, or
            the folder's lessons are of other data.
        FileError: the folder cannot be written.
    """
    if alphabet > MAX_SYMBOLS:
        raise OptionError(f"teachers are for alphabets up to {MAX_SYMBOLS}, not {alphabet}")
    _open(folder, clips, alphabet, seed)
    pupil = _Pupil(teacher, clips.frame, alphabet)
    real = []
    for clip in clips:
        path = folder / f"real-{clip.crc:08x}-{clip.first}-{clip.frames}.npy"
        if not path.exists():
            note(f"asking the teacher about {clip.name}")
            _write(path, pupil.about(clip.read()))
        real.append(replace(clip, lessons=Lessons(str(path))))
    rounds = -(-frames // (_CLIPS_AT_ONCE * INVENTED_FRAMES))
    invented: list[Clip] = []
    for number in range(rounds):
        first = number * _CLIPS_AT_ONCE
        paths = [folder / f"invented-{first + i:05d}.npy" for i in range(_CLIPS_AT_ONCE)]
        if not all(path.exists() for path in paths):
            if stop():
                break
            rng = np.random.default_rng([seed, number])
            for path, array in zip(paths, pupil.invent(real, rng), strict=True):
                _write(path, array)
        invented += [_invented(path) for path in paths]
        if (number + 1) % 50 == 0:
            note(f"{len(invented) * INVENTED_FRAMES:,} of {frames:,} frames invented")
    return clips.only([*real, *invented])


class _Pupil:
    """Who asks a teacher."""

    def __init__(self, teacher: Teacher, frame: tuple[int, ...], alphabet: int) -> None:
        self._teacher, self._frame, self._alphabet = teacher, frame, alphabet
        self._kept = min(KEPT, alphabet)

    def about(self, tokens: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint32]:
        """The lessons about a clip, as in a file."""
        seen = self._teacher.frames
        before = np.zeros((seen, *self._frame), np.int64)
        padded = torch.from_numpy(np.concatenate([before, tokens.astype(np.int64)]))
        parts = []
        for start in range(0, len(tokens), _CLIPS_AT_ONCE):
            stop = min(start + _CLIPS_AT_ONCE, len(tokens))
            context = torch.stack([padded[t : t + seen] for t in range(start, stop)])
            parts.append(self._lesson(self._ask(context), padded[start + seen : stop + seen]))
        return np.concatenate(parts)

    def invent(
        self, real: Sequence[Clip], rng: np.random.Generator
    ) -> Iterator[npt.NDArray[np.uint32]]:
        """Clips as in a file: frames of a real clip, and those that the teacher puts behind."""
        seen = self._teacher.frames
        weights = np.array([clip.frames for clip in real], np.float64)
        begun = []
        for number in rng.choice(len(real), _CLIPS_AT_ONCE, p=weights / weights.sum()):
            clip = real[number]
            place = int(rng.integers(0, max(1, clip.frames - seen + 1)))
            begun.append(_kept(clip, place, min(clip.frames, place + seen)))
        context = torch.zeros((len(begun), seen, *self._frame), dtype=torch.int64)
        for row, kept in zip(context, begun, strict=True):
            row[seen - len(kept) :] = torch.from_numpy(kept[..., 0].astype(np.int64))
        heat = torch.from_numpy(rng.uniform(1.0, HOTTEST, len(begun)).astype(np.float32))
        random = torch.Generator().manual_seed(int(rng.integers(2**62)))
        after = []
        for _ in range(INVENTED_FRAMES):
            found = self._ask(context)
            # Temperature on log2 probabilities is that on logits.
            drawn = torch.exp2(found / heat.view(-1, *[1] * (found.ndim - 1)))
            tokens = torch.multinomial(drawn.flatten(0, -2), 1, generator=random)
            tokens = tokens.view(found.shape[:-1])
            after.append(self._lesson(found, tokens))
            context = torch.cat([context[:, 1:], tokens[:, None]], 1)
        invented = np.stack(after, 1)
        for kept, rest in zip(begun, invented, strict=True):
            yield np.concatenate([kept, rest])

    def _ask(self, context: Tensor) -> Tensor:
        return log_probabilities(self._teacher, context, self._frame, self._alphabet)

    def _lesson(self, found: Tensor, tokens: Tensor) -> npt.NDArray[np.uint32]:
        """uint32 (B, *frame, 1 + K) of log2 probabilities (B, *frame, A) and tokens."""
        likely, symbols = found.topk(self._kept, -1)
        steps = (likely * -_STEPS).round().clamp(0, _MOST_STEPS).to(torch.int64)
        every = torch.cat([tokens[..., None], symbols + (steps << 16)], -1)
        packed: npt.NDArray[np.uint32] = every.numpy().astype(np.uint32)
        return packed


def _kept(clip: Clip, start: int, stop: int) -> npt.NDArray[np.uint32]:
    """Frames of a clip's file of lessons."""
    assert clip.lessons is not None
    first = clip.lessons.first
    kept = map_npy(clip.lessons.path)[first + start : first + stop]
    return np.array(kept, np.uint32)


@dataclass(frozen=True)
class _Tokens:
    """The tokens of a file of lessons."""

    path: str

    def read(self, start: int, stop: int) -> npt.NDArray[Any]:
        return np.array(map_npy(self.path)[start:stop, ..., 0])


def _invented(path: Path) -> Clip:
    shape = map_npy(str(path)).shape
    return Clip(
        *(str(path), path.name, "", shape[0], tuple(shape[1:-1]), 0, 0.0, 0, _Tokens(str(path))),
        lessons=Lessons(str(path)),
        invented=True,
    )


def _open(folder: Path, clips: Clips, alphabet: int, seed: int) -> None:
    """Make the folder, or see that its lessons are of the same clips."""
    about = {"data": clips.fingerprint, "alphabet": alphabet, "seed": seed, "kept": KEPT}
    path = folder / _ABOUT
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if path.exists():
            then = json.loads(path.read_text(encoding="utf-8"))
            if then != about:
                raise OptionError(
                    f"{folder}: holds lessons of other data, another alphabet or seed: remove it, "
                    "or name another folder"
                )
            return
    except (OSError, ValueError) as error:
        if isinstance(error, OptionError):
            raise
        reason = os_error_text(error) if isinstance(error, OSError) else str(error)
        raise FileError(f"{folder}: cannot be used for lessons: {reason}") from error
    with atomic_output(path) as file:
        file.write(json.dumps(about, indent=1).encode())


def _write(path: Path, array: npt.NDArray[np.uint32]) -> None:
    with atomic_output(path, force=True) as file:
        write_npy(file, array)

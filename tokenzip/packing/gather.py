"""Clips of sources, in memory: all of them, or some where they are too many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import TokenzipError
from .sources import Sources

#: Tokens that are kept, about: 256 MiB.
MOST_TOKENS = 1 << 27


@dataclass(frozen=True)
class Gathered:
    """Some clips.

    Attributes:
        arrays: their tokens, uint16 where they fit.
        tokens: of all clips, also of those that are not here.
    """

    arrays: list[npt.NDArray[Any]]
    tokens: int


def gather(sources: Sources, most_tokens: int = MOST_TOKENS) -> Gathered:
    """The clips of some sources; of too many, every second, fourth, eighth ... one.

    What cannot be read is passed over: packing will say so.
    """
    kept: list[npt.NDArray[Any]] = []
    tokens = held = number = 0
    stride = 1
    for clip in sources.clips(lambda name, error: None):
        try:
            array = np.asarray(clip.load())
        except (TokenzipError, OSError, MemoryError):
            continue
        tokens += array.size
        number += 1
        if (number - 1) % stride:
            continue
        kept.append(_narrow(array))
        held += array.size
        while held > most_tokens and len(kept) > 1:
            kept, stride = kept[::2], 2 * stride
            held = sum(item.size for item in kept)
    return Gathered(kept, tokens)


def _narrow(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A copy in uint16, if all entries fit."""
    if array.dtype.kind in "bui" and array.size and array.min() >= 0 and array.max() < 2**16:
        return np.array(array, np.uint16)
    return np.array(array)

"""The payload of a predicted chunk: the words of its lanes.

The lanes' sizes in words (u32 each, of all lanes but the last) and then the lanes' words, least
significant byte first (FORMAT.md, sections 9.10 and 10.6).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..errors import CorruptError

Words = npt.NDArray[np.uint32]

_WORD = np.dtype("<u4")


def join_lanes(lanes: Sequence[Words]) -> bytes:
    """The payload of these lanes, at least one."""
    sizes = np.array([words.size for words in lanes[:-1]], _WORD)
    return b"".join([sizes.tobytes(), *(words.astype(_WORD).tobytes() for words in lanes)])


def split_lanes(payload: bytes, lanes: int) -> tuple[Words, npt.NDArray[np.int64]]:
    """All words of a payload, and bounds (lanes + 1,): lane i is words[bounds[i]:bounds[i + 1]].

    Raises:
        CorruptError: the payload cannot hold such lanes.
    """
    if len(payload) % _WORD.itemsize or len(payload) // _WORD.itemsize < lanes - 1:
        raise CorruptError("the payload is no whole number of words", where="payload")
    everything = np.frombuffer(payload, _WORD).astype(np.uint32)
    words = everything[lanes - 1 :]
    bounds = np.zeros(lanes + 1, np.int64)
    bounds[1:-1] = np.cumsum(everything[: lanes - 1], dtype=np.int64)
    bounds[-1] = words.size
    if bounds[-2] > words.size:
        raise CorruptError("the payload's lanes are longer than the payload", where="payload")
    return words, bounds

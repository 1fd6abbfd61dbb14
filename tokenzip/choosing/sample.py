"""A sample of what is to be encoded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..blob import chunk_bounds, default_chunk_frames
from ..grid import TokenGrid

#: It comes from so many places, where it is large enough, and has so many frames at each or more.
PLACES = 4
LEAST_FRAMES = 2


@dataclass(frozen=True, eq=False)
class Piece:
    """A part of a chunk. coder_tokens: what its coder is made for."""

    grid: TokenGrid
    tokens: npt.NDArray[np.uint16]
    coder_tokens: int


def sample(
    grids: Sequence[TokenGrid], wanted: int, chunk_frames: int | None, places: int | None = None
) -> list[Piece]:
    """Parts of chunks, evenly spread over all grids, of about `wanted` tokens together.

    They come from so many places, or from as many as these tokens are best taken from.
    """
    chunks = [
        (grid, start, stop)
        for grid in grids
        if grid.tokens.size
        for start, stop in chunk_bounds(
            grid.frames, chunk_frames or default_chunk_frames(grid.frame_tokens)
        )
    ]
    if not chunks:
        return []
    sizes = [(stop - start) * grid.frame_tokens for grid, start, stop in chunks]
    ends = np.cumsum(sizes)
    if places is None:
        # More than a few only where chunks are too short for a part of the sample.
        places = max(PLACES, -(-wanted // max(sizes)))
        places = max(1, min(places, wanted // (LEAST_FRAMES * chunks[0][0].frame_tokens)))
    pieces = []
    for place in range(places):
        target = (2 * place + 1) * int(ends[-1]) // (2 * places)
        number = int(np.searchsorted(ends, target, side="right"))
        grid, start, stop = chunks[number]
        frames = max(LEAST_FRAMES, wanted // places // grid.frame_tokens)
        frames = min(stop - start, frames)
        middle = start + (target - int(ends[number]) + sizes[number]) // grid.frame_tokens
        first = min(max(start, middle - frames // 2), stop - frames)
        tokens = np.require(grid.tokens[first : first + frames], requirements=["C", "W"])
        # A coder for a single frame is another than one for the first frame of many.
        least = min(LEAST_FRAMES, stop - start) * grid.frame_tokens
        pieces.append(Piece(grid, tokens, max(tokens.size, least)))
    return pieces

"""Whether there is anything to predict."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..grid import TokenGrid

#: Tokens of a grid that are looked at.
_LOOK = 8192


def is_noise(grids: Sequence[TokenGrid]) -> bool:
    """Whether some tokens look drawn at random, all alike: no predictor is worth trying then.

    Each of three things would show otherwise: how often two of the tokens are equal, a token and
    the one before it, and a token and that of the frame before. By chance one of A is, and no
    more than five standard deviations more or fewer.
    """
    for grid in grids:
        if grid.tokens.size:
            frames = max(2, _LOOK // max(1, grid.frame_tokens))
            if not _looks_random(grid.tokens[:frames], grid.alphabet):
                return False
    return True


def _looks_random(frames: npt.NDArray[np.uint16], alphabet: int) -> bool:
    tokens = frames.reshape(-1)
    counts = np.bincount(tokens, minlength=alphabet).astype(np.int64)
    pairs = tokens.size * (tokens.size - 1) // 2
    equal = [
        (int((counts * (counts - 1)).sum()) // 2, pairs),
        (int((tokens[1:] == tokens[:-1]).sum()), tokens.size - 1),
        (int((frames[1:] == frames[:-1]).sum()), frames[1:].size),
    ]
    # |found - n / A| <= 3 + 5 sqrt(n / A), in whole numbers; the 3 is for where next to none are.
    beyond = [(max(0, abs(found * alphabet - n) - 3 * alphabet), n) for found, n in equal]
    return all(excess**2 <= 25 * n * alphabet for excess, n in beyond)

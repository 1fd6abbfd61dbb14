"""Logarithms in integers: 64 steps a bit (SCORE_ONE), from a table computed without a float."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tokenzip.coding.compiled import compiled
from tokenzip.coding.constants import SCORE_ONE

#: Numbers below this have an entry of their own.
DIRECT = 1024


def _rounded_log2(power: int) -> int:
    """round(log2(power) / 2) for power = v**(2 * SCORE_ONE), that is round(SCORE_ONE * log2 v)."""
    return ((power << 1).bit_length() - 1) // 2


#: LOG2_STEPS[v] = round(64 * log2 v) for 1 <= v < 1024; entry 0 is never meant to be read.
LOG2_STEPS: NDArray[np.int16] = np.array(
    [0] + [_rounded_log2(v ** (2 * SCORE_ONE)) for v in range(1, DIRECT)], np.int16
)
LOG2_STEPS.setflags(write=False)


@compiled
def log2_steps(v):  # type: ignore[no-untyped-def]
    """round(64 * log2(v)) of an integer v >= 1, rounded down to ten leading bits first."""
    shift = np.int64(0)
    rest = np.int64(v)
    if rest >= np.int64(1) << np.int64(42):
        rest >>= np.int64(32)
        shift += np.int64(32)
    if rest >= np.int64(1) << np.int64(26):
        rest >>= np.int64(16)
        shift += np.int64(16)
    while rest >= np.int64(1024):
        rest >>= np.int64(1)
        shift += np.int64(1)
    return np.int64(LOG2_STEPS[rest]) + shift * np.int64(64)

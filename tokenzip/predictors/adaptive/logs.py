"""Logarithms in integers: 64 steps a bit (SCORE_ONE), from tables computed without a float.

`log2_steps(v)` is round(64 * log2(v)) for v < 1024 and within one step of it above. `LOG_ONE_PLUS`
holds round(64 * log2(1 + 2**(u / 64))), the growth of a score when evidence 2**(u / 64) is added
to one unit of prior.
"""

from __future__ import annotations

from math import isqrt

import numpy as np
from numpy.typing import NDArray

from tokenzip.coding.compiled import compiled
from tokenzip.coding.tables import SCORE_BITS, SCORE_ONE

_DIRECT = 1024


def _rounded_log2(power: int) -> int:
    """round(log2(power) / 2) for power = v**(2 * SCORE_ONE), that is round(SCORE_ONE * log2 v)."""
    return ((power << 1).bit_length() - 1) // 2


def _log_one_plus(u: int) -> int:
    """round(64 * log2(1 + 2**(u / 64))), by 64-bit fixed point and whole powers."""
    one = 1 << 64
    root: int = 1 << (64 * SCORE_ONE + u)
    for _ in range(SCORE_BITS):
        root = isqrt(root)
    total: int = (one + root) ** (2 * SCORE_ONE)
    return _rounded_log2(total) - 64 * SCORE_ONE


#: Largest count that is kept.
MOST_COUNT = 65535
_exact = [0] + [_rounded_log2(v ** (2 * SCORE_ONE)) for v in range(1, _DIRECT)]

#: LOG2_STEPS[v] for v up to MOST_COUNT: round(64 * log2 v) below 1024, LOG2_STEPS[v >> 6] + 384
#: from there on; entry 0 is never meant to be read and is 0.
LOG2_STEPS: NDArray[np.int16] = np.array(
    _exact + [_exact[v >> 6] + 6 * SCORE_ONE for v in range(_DIRECT, MOST_COUNT + 1)], np.int16
)
LOG2_STEPS.setflags(write=False)

# Where log2(1 + x) is x's own log or 0 to the last step, the table needs no big integers.
_SMALL, _LARGE = -8 * SCORE_ONE, 12 * SCORE_ONE
LOWEST_U = _SMALL
HIGHEST_U = 44 * SCORE_ONE

#: LOG_ONE_PLUS[u - LOWEST_U] for LOWEST_U <= u <= HIGHEST_U.
LOG_ONE_PLUS: NDArray[np.int16] = np.array(
    [_log_one_plus(u) for u in range(_SMALL, _LARGE)] + list(range(_LARGE, HIGHEST_U + 1)),
    np.int16,
)
LOG_ONE_PLUS.setflags(write=False)


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


@compiled
def integer_sqrt(v):  # type: ignore[no-untyped-def]
    """floor(sqrt(v)) of an integer 0 <= v < 2**62, by Newton's rule from above."""
    if v < np.int64(2):
        return np.int64(v)
    bits = np.int64(0)
    rest = np.int64(v)
    while rest > np.int64(0):
        rest >>= np.int64(1)
        bits += np.int64(1)
    root = np.int64(1) << ((bits + np.int64(1)) >> np.int64(1))
    while True:
        better = (root + v // root) >> np.int64(1)
        if better >= root:
            return root
        root = better

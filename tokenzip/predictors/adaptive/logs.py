"""What counts add to scores, in steps of 1/64 bit.

`LOG_CODES` holds the logarithms of counts in a byte, and `gain` is the growth of a score when
evidence is added to one unit of prior, close to 64 * log2(1 + 2**(u / 64)): arithmetic without
tables, which is done for 16 symbols at once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tokenzip.coding.compiled import compiled
from tokenzip.coding.constants import SCORE_ONE
from tokenzip.coding.logarithms import DIRECT, LOG2_STEPS

#: Largest count that is kept.
MOST_COUNT = 65535
#: Steps between two codes.
CODE_STEPS = 4
#: LOG_CODES[c]: 1 + 16 * log2 c, rounded, at most 255; 0 for a count of 0.
LOG_CODES: NDArray[np.uint8] = np.zeros(MOST_COUNT + 1, np.uint8)
for _power in range(7):
    _counts = np.arange(1 if _power == 0 else DIRECT << (_power - 1), DIRECT << _power)
    _steps = LOG2_STEPS[_counts >> _power].astype(np.int64) + _power * SCORE_ONE
    LOG_CODES[_counts] = np.minimum(1 + (_steps + CODE_STEPS // 2) // CODE_STEPS, 255)
LOG_CODES.setflags(write=False)
#: The same in steps.
LOG_STEPS: NDArray[np.int16] = LOG_CODES.astype(np.int16) * CODE_STEPS
LOG_STEPS.setflags(write=False)

#: Below -KNEE steps evidence adds nothing, above KNEE itself, and a parabola between.
KNEE = 256
#: What a base has on top of its prior (see gain).
BASE_SHIFT = KNEE - CODE_STEPS


@compiled
def gain(code, base):  # type: ignore[no-untyped-def]
    """The steps that a count with this code adds to a prior; 0 for a code of 0.

    base int32: steps below certainty of the prior, less log2 of its strength, plus BASE_SHIFT.
    """
    steps = np.int32(np.int32(code) << np.int32(2)) + base
    bent = min(max(np.int32(steps), np.int32(0)), np.int32(2 * KNEE))
    straight = max(np.int32(steps - np.int32(2 * KNEE)), np.int32(0))
    added = np.int32((np.int32(bent * bent) >> np.int32(10)) + straight)
    return added if code > 0 else np.int32(0)


_LOWEST, _HIGHEST = -512, 3072
_steps = np.arange(_LOWEST, _HIGHEST)
#: GAINS[LOG_STEPS[c] + base - LOWEST_GAIN] is the gain of a count c >= 1: for one symbol at a time
#: a look-up is quicker.
LOWEST_GAIN = _LOWEST
GAINS: NDArray[np.int16] = np.array(
    (np.clip(_steps, 0, 2 * KNEE) ** 2 >> 10) + np.maximum(_steps - 2 * KNEE, 0), np.int16
)
GAINS.setflags(write=False)


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

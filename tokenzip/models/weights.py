"""Weights of a model in a blob, decoded: compiled, and straight into bytes.

A few bytes can stand for many weights, so no larger integers are kept of them on the way.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..coding.compiled import compiled
from ..coding.decoder import decode_symbol, exhausted, new_state, open_lane


def decode_weights(
    words: npt.NDArray[np.uint32], cdf: npt.NDArray[np.uint32], weights: npt.NDArray[np.int8]
) -> bool:
    """Fill weights, int8 (count,), with the symbols, less 128, of a lane that is all of `words`.

    cdf: uint32 (257,). False if no encoder writes these words.
    """
    state = new_state(1)
    open_lane(state, 0, words, 0, words.size)
    return bool(_decode(state, words, cdf, weights))


@compiled
def _decode(state, words, cdf, weights):  # type: ignore[no-untyped-def]
    for i in range(weights.size):
        symbol = decode_symbol(state, 0, words, cdf)
        if symbol < 0:
            return False
        weights[i] = symbol - 128
    return exhausted(state, 0)

"""Range coder lanes decoded in numba, bit for bit as constriction's RangeDecoder does.

Several lanes are decoded side by side. Their words lie in one uint32 array; their states are the
rows of one uint64 array of shape (lanes, 4):

    OFFSET  how far the coded point lies above the interval's lower end (constriction's
            ``point - lower``, modulo 2**64: the decoder never needs the two by themselves)
    RANGE   size of the interval
    NEXT    index of the next unread word
    END     index after the lane's last word; what is read from there on is zero

Whatever the words hold, an index stays inside them, each symbol reads at most one word, and an
invalid state is answered with -1: decoding nonsense ends as soon as decoding sense.

Everything below is uint64 on purpose: numba makes a float64 of uint64 and int64 mixed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tokenzip.coding.compiled import borrowing, compiled
from tokenzip.coding.constants import PRECISION, STATE_BITS, USABLE, WORD_BITS

OFFSET, RANGE, NEXT, END = 0, 1, 2, 3
STATE_COLUMNS = 4

_ONE = np.uint64(1)
_ZERO = np.uint64(0)
_PRECISION = np.uint64(PRECISION)
_USABLE = np.uint64(USABLE)
_UPPER_GUARD = np.uint64(USABLE + 1)
_WORD_BITS = np.uint64(WORD_BITS)
_WHOLE_RANGE = np.uint64(2**STATE_BITS - 1)
# Below this the interval is too small for another symbol and takes in a word.
_MIN_RANGE = np.uint64(2 ** (STATE_BITS - WORD_BITS))
# constriction's bound on `point - lower` when all words are used up.
_MAX_END_OFFSET = np.uint64(2 ** (STATE_BITS - WORD_BITS + 1) - 1)


def new_state(lanes: int) -> NDArray[np.uint64]:
    """State rows for so many lanes, uint64 of shape (lanes, 4); open_lane fills each one."""
    return np.zeros((lanes, STATE_COLUMNS), np.uint64)


@borrowing
def open_lane(state, lane, words, start, end):  # type: ignore[no-untyped-def]
    """Begin to decode words[start:end] (uint32) in row `lane` of `state`.

    Offsets outside the words are moved to their nearest end, as slicing does.
    """
    last = np.int64(min(max(np.int64(end), np.int64(0)), np.int64(words.size)))
    at = np.int64(min(max(np.int64(start), np.int64(0)), last))
    point = _ZERO
    for _ in range(2):
        point = point << _WORD_BITS
        if at < last:
            point = point | np.uint64(words[at])
            at += 1
    state[lane, OFFSET] = point
    state[lane, RANGE] = _WHOLE_RANGE
    state[lane, NEXT] = np.uint64(at)
    state[lane, END] = np.uint64(last)


def open_lanes(words: NDArray[np.uint32], bounds: NDArray[np.int64]) -> NDArray[np.uint64]:
    """State rows of lanes that are about to begin: lane i is words[bounds[i]:bounds[i + 1]]."""
    state = new_state(len(bounds) - 1)
    for lane in range(len(state)):
        open_lane(state, lane, words, bounds[lane], bounds[lane + 1])
    return state


def all_exhausted(state: NDArray[np.uint64]) -> bool:
    """Whether all lanes ended with their last word, as an encoder's do."""
    return all(exhausted(state, lane) for lane in range(len(state)))


@borrowing
def peek(state, lane):  # type: ignore[no-untyped-def]
    """The quantile of the next symbol, int64: the symbol is the one with cum <= q < cum + freq.

    -1 when the words cannot come from the encoder: the quantile is outside 0 .. USABLE - 1.
    """
    scale = state[lane, RANGE] >> _PRECISION
    if scale == _ZERO:
        return np.int64(-1)
    quantile = state[lane, OFFSET] // scale
    if quantile > _USABLE:
        return np.int64(-1)
    # The lower guard is quantile 0, which becomes the -1 of the other invalid states.
    return np.int64(quantile) - np.int64(1)


@borrowing
def _narrow(state, lane, words, offset, width):  # type: ignore[no-untyped-def]
    """Store a symbol's interval, taking in a word where it has become small."""
    if width < _MIN_RANGE:
        width = width << _WORD_BITS
        offset = offset << _WORD_BITS
        at = state[lane, NEXT]
        if at < state[lane, END]:
            offset = offset | np.uint64(words[at])
            state[lane, NEXT] = at + _ONE
    state[lane, OFFSET] = offset
    state[lane, RANGE] = width


@borrowing
def advance(state, lane, words, cum, freq):  # type: ignore[no-untyped-def]
    """Go past the symbol with this interval, the one peek's quantile lies in."""
    scale = state[lane, RANGE] >> _PRECISION
    offset = state[lane, OFFSET] - scale * (np.uint64(cum) + _ONE)
    _narrow(state, lane, words, offset, scale * np.uint64(freq))


@borrowing
def give_up(state, lane):  # type: ignore[no-untyped-def]
    """Mark a lane whose words are corrupted: peek says so for good, and it is never exhausted."""
    state[lane, OFFSET] = _WHOLE_RANGE
    state[lane, RANGE] = _MIN_RANGE


@borrowing
def decode_bit(state, lane, words, freq_one):  # type: ignore[no-untyped-def]
    """One binary decision, int64: 0 or 1, or -1 when the words are corrupted.

    freq_one: counts of symbol 1, 1 <= freq_one <= USABLE - 1. Symbol 0 has cum 0 and freq
    USABLE - freq_one, symbol 1 has cum USABLE - freq_one. The same result as peek, comparison and
    advance, without peek's division.
    """
    scale = state[lane, RANGE] >> _PRECISION
    offset = state[lane, OFFSET]
    ones = np.uint64(freq_one)
    zeros = _USABLE - ones
    split = scale * (zeros + _ONE)
    if offset < split:
        if offset < scale:
            return np.int64(-1)
        _narrow(state, lane, words, offset - scale, scale * zeros)
        return np.int64(0)
    if offset >= scale * _UPPER_GUARD:
        return np.int64(-1)
    _narrow(state, lane, words, offset - split, scale * ones)
    return np.int64(1)


@borrowing
def exhausted(state, lane):  # type: ignore[no-untyped-def]
    """Whether the lane's words may be used up: constriction's maybe_exhausted, exactly.

    Always true after the last symbol of an intact lane; false there means corruption.
    """
    return state[lane, NEXT] >= state[lane, END] and (
        state[lane, RANGE] == _WHOLE_RANGE or state[lane, OFFSET] < _MAX_END_OFFSET
    )


@borrowing
def find_symbol(cdf, quantile):  # type: ignore[no-untyped-def]
    """The symbol s with cdf[s] <= quantile < cdf[s + 1], int64, by bisection.

    cdf: integers of shape (A + 1,), ascending, cdf[0] = 0 and cdf[A] = USABLE. The result is
    0 .. A - 1 for any quantile.
    """
    low = np.int64(0)
    high = np.int64(cdf.size - 1)
    while high - low > 1:
        middle = (low + high) >> 1
        if np.int64(cdf[middle]) <= np.int64(quantile):
            low = middle
        else:
            high = middle
    return low


@borrowing
def decode_symbol(state, lane, words, cdf):  # type: ignore[no-untyped-def]
    """One symbol of the table `cdf` (as in find_symbol), int64, or -1: the words are corrupted."""
    quantile = peek(state, lane)
    if quantile < 0:
        return np.int64(-1)
    symbol = find_symbol(cdf, quantile)
    cum = np.uint64(cdf[symbol])
    advance(state, lane, words, cum, np.uint64(cdf[symbol + 1]) - cum)
    return symbol


@compiled
def decode_table(words, cdf_rows, count):  # type: ignore[no-untyped-def]
    """Decode `count` symbols of one lane that is all of `words`.

    cdf_rows: uint32 of shape (n, A + 1), row i % n being the cumulative table of symbol i. Returns
    int64 of shape (count,); from the first corrupted symbol on all are -1.
    """
    symbols = np.full(count, -1, np.int64)
    state = np.zeros((1, STATE_COLUMNS), np.uint64)
    open_lane(state, 0, words, 0, words.size)
    for i in range(count):
        symbol = decode_symbol(state, 0, words, cdf_rows[i % cdf_rows.shape[0]])
        if symbol < 0:
            break
        symbols[i] = symbol
    return symbols

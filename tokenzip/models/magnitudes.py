"""Matrices of small whole numbers as range coder words, by chances that follow the numbers.

A trained matrix has rows and columns of large entries, and of nearly none. So how large an entry
is, is coded by what its row and its column have held lately; the chances for that are counted as
coding goes on, and nothing but words has to be stored. FORMAT.md section 10.7 has the rules.

An entry is a run of yes-or-no decisions: how many binary digits its magnitude has (one decision a
digit, until there is no further one), the digits after the first, and the sign.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..coding.compiled import compiled, inner
from ..coding.constants import USABLE
from ..coding.decoder import decode_bit, exhausted, new_state, open_lane
from ..coding.encoder import encode_lane

#: Binary digits of a magnitude, at most: 128 has eight.
_DIGITS = 8
#: A running mean of magnitudes moves by this part (a shift) of the difference, in 256ths.
_RATE = 5
#: Running means begin at this, which is 1.
_FIRST = 256
#: Means are told apart by their place among quarters of octaves.
_LEVELS = 72
#: Counts of a chance are halved when they reach this.
_MOST = 1024

_HALF = USABLE // 2


def encode_matrix(entries: npt.NDArray[np.int16]) -> npt.NDArray[np.uint32]:
    """The words of a matrix int16 (R, K) of numbers from -128 to 127."""
    lengths, digits = _counters()
    columns = np.full(entries.shape[1], _FIRST, np.int64)
    decisions = _walk(entries, lengths, digits, columns, np.empty((0, 2), np.uint32))
    intervals = np.empty((decisions, 2), np.uint32)
    lengths, digits = _counters()
    columns[:] = _FIRST
    _walk(entries, lengths, digits, columns, intervals)
    return encode_lane(intervals[:, 0], intervals[:, 1])


def decode_matrix(words: npt.NDArray[np.uint32], grid: int, entries: npt.NDArray[np.int8]) -> bool:
    """Fill int8 (R, K) with `grid` times the entries of a lane that is all of `words`.

    False if no encoder writes these words, or an entry does not fit.
    """
    state = new_state(1)
    open_lane(state, 0, words, 0, words.size)
    lengths, digits = _counters()
    columns = np.full(entries.shape[1], _FIRST, np.int64)
    return bool(_decode(state, words, grid, lengths, digits, columns, entries))


def _counters() -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Counts of no and yes, none yet: of further digits by level, of digits by their number and
    those before."""
    lengths = np.zeros((_LEVELS, _DIGITS, 2), np.int32)
    return lengths, np.zeros((_DIGITS + 1, 2 ** (_DIGITS - 1), 2), np.int32)


@inner
def _level(row, column):  # type: ignore[no-untyped-def]
    """The context of an entry whose row and column have these means."""
    mean = row + column
    length = 0
    while mean >> length:
        length += 1
    if length < 3:
        return 4 * length
    return 4 * length + ((mean >> (length - 3)) & 3)


@inner
def _chance(counts):  # type: ignore[no-untyped-def]
    """Counts of USABLE that stand for yes."""
    return USABLE * (2 * np.int64(counts[1]) + 1) // (2 * (np.int64(counts[0]) + counts[1]) + 2)


@inner
def _count(counts, bit):  # type: ignore[no-untyped-def]
    counts[bit] += 1
    if counts[0] + counts[1] >= _MOST:
        counts[0] >>= 1
        counts[1] >>= 1


@inner
def _put(intervals, number, counts, bit):  # type: ignore[no-untyped-def]
    """Write one decision, if there is room: without room decisions are only counted."""
    if number < len(intervals):
        yes = _chance(counts)
        intervals[number, 0] = USABLE - yes if bit else 0
        intervals[number, 1] = yes if bit else USABLE - yes
    _count(counts, bit)


@compiled
def _walk(entries, lengths, digits, columns, intervals):  # type: ignore[no-untyped-def]
    """The intervals of all decisions; returns how many there are."""
    number = 0
    row = np.int64(_FIRST)
    for r in range(entries.shape[0]):
        for k in range(entries.shape[1]):
            entry = np.int64(entries[r, k])
            magnitude = abs(entry)
            length = 0
            while magnitude >> length:
                length += 1
            level = _level(row, columns[k])
            for i in range(min(length + 1, _DIGITS)):
                _put(intervals, number, lengths[level, i], 1 if i < length else 0)
                number += 1
            for i in range(length - 2, -1, -1):
                counts = digits[length, magnitude >> (i + 1)]
                _put(intervals, number, counts, (magnitude >> i) & 1)
                number += 1
            if magnitude:
                if number < len(intervals):
                    intervals[number, 0] = _HALF if entry < 0 else 0
                    intervals[number, 1] = _HALF
                number += 1
            row += ((magnitude << 8) - row) >> _RATE
            columns[k] += ((magnitude << 8) - columns[k]) >> _RATE
    return number


@compiled
def _decode(state, words, grid, lengths, digits, columns, entries):  # type: ignore[no-untyped-def]
    row = np.int64(_FIRST)
    for r in range(entries.shape[0]):
        for k in range(entries.shape[1]):
            level = _level(row, columns[k])
            length = 0
            while length < _DIGITS:
                bit = decode_bit(state, 0, words, _chance(lengths[level, length]))
                if bit < 0:
                    return False
                _count(lengths[level, length], bit)
                if bit == 0:
                    break
                length += 1
            magnitude = np.int64(1 if length else 0)
            for _ in range(length - 1):
                counts = digits[length, magnitude]
                bit = decode_bit(state, 0, words, _chance(counts))
                if bit < 0:
                    return False
                _count(counts, bit)
                magnitude = 2 * magnitude + bit
            entry = magnitude
            if magnitude:
                bit = decode_bit(state, 0, words, _HALF)
                if bit < 0:
                    return False
                entry = -magnitude if bit else magnitude
            if not -128 <= entry * grid <= 127:
                return False
            entries[r, k] = entry * grid
            row += ((magnitude << 8) - row) >> _RATE
            columns[k] += ((magnitude << 8) - columns[k]) >> _RATE
    return bool(exhausted(state, 0))

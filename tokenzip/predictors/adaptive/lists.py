"""Counts of symbols by context, each context's symbols in a growing array of its own.

Counts only grow, by one for every symbol of a block, so their order does not matter; see
state.Lists for the layout.
"""

from __future__ import annotations

import numpy as np

from tokenzip.coding.compiled import compiled

from .logs import MOST_COUNT
from .state import FEWEST_ENTRIES, LENGTH, MOST_POOL, START, TOTAL

_ONE = np.int64(1)


@compiled
def _room_class(length):  # type: ignore[no-untyped-def]
    """log2 of the room of an array with so many entries."""
    bits = np.int64(2)
    while (_ONE << bits) < length:
        bits += 1
    return bits


@compiled
def has_room(lists, rows):  # type: ignore[no-untyped-def]
    """Whether one more symbol in each of these rows fits the pool, whatever it is."""
    need = np.int64(0)
    for r in range(rows.size):
        length = np.int64(lists.row[rows[r], LENGTH])
        if length == 0:
            need += FEWEST_ENTRIES
        elif length == _ONE << _room_class(length):
            need += 2 * length
    return min(lists.top[0] + need, np.int64(MOST_POOL)) <= lists.pool.size


@compiled
def _take_array(lists, bits):  # type: ignore[no-untyped-def]
    """The start of an unused array with room for 2**bits entries, -1 when memory is used up."""
    start = lists.free[bits]
    if start >= 0:
        lists.free[bits] = np.int64(lists.pool[start]) - 1
        return start
    start = lists.top[0]
    if start + (_ONE << bits) > MOST_POOL:
        return np.int64(-1)
    lists.top[0] = start + (_ONE << bits)
    return start


@compiled
def _append(lists, row, x):  # type: ignore[no-untyped-def]
    """A new entry of a row, counted once; none when memory is used up."""
    length = np.int64(lists.row[row, LENGTH])
    start = np.int64(lists.row[row, START])
    bits = _room_class(length)
    if length == 0:
        start = _take_array(lists, bits)
        if start < 0:
            return
        lists.row[row, START] = start
    elif length == _ONE << bits:
        fresh = _take_array(lists, bits + 1)
        if fresh < 0:
            return
        for e in range(length):
            lists.pool[fresh + e] = lists.pool[start + e]
        lists.pool[start] = np.uint32(lists.free[bits] + 1)
        lists.free[bits] = start
        start = fresh
        lists.row[row, START] = start
    lists.pool[start + length] = np.uint32((x << 16) | 1)
    lists.row[row, LENGTH] = length + 1


@compiled
def count_symbol(lists, row, x, place):  # type: ignore[no-untyped-def]
    """Count x once more in a row; `place` is its place in the list (see experts.learn_lists)."""
    if lists.row[row, TOTAL] < MOST_COUNT:
        lists.row[row, TOTAL] += 1
    start = np.int64(lists.row[row, START])
    if place < 0:
        for e in range(-1 - place, np.int64(lists.row[row, LENGTH])):
            if np.int64(lists.pool[start + e] >> np.uint32(16)) == x:
                place = np.int64(e)
                break
    if place < 0:
        _append(lists, row, x)
        return
    if (lists.pool[start + place] & np.uint32(0xFFFF)) < np.uint32(MOST_COUNT):
        lists.pool[start + place] += np.uint32(1)


@compiled
def count_class(counts, row, k):  # type: ignore[no-untyped-def]
    total = counts.table.shape[1] - 1
    if counts.table[row, k] < MOST_COUNT:
        counts.table[row, k] += np.uint16(1)
    if counts.table[row, total] < MOST_COUNT:
        counts.table[row, total] += np.uint16(1)

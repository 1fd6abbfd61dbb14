"""Counts of symbols by context, each row's symbols in a growing array of its own, then a table.

Counts only grow, by one for every symbol of a block, so their order does not matter; see
state.Lists for the layout.
"""

from __future__ import annotations

import numpy as np

from tokenzip.coding.compiled import compiled, inner
from tokenzip.coding.prefetch import prefetch

from .logs import LOG_CODES, MOST_COUNT
from .state import (
    LENGTH,
    MOST_POOL,
    START,
    TABLE,
    TABLE_SHARE,
    TOTAL,
    most_tables,
    room_for_a_symbol,
)

_ONE = np.int64(1)
# Bytes that a processor fetches at once.
_LINE = 64


@inner
def fetch_rows(lists, rows):  # type: ignore[no-untyped-def]
    """Fetch where the counts of these rows are."""
    for r in range(rows.size):
        prefetch(lists.row, rows[r] * np.int64(lists.row.shape[1]))


@inner
def fetch_symbols(lists, row):  # type: ignore[no-untyped-def]
    """Fetch what is read of a row to score symbols."""
    table = np.int64(lists.row[row, TABLE])
    if table > 0:
        alphabet = np.int64(lists.codes.shape[1])
        for s in range(0, alphabet, _LINE):
            prefetch(lists.codes, table * alphabet + s)
    else:
        start = np.int64(lists.row[row, START])
        for e in range(0, np.int64(lists.row[row, LENGTH]), _LINE // 4):
            prefetch(lists.pool, start + e)


@inner
def fetch_counts(lists, rows, x, places):  # type: ignore[no-untyped-def]
    """Fetch what counting x in these rows will change (see count_symbols)."""
    for r in range(rows.size):
        table = np.int64(lists.row[rows[r], TABLE])
        if table > 0:
            entry = table * np.int64(lists.codes.shape[1]) + x
            prefetch(lists.counts, entry)
            prefetch(lists.codes, entry)
        elif places[r] >= 0:
            prefetch(lists.pool, np.int64(lists.row[rows[r], START]) + places[r])
        else:
            fetch_symbols(lists, rows[r])


@inner
def fetch_classes(counts, rows):  # type: ignore[no-untyped-def]
    """Fetch what is read of these rows to score classes."""
    classes = np.int64(counts.codes.shape[1])
    for r in range(rows.size):
        prefetch(counts.codes, rows[r] * classes)
        prefetch(counts.table, rows[r] * (classes + 1) + classes)


@inner
def fetch_class_counts(counts, rows, k):  # type: ignore[no-untyped-def]
    """Fetch what counting class k in these rows will change."""
    classes = np.int64(counts.codes.shape[1])
    for r in range(rows.size):
        prefetch(counts.codes, rows[r] * classes + k)
        prefetch(counts.table, rows[r] * (classes + 1) + k)
        prefetch(counts.table, rows[r] * (classes + 1) + classes)


@inner
def _room_class(length):  # type: ignore[no-untyped-def]
    """log2 of the room of an array with so many entries."""
    bits = np.int64(2)
    while (_ONE << bits) < length:
        bits += 1
    return bits


@compiled
def has_room(lists, contexts):  # type: ignore[no-untyped-def]
    """Whether one more symbol in a row of each context fits, whatever it is."""
    entries, tables = room_for_a_symbol(contexts, lists.codes.shape[1])
    return min(lists.top[0] + entries, np.int64(MOST_POOL)) <= lists.pool.size and min(
        lists.tables[0] + tables, most_tables(lists.codes.shape[1])
    ) <= len(lists.codes)


@inner
def _grows_into_table(lists, length):  # type: ignore[no-untyped-def]
    """Whether a full array of so many entries is not to be followed by one of twice the room."""
    return 2 * length * TABLE_SHARE > lists.codes.shape[1]


@inner
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


@inner
def _leave_array(lists, start, bits):  # type: ignore[no-untyped-def]
    lists.pool[start] = np.uint32(lists.free[bits] + 1)
    lists.free[bits] = start


@inner
def _make_table(lists, row):  # type: ignore[no-untyped-def]
    """Turn a row's array into a table; false when memory is used up."""
    table = lists.tables[0]
    if table >= most_tables(lists.codes.shape[1]):
        return False
    lists.tables[0] = table + 1
    start = np.int64(lists.row[row, START])
    length = np.int64(lists.row[row, LENGTH])
    for e in range(start, start + length):
        symbol = lists.pool[e] >> np.uint32(16)
        count = lists.pool[e] & np.uint32(0xFFFF)
        lists.counts[table, symbol] = count
        lists.codes[table, symbol] = LOG_CODES[count]
    _leave_array(lists, start, _room_class(length))
    lists.row[row, LENGTH] = 0
    lists.row[row, TABLE] = table
    return True


@inner
def _append(lists, row, x):  # type: ignore[no-untyped-def]
    """A new symbol of a row, counted once; not counted when memory is used up."""
    length = np.int64(lists.row[row, LENGTH])
    start = np.int64(lists.row[row, START])
    bits = _room_class(length)
    if length == 0:
        start = _take_array(lists, bits)
        if start < 0:
            return
        lists.row[row, START] = start
    elif length == _ONE << bits:
        if _grows_into_table(lists, length):
            if _make_table(lists, row):
                _count_in_table(lists, lists.row[row, TABLE], x)
            return
        fresh = _take_array(lists, bits + 1)
        if fresh < 0:
            return
        for e in range(length):
            lists.pool[fresh + e] = lists.pool[start + e]
        _leave_array(lists, start, bits)
        start = fresh
        lists.row[row, START] = start
    lists.pool[start + length] = np.uint32((x << 16) | 1)
    lists.row[row, LENGTH] = length + 1


@inner
def _count_in_table(lists, table, x):  # type: ignore[no-untyped-def]
    if lists.counts[table, x] < MOST_COUNT:
        lists.counts[table, x] += np.uint16(1)
        lists.codes[table, x] = LOG_CODES[lists.counts[table, x]]


@inner
def _count_symbol(lists, row, x, place):  # type: ignore[no-untyped-def]
    if lists.row[row, TOTAL] < MOST_COUNT:
        lists.row[row, TOTAL] += 1
    if lists.row[row, TABLE] > 0:
        _count_in_table(lists, lists.row[row, TABLE], x)
        return
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
def count_symbols(lists, rows, x, places):  # type: ignore[no-untyped-def]
    """Count x once more in each of these rows.

    places: of x in the rows' arrays, as far as known (see experts.learn_lists).
    """
    for r in range(rows.size):
        _count_symbol(lists, rows[r], x, places[r])


@inner
def count_classes(counts, rows, k):  # type: ignore[no-untyped-def]
    """Count class k once more in each of these rows."""
    total = counts.table.shape[1] - 1
    for r in range(rows.size):
        row = rows[r]
        if counts.table[row, k] < MOST_COUNT:
            counts.table[row, k] += np.uint16(1)
            counts.codes[row, k] = LOG_CODES[counts.table[row, k]]
        if counts.table[row, total] < MOST_COUNT:
            counts.table[row, total] += np.uint16(1)

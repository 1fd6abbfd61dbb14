"""Frequency tables from integer scores: the one definition every predictor with logits uses.

A score is a log2 probability in fixed point, up to a constant: SCORE_ONE = 64 steps are a factor
of two. With e = EXP2[best - score], a row's table is

    K       = ((USABLE - A) << 32) // sum(e)
    freq[s] = 1 + ((e[s] * K) >> 32), what is left of USABLE going to the best score

(the lowest index on ties). Integers only, so every machine computes the same table. With
e <= 2**24 <= sum(e), K stays at or below 2**56 / 2**24 = 2**32 and e * K at or below 2**56: no
product overflows int64. Every freq is at least 1 and a row sums to USABLE exactly.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenzip.coding.compiled import borrowing, compiled, inner
from tokenzip.coding.constants import MAX_ALPHABET, PRECISION, SCORE_ONE, USABLE
from tokenzip.coding.logarithms import log2_steps
from tokenzip.coding.weights import weigh

#: No probability counts as less than 2**-25, in steps.
MOST_STEPS: int = (PRECISION + 1) * SCORE_ONE
#: Frequencies are searched by runs of these lengths. (Those of 64 LLVM makes slow code of.)
_LONG, _SHORT = np.uint64(128), np.uint64(16)
#: The best score is looked for by runs of this length.
_RUN = np.uint64(64)
_HALF = np.uint64(32)
_LOW_HALF = np.uint64(2**32 - 1)
_HIGH_HALF = np.uint64(2**64 - 2**32)
_ONES = np.uint64(2**32 + 1)


@inner
def _first(scores, high):  # type: ignore[no-untyped-def]
    """The index of the first score that is `high`, of which there is one."""
    start = np.uint64(0)
    while start + _RUN < np.uint64(scores.size):
        there = np.int32(0)
        for s in range(_RUN):
            there |= np.int32(scores[start + np.uint64(s)] == high)
        if there:
            break
        start += _RUN
    best = np.int32(scores.size)
    for s in range(start, min(start + _RUN, np.uint64(scores.size))):
        best = min(best, np.int32(s) if scores[s] == high else np.int32(scores.size))
    return np.int64(best)


@inner
def _weighed(scores, weights):  # type: ignore[no-untyped-def]
    """Write the weights e of a row of scores, int32; return the index of the best, and K."""
    # Plain loops over unsigned indices of one type: numba vectorises these.
    high = scores[0]
    for s in range(scores.size):
        high = max(high, scores[s])
    total = np.uint64(weigh(scores, high, weights))
    factor = np.uint32((np.uint64(USABLE - scores.size) << _HALF) // total)
    return _first(scores, high), np.uint64(factor)


@borrowing
def frequencies_from_scores(scores, freq):  # type: ignore[no-untyped-def]
    """Write the frequencies of one row of scores; return the index of the best score.

    scores: int8 to int32 of shape (A,), 2 <= A <= 65536. freq: int32 of shape (A,), contiguous;
    each becomes at least 1, in all USABLE.
    """
    best, factor = _weighed(scores, freq)
    # Two at a time, in either half of 64 bits, where products of 32 bits have room.
    even = scores.size - scores.size % 2
    pairs = freq[:even].view(np.uint64)
    given = np.uint64(0)
    for i in range(pairs.size):
        low = ((pairs[i] & _LOW_HALF) * factor) >> _HALF
        high_half = ((pairs[i] >> _HALF) * factor) & _HIGH_HALF
        pairs[i] = (low | high_half) + _ONES
        # Neither half's sum exceeds USABLE.
        given += pairs[i]
    left = np.int64(USABLE) - np.int64((given & _LOW_HALF) + (given >> _HALF))
    for s in range(even, scores.size):
        share = np.int32((np.uint64(freq[s]) * factor) >> _HALF) + np.int32(1)
        freq[s] = share
        left -= np.int64(share)
    freq[best] += np.int32(left)
    return np.int64(best)


@inner
def _shares(weights, factor, start, stop):  # type: ignore[no-untyped-def]
    """The sum of the frequencies from start to stop - 1, the best score's not among them."""
    total = np.uint64(stop - start)
    for s in range(np.uint64(start), np.uint64(stop)):
        total += (np.uint64(weights[s]) * factor) >> _HALF
    return np.int64(total)


@borrowing
def interval_of(scores, weights, symbol):  # type: ignore[no-untyped-def]
    """(cum, freq) of one symbol in the table of a row of scores, int64, without the table.

    scores as for frequencies_from_scores; weights: room for int32 of their shape.
    """
    best, factor = _weighed(scores, weights)
    # What is left of USABLE is the best score's: symbols behind it are counted from the end.
    if symbol < best:
        return _shares(weights, factor, 0, symbol), _shares(weights, factor, symbol, symbol + 1)
    above = np.int64(USABLE) - _shares(weights, factor, symbol + 1, weights.size)
    if symbol > best:
        freq = _shares(weights, factor, symbol, symbol + 1)
        return above - freq, freq
    below = _shares(weights, factor, 0, symbol)
    return below, above - below


@inner
def _passed(weights, factor, at, stop, left, length, back):  # type: ignore[no-untyped-def]
    """`at` moved on towards `stop`, or back, by runs of symbols whose frequencies fit into `left`.

    Returns it and what is left of `left`.
    """
    while (at - stop if back else stop - at) >= length:
        start, share = at - length if back else at, np.uint64(length)
        for s in range(np.uint64(length)):
            share += (np.uint64(weights[np.uint64(start) + np.uint64(s)]) * factor) >> _HALF
        if np.int64(share) > left:
            break
        left -= np.int64(share)
        at = start if back else at + length
    return at, left


@inner
def _walked(weights, factor, at, stop, left, back):  # type: ignore[no-untyped-def]
    """The same by runs of three lengths, and so as far as it goes."""
    at, left = _passed(weights, factor, at, stop, left, 128, back)
    at, left = _passed(weights, factor, at, stop, left, 16, back)
    return _passed(weights, factor, at, stop, left, 1, back)


@borrowing
def symbol_of(scores, weights, quantile):  # type: ignore[no-untyped-def]
    """(symbol, cum, freq), int64, that a quantile 0 .. USABLE - 1 leads to, without the table.

    scores and weights as for interval_of.
    """
    best, factor = _weighed(scores, weights)
    at, left = _walked(weights, factor, np.int64(0), best, np.int64(quantile), False)
    below = np.int64(quantile) - left
    if at < best:
        return at, below, _shares(weights, factor, at, at + 1)
    at, left = _walked(
        weights, factor, weights.size, best + 1, np.int64(USABLE - 1) - np.int64(quantile), True
    )
    above = np.int64(quantile) + left + np.int64(1)
    if at == best + 1:
        return best, below, above - below
    freq = _shares(weights, factor, at - 1, at)
    return at - 1, above - freq, freq


@borrowing
def steps_from_scores(scores, weights, steps):  # type: ignore[no-untyped-def]
    """Write how far below certainty each symbol of a row of scores is: -log2 of its share.

    scores as for frequencies_from_scores. weights: room for int32 of shape (A,). steps: int16 of
    that shape, 0 to MOST_STEPS, in 1/64 bits, from the sum of the same weights.
    """
    high = scores[0]
    for s in range(scores.size):
        high = max(high, scores[s])
    total = weigh(scores, high, weights)
    top = np.int32(high + np.int32(log2_steps(total) - np.int64(PRECISION * SCORE_ONE)))
    for s in range(scores.size):
        steps[s] = np.int16(min(np.int32(top - scores[s]), np.int32(MOST_STEPS)))


@borrowing
def cumulative(freq, symbol):  # type: ignore[no-untyped-def]
    """The sum of the frequencies before a symbol, int64."""
    total = np.int32(0)
    for s in range(symbol):
        total = np.int32(total + freq[s])
    return np.int64(total)


@inner
def _past_runs(freq, quantile, start, cum, length):  # type: ignore[no-untyped-def]
    """start and cum past all whole runs of this length that end at or below a quantile."""
    while start + length < np.uint64(freq.size):
        run = np.int32(0)
        for s in range(length):
            run = np.int32(run + freq[start + np.uint64(s)])
        if cum + run > quantile:
            break
        cum += np.int64(run)
        start += length
    return start, cum


@borrowing
def symbol_at(freq, quantile):  # type: ignore[no-untyped-def]
    """(symbol, its cumulative frequency) that a quantile 0 .. USABLE - 1 leads to."""
    # Indices are unsigned: numba looks whether others are below 0.
    symbol, cum = _past_runs(freq, quantile, np.uint64(0), np.int64(0), _LONG)
    symbol, cum = _past_runs(freq, quantile, symbol, cum, _SHORT)
    last = np.uint64(freq.size - 1)
    while symbol < last and cum + np.int64(freq[symbol]) <= quantile:
        cum += np.int64(freq[symbol])
        symbol += np.uint64(1)
    return np.int64(symbol), cum


@compiled
def table_from_scores(scores, cdf):  # type: ignore[no-untyped-def]
    """Write the cumulative table of one row of scores.

    scores as for frequencies_from_scores. cdf: uint32 of shape (A + 1,), which becomes
    0 = cdf[0] < cdf[1] < ... < cdf[A] = USABLE; symbol s has cum cdf[s], freq cdf[s + 1] - cdf[s].
    """
    freq = np.empty(scores.size, np.int32)
    frequencies_from_scores(scores, freq)
    cum = np.int64(0)
    cdf[0] = 0
    for s in range(scores.size):
        cum += np.int64(freq[s])
        cdf[s + 1] = cum


@compiled
def interval_from_scores(scores, symbol):  # type: ignore[no-untyped-def]
    """(cum, freq) of one symbol of table_from_scores's table, int64."""
    return interval_of(scores, np.empty(scores.size, np.int32), symbol)


@compiled
def _fill_tables(scores, cdf):  # type: ignore[no-untyped-def]
    for i in range(scores.shape[0]):
        table_from_scores(scores[i], cdf[i])


@compiled
def _fill_intervals(scores, symbols, cum, freq):  # type: ignore[no-untyped-def]
    for i in range(scores.shape[0]):
        low, size = interval_from_scores(scores[i], np.int64(symbols[i]))
        cum[i] = low
        freq[i] = size


def _check(scores: NDArray[Any]) -> None:
    if scores.ndim != 2 or not 2 <= scores.shape[1] <= MAX_ALPHABET:
        raise ValueError(f"scores must be (n, A) with A from 2 to {MAX_ALPHABET}: {scores.shape}")
    # Differences are taken in int64, which two int64 scores could overflow.
    if scores.dtype.kind not in "iu" or scores.dtype.itemsize > 4:
        raise ValueError(f"scores must be integers of at most 32 bits, got {scores.dtype}")


def tables_from_scores(scores: NDArray[Any]) -> NDArray[np.uint32]:
    """The cumulative tables, uint32 (n, A + 1), of scores, integers (n, A) of at most 32 bits.

    Raises ValueError for other shapes and dtypes.
    """
    _check(scores)
    cdf = np.empty((scores.shape[0], scores.shape[1] + 1), np.uint32)
    _fill_tables(scores, cdf)
    return cdf


def intervals_from_scores(
    scores: NDArray[Any], symbols: NDArray[Any]
) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """What encode_lane wants: cum and freq, uint32 (n,), of symbols (n,) under scores (n, A).

    Raises ValueError for other shapes and dtypes and for symbols outside 0 .. A - 1.
    """
    _check(scores)
    if symbols.shape != scores.shape[:1] or symbols.dtype.kind not in "iu":
        raise ValueError(
            f"symbols must be one integer a row of scores, got {symbols.dtype} {symbols.shape}"
        )
    if len(symbols) and not 0 <= int(symbols.min()) <= int(symbols.max()) < scores.shape[1]:
        raise ValueError(f"symbols must be 0 .. {scores.shape[1] - 1}")
    cum = np.empty(len(symbols), np.uint32)
    freq = np.empty(len(symbols), np.uint32)
    _fill_intervals(scores, symbols, cum, freq)
    return cum, freq


def float_rows(cdf: NDArray[np.uint32]) -> NDArray[np.float32]:
    """Cumulative tables (n, A + 1) as the rows (n, A + 2) that constriction's Categorical takes.

    Symbol s is entry s + 1; the first and last entries are the guards. Entries are freq - 1 and sum
    to 2**24 - (A + 2), integers below 2**24: float32 holds them exactly, C-contiguous.
    """
    rows = np.zeros((cdf.shape[0], cdf.shape[1] + 1), np.float32)
    rows[:, 1:-1] = np.diff(cdf.astype(np.int64), axis=1) - 1
    return rows

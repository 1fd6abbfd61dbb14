"""FORMAT.md's account of the range coder is that of constriction, word for word."""

from __future__ import annotations

import constriction
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference.range_decoder import Decoder, Encoder

USABLE = 2**24 - 2


def constriction_words(intervals: list[tuple[int, int]]) -> list[int]:
    """The words of constriction's RangeEncoder for (cumulative, frequency) pairs."""
    encoder = constriction.stream.queue.RangeEncoder()
    model = constriction.stream.model.Categorical(perfect=False)
    rows = np.array([[c, f - 1, USABLE - c - f] for c, f in intervals], np.float32)
    if len(rows):
        encoder.encode(np.ones(len(rows), np.int32), model, rows)
    return encoder.get_compressed().tolist()


def tables(rng: np.random.Generator, count: int, symbols: int, skew: float) -> list[list[int]]:
    """Cumulative tables whose frequencies are at least 1 and range from even to extreme."""
    out = []
    for _ in range(count):
        shares = rng.random(symbols) ** skew
        frequencies = 1 + (shares / shares.sum() * (USABLE - 2 * symbols)).astype(np.int64)
        frequencies[int(rng.integers(symbols))] += USABLE - int(frequencies.sum())
        out.append([0, *np.cumsum(frequencies).tolist()])
    return out


@pytest.mark.parametrize("symbols", [2, 3, 17])
@pytest.mark.parametrize("skew", [0.0, 1.0, 30.0])
@pytest.mark.parametrize("count", [0, 1, 2, 5, 3000])
@pytest.mark.parametrize("choice", ["likely", "first", "last", "any"])
def test_words_and_symbols(symbols: int, skew: float, count: int, choice: str) -> None:
    rng = np.random.default_rng([symbols, int(skew), count])
    rows = tables(rng, count, symbols, skew)
    chosen = []
    for row in rows:
        quantile = int(rng.integers(USABLE))
        likely = int(np.searchsorted(row, quantile, side="right")) - 1
        options = {"likely": likely, "first": 0, "last": symbols - 1}
        chosen.append(options.get(choice, int(rng.integers(symbols))))
    intervals = [(row[s], row[s + 1] - row[s]) for row, s in zip(rows, chosen, strict=True)]
    words = constriction_words(intervals)

    encoder = Encoder()
    for interval in intervals:
        encoder.encode(*interval)
    assert encoder.finish() == words

    decoder = Decoder(words)
    assert [decoder.decode(row) for row in rows] == chosen


@given(st.lists(st.tuples(st.integers(0, USABLE - 1), st.integers(1, USABLE)), max_size=30))
def test_any_intervals(pairs: list[tuple[int, int]]) -> None:
    intervals = [(start, min(size, USABLE - start)) for start, size in pairs]
    encoder = Encoder()
    for interval in intervals:
        encoder.encode(*interval)
    assert encoder.finish() == constriction_words(intervals)


def test_carries_run_through_many_words() -> None:
    # Half of the time below and half above the middle of the range, as close as it gets: the
    # words stay undecided between 7fffffff ffffffff ... and 80000000 00000000 ...
    low = Encoder()
    low.encode(2**23 - 2, 1)
    intervals = [(2**23 - 2, 1)]
    for _ in range(40):
        # The symbol that straddles the point at which the carry would happen.
        scale = low.range // 2**24
        distance = (2**63 - low.low) % 2**64 if len(low.words) == 0 else (2**64 - low.low)
        cumulative = min(max(distance // scale - 1, 0), USABLE - 1)
        intervals.append((cumulative, 1))
        low.encode(cumulative, 1)
    below, above = [*intervals, (0, 1)], [*intervals, (USABLE - 1, 1)]
    for end in (intervals, below, above):
        encoder = Encoder()
        for interval in end:
            encoder.encode(*interval)
        assert encoder.finish() == constriction_words(end)
    assert constriction_words(below).count(2**32 - 1) > 20
    assert constriction_words(above).count(0) > 20


def test_known_words() -> None:
    assert constriction_words([]) == []
    assert constriction_words([(0, USABLE)]) == [256]
    encoder = Encoder()
    encoder.encode(0, USABLE)
    assert encoder.finish() == [256]

"""The numba lane decoder held against constriction's RangeDecoder, on sense and on nonsense."""

from __future__ import annotations

import constriction
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numba import njit

from tokenzip.coding.constants import PRECISION, USABLE
from tokenzip.coding.decoder import (
    END,
    NEXT,
    OFFSET,
    RANGE,
    advance,
    decode_bit,
    decode_symbol,
    decode_table,
    exhausted,
    find_symbol,
    new_state,
    open_lane,
    peek,
)
from tokenzip.coding.encoder import encode_lane
from tokenzip.coding.tables import float_rows

MODEL = constriction.stream.model.Categorical(perfect=False)
U32 = st.one_of(st.integers(0, 2**32 - 1), st.sampled_from([0, 1, 2**31, 2**32 - 1]))


@njit
def decode_lanes(words, ends, rows):
    """Symbols (lanes, n) of lanes that end at `ends`, the lanes taking turns, and what is left."""
    lanes, n = ends.size, rows.shape[0]
    state = np.zeros((lanes, 4), np.uint64)
    for lane in range(lanes):
        open_lane(state, lane, words, ends[lane - 1] if lane else 0, ends[lane])
    symbols = np.full((lanes, n), -1, np.int64)
    for i in range(n):
        for lane in range(lanes):
            if i == 0 or symbols[lane, i - 1] >= 0:
                symbols[lane, i] = decode_symbol(state, lane, words, rows[i])
    left = np.empty(lanes, np.bool_)
    for lane in range(lanes):
        left[lane] = not exhausted(state, lane)
    return symbols, left


@njit
def decode_bits(words, freq_one):
    """Bits by decode_bit, and by the three general functions; and whether the lane is used up."""
    state = np.zeros((2, 4), np.uint64)
    open_lane(state, 0, words, 0, words.size)
    open_lane(state, 1, words, 0, words.size)
    bits = np.full((2, freq_one.size), -1, np.int64)
    for i in range(freq_one.size):
        bits[0, i] = decode_bit(state, 0, words, freq_one[i])
        quantile = peek(state, 1)
        if quantile >= 0:
            zeros = np.int64(USABLE) - np.int64(freq_one[i])
            bits[1, i] = 1 if quantile >= zeros else 0
            if quantile >= zeros:
                advance(state, 1, words, zeros, freq_one[i])
            else:
                advance(state, 1, words, 0, zeros)
        if bits[0, i] < 0:
            break
    return bits, state


@njit
def exhausted_after(words, freq_one):
    """exhausted() before every bit, and after the last."""
    state = np.zeros((1, 4), np.uint64)
    open_lane(state, 0, words, 0, words.size)
    flags = np.empty(freq_one.size + 1, np.bool_)
    for i in range(freq_one.size):
        flags[i] = exhausted(state, 0)
        decode_bit(state, 0, words, freq_one[i])
    flags[freq_one.size] = exhausted(state, 0)
    return flags


def oracle(words, cdf_rows):
    """The symbols constriction decodes, -1 from the first guard or refusal on."""
    decoder = constriction.stream.queue.RangeDecoder(np.asarray(words, np.uint32))
    symbols = np.full(len(cdf_rows), -1, np.int64)
    for i, row in enumerate(float_rows(cdf_rows)):
        try:
            symbol = int(decoder.decode(MODEL, row[None])[0]) - 1
        except AssertionError:  # what constriction raises for words it can tell to be invalid
            break
        if not 0 <= symbol < cdf_rows.shape[1] - 1:
            break
        symbols[i] = symbol
    return symbols


def random_rows(rng, rows, alphabet, spread):
    """Random cumulative tables; a spread of 12 and more makes most frequencies 1."""
    weights = np.exp(rng.normal(0, spread, (rows, alphabet)))
    share = weights / weights.sum(axis=1, keepdims=True) * (USABLE - alphabet)
    freq = 1 + np.floor(share).astype(np.int64)
    freq[np.arange(rows), freq.argmax(axis=1)] += USABLE - freq.sum(axis=1)
    return np.concatenate([np.zeros((rows, 1), np.int64), freq.cumsum(axis=1)], 1).astype(np.uint32)


def bit_rows(freq_one):
    zeros = np.zeros(len(freq_one), np.int64)
    ones = np.asarray(freq_one, np.int64)
    return np.stack([zeros, USABLE - ones, zeros + USABLE], axis=1).astype(np.uint32)


def encode(cdf_rows, symbols):
    at = np.arange(len(symbols))
    cum = cdf_rows[at, symbols]
    return encode_lane(cum, cdf_rows[at, np.asarray(symbols) + 1] - cum)


def draw(rng, cdf_rows):
    """Symbols with the tables' own probabilities."""
    quantile = rng.integers(0, USABLE, len(cdf_rows))
    return (cdf_rows[:, 1:] <= quantile[:, None]).sum(axis=1)


def ideal_bits(cdf_rows, symbols):
    at = np.arange(len(symbols))
    freq = np.diff(cdf_rows.astype(np.int64), axis=1)[at, symbols]
    return float(-np.log2(freq / USABLE).sum())


# What the encoder writes is read back, by both decoders.


@pytest.mark.parametrize("alphabet", [2, 3, 10, 255, 1024])
@pytest.mark.parametrize("spread", [0.0, 1.0, 4.0, 14.0])
@pytest.mark.parametrize("kind", ["likely", "any"])
def test_round_trip_and_constriction(alphabet, spread, kind):
    rng = np.random.default_rng(alphabet)
    rows = random_rows(rng, 300, alphabet, spread)
    # "any" makes many of the symbols ones of frequency 1.
    symbols = draw(rng, rows) if kind == "likely" else rng.integers(0, alphabet, 300)
    words = encode(rows, symbols)
    assert np.array_equal(decode_table(words, rows, 300), symbols)
    assert np.array_equal(oracle(words, rows), symbols)


@pytest.mark.parametrize("spread", [0.0, 6.0, 20.0])
def test_65536_symbols(spread):
    rng = np.random.default_rng(6)
    rows = random_rows(rng, 8, 65536, spread)
    symbols = rng.integers(0, 65536, 8)
    symbols[:3] = 0, 65535, np.diff(rows[2].astype(int)).argmax()
    words = encode(rows, symbols)
    assert np.array_equal(decode_table(words, rows, 8), symbols)
    assert np.array_equal(oracle(words, rows), symbols)


def test_zero_symbols():
    rows = np.array([[0, 1, USABLE]], np.uint32)
    assert decode_table(np.empty(0, np.uint32), rows, 0).shape == (0,)


@pytest.mark.parametrize("freq_one", [1, 2, USABLE // 2, USABLE - 2, USABLE - 1])
@pytest.mark.parametrize("bit", [0, 1])
def test_one_symbol(freq_one, bit):
    rows = bit_rows([freq_one])
    words = encode(rows, [bit])
    assert decode_table(words, rows, 1).tolist() == [bit]
    bits, state = decode_bits(words, np.array([freq_one]))
    assert bits.tolist() == [[bit], [bit]]
    assert exhausted(state, 0)


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.uint32, np.int64, np.uint64])
def test_bits_equal_the_general_functions_and_constriction(dtype):
    rng = np.random.default_rng(9)
    shares = rng.beta(0.2, 0.2, 3000)
    top = min(USABLE - 1, np.iinfo(dtype).max)
    freq_one = np.clip((shares * USABLE).astype(np.int64), 1, top).astype(dtype)
    freq_one[:4] = 1, top, 1, top
    rows = bit_rows(freq_one)
    bits = draw(rng, rows)
    bits[:4] = 0, 0, 1, 1
    words = encode(rows, bits)
    got, state = decode_bits(words, freq_one)
    assert np.array_equal(got[0], bits)
    assert np.array_equal(got[1], bits)
    assert np.array_equal(state[0], state[1])
    assert exhausted(state, 0)
    decoder = constriction.stream.queue.RangeDecoder(words)
    ones = freq_one.astype(np.int64)
    two = np.zeros((len(ones), 4), np.float32)
    two[:, 1], two[:, 2] = USABLE - ones - 1, ones - 1
    assert np.array_equal(decoder.decode(MODEL, two) - 1, bits)


def test_decode_bit_takes_a_plain_python_integer():
    words = encode(bit_rows([12345] * 8), [0, 1, 1, 0, 1, 0, 0, 0])
    state = new_state(1)
    open_lane(state, 0, words, 0, len(words))
    assert [decode_bit(state, 0, words, 12345) for _ in range(8)] == [0, 1, 1, 0, 1, 0, 0, 0]


# Extremes.


@pytest.mark.parametrize("freq_one", [1, 2, USABLE - 2, USABLE - 1])
def test_long_runs_of_the_probable_bit(freq_one):
    # 400,000 near-certain decisions, an improbable one now and then.
    n = 400_000
    probable = int(freq_one > USABLE // 2)
    bits = np.full(n, probable)
    bits[[0, 7, 1000, 200_001, n - 1]] = 1 - probable
    freqs = np.full(n, freq_one)
    words = encode(bit_rows(freqs), bits)
    got, state = decode_bits(words, freqs)
    assert np.array_equal(got[0], bits)
    assert np.array_equal(got[1], bits)
    assert exhausted(state, 0)
    assert len(words) <= 5 * 24 / 32 + 2


@pytest.mark.parametrize("first", [0x00100000, 0x12345678, 0x80000000, 0xFFE00000])
@pytest.mark.parametrize("tail", [0, 2**32 - 1])
@pytest.mark.parametrize(("alphabet", "length"), [(2, 3000), (3, 2000), (1024, 300)])
def test_carries_through_long_runs(first, tail, alphabet, length):
    # The symbols that a word followed by zeros (or ones) only stands for keep the interval across a
    # word's end for many words: the encoder holds all of them back ("inverted" in constriction)
    # until the last symbol settles the carry.
    rng = np.random.default_rng(alphabet)
    point = np.array([first] + [tail] * 60, np.uint32)
    rows = random_rows(rng, length, alphabet, 2.0)
    symbols = decode_table(point, rows, length)
    # A point in the remainder of an interval is no symbol's: what came before it counts.
    n = int((symbols < 0).argmax()) if (symbols < 0).any() else length
    assert np.array_equal(oracle(point, rows[:n]), symbols[:n])
    for count in (n, n - 1, n // 2):
        words = encode(rows, symbols[:count])
        assert np.array_equal(decode_table(words, rows, count), symbols[:count])
        assert np.array_equal(oracle(words, rows[:count]), symbols[:count])
    # Somewhere within the tail, at a symbol with others below and above where there are three.
    spent = -np.log2(
        np.diff(rows[:n].astype(np.int64))[np.arange(n), symbols[:n]] / USABLE
    ).cumsum()
    usable = spent < 55 * 32
    if alphabet > 2:
        usable &= (symbols[:n] > 0) & (symbols[:n] < alphabet - 1)
    last = int(np.flatnonzero(usable)[-1])
    assert spent[last] > 10 * 32
    starts = []
    for other in (0, alphabet - 1):
        ended = np.append(symbols[:last], other)
        words = encode(rows, ended)
        starts.append(int(words[0]))
        assert np.array_equal(decode_table(words, rows, last + 1), ended)
        assert np.array_equal(oracle(words, rows[: last + 1]), ended)
    if alphabet > 2:
        # Many words later, the carry did go through to the first word, or did not.
        assert starts == ([first, first + 1] if tail else [first - 1, first])


# Lanes.


def test_lanes_side_by_side():
    rng = np.random.default_rng(12)
    rows = random_rows(rng, 500, 40, 2.0)
    symbols = np.stack([draw(rng, rows) for _ in range(7)])
    parts = [encode(rows, lane) for lane in symbols]
    ends = np.cumsum([len(part) for part in parts])
    got, left = decode_lanes(np.concatenate(parts), ends, rows)
    assert np.array_equal(got, symbols)
    assert not left.any()


def test_a_lane_reads_none_of_its_neighbours_words():
    # Six words last for some 48 of these symbols; the others depend on what follows, zeros.
    rng = np.random.default_rng(13)
    rows = random_rows(rng, 70, 40, 2.0)
    words, before, after = rng.integers(0, 2**32, (3, 6), dtype=np.uint32)
    got, _ = decode_lanes(np.concatenate([before, words, after]), np.array([6, 12, 18]), rows)
    assert np.array_equal(got[1], decode_table(np.append(words, np.zeros(30, np.uint32)), rows, 70))
    assert np.array_equal(got[1], decode_table(words, rows, 70))
    assert not np.array_equal(got[1], decode_table(np.append(words, after), rows, 70))
    assert (got[1][:60] >= 0).all()


@pytest.mark.parametrize(
    ("start", "end", "first", "last"),
    [
        (0, 4, 0, 4),
        (1, 3, 1, 3),
        (2, 2, 2, 2),
        (3, 2, 2, 2),
        (0, 99, 0, 4),
        (50, 99, 4, 4),
        (-5, 2, 0, 2),
        (-5, -3, 0, 0),
        (2**63 - 1, 2**63 - 1, 4, 4),
    ],
)
def test_offsets_stay_inside_the_words(start, end, first, last):
    words = np.array([1, 2, 3, 4], np.uint32)
    state, expected = new_state(2), new_state(2)
    open_lane(state, 1, words, start, end)
    part = words[first:last]
    open_lane(expected, 1, part, 0, len(part))
    assert state[1, OFFSET] == expected[1, OFFSET]
    assert state[1, END] == last
    assert first <= state[1, NEXT] <= last
    assert not state[0].any()


# Used up.


@pytest.mark.parametrize("extra", [[], [0], [1], [2**32 - 1], [0, 0], [2**32 - 1] * 2, [0, 0, 7]])
def test_exhausted_is_maybe_exhausted(extra):
    rng = np.random.default_rng(14)
    freq_one = rng.integers(1, USABLE, 400)
    bits = rng.integers(0, 2, 400)
    rows = bit_rows(freq_one)
    words = np.append(encode(rows, bits), np.array(extra, np.uint32)).astype(np.uint32)
    flags = exhausted_after(words, freq_one)
    decoder = constriction.stream.queue.RangeDecoder(words)
    expected = []
    for row in float_rows(rows):
        expected.append(decoder.maybe_exhausted())
        decoder.decode(MODEL, row[None])
    expected.append(decoder.maybe_exhausted())
    assert flags.tolist() == expected
    # A lane's end takes one or two words, so that one word too many can look like a part of it.
    if len(extra) != 1:
        assert flags[-1] == (not extra)


@pytest.mark.parametrize("words", [[], [0], [9], [7, 2**31], [2**31, 0], [1, 2, 3]])
def test_exhausted_before_any_symbol(words):
    words = np.array(words, np.uint32)
    expected = constriction.stream.queue.RangeDecoder(words).maybe_exhausted()
    assert exhausted_after(words, np.empty(0, np.int64)).tolist() == [expected]


@pytest.mark.parametrize("width", [2**56 - 1, 2**56, 2**56 + 2**24, 2**57 - 1])
@pytest.mark.parametrize("freq", [1, 2, 3])
def test_a_word_is_taken_below_two_to_the_32_and_not_at_it(width, freq):
    # Both decoders put into a state where the next interval is about the smallest one allowed, the
    # point lying in the first count of symbol 0.
    words = np.random.default_rng(width % 97).integers(0, 2**32, 8, dtype=np.uint32)
    scale = width >> PRECISION
    offset = scale + scale // 3
    state = new_state(1)
    open_lane(state, 0, words, 0, len(words))
    point = int(state[0, OFFSET])
    state[0, OFFSET], state[0, RANGE] = offset, width
    decoder = constriction.stream.queue.RangeDecoder(words)
    decoder.seek(0, ((point - offset) % 2**64, width))
    first = np.array([[0, freq, USABLE]], np.uint32)
    rows = np.concatenate([first, random_rows(np.random.default_rng(freq), 30, 2, 0.0)])
    for i, (cdf, full) in enumerate(zip(rows, float_rows(rows), strict=True)):
        symbol = int(decoder.decode(MODEL, full[None])[0]) - 1
        assert decode_symbol(state, 0, words, cdf) == symbol
        if i == 0:
            assert symbol == 0
            assert int(state[0, NEXT]) == 2 + (scale * freq < 2**32)


# Price.


def overhead(table, n):
    """Bytes written, ideal bytes: n symbols drawn from one table."""
    quantile = np.random.default_rng(15).integers(0, USABLE, n)
    symbols = np.searchsorted(table, quantile, side="right") - 1
    freq = np.diff(table.astype(np.int64))[symbols]
    words = encode_lane(table[symbols], freq)
    assert np.array_equal(decode_table(words, table[None], n), symbols)
    return words.nbytes, float(-np.log2(freq / USABLE).sum()) / 8


@pytest.mark.parametrize("alphabet", [2, 3, 16, 1024, 65536])
@pytest.mark.parametrize("spread", [0.0, 1.0, 2.0])
def test_overhead(alphabet, spread):
    n = 100_000
    written, ideal = overhead(random_rows(np.random.default_rng(15), 1, alphabet, spread)[0], n)
    # Tables of at least a third of a bit a symbol; for others the next test has the price.
    assert ideal > n / 8 / 3
    assert ideal - 8 <= written <= 1.001 * ideal + 8


@pytest.mark.parametrize("share", [0.5, 0.3, 0.1, 0.03, 0.01, 1e-3, 1e-4, 1e-5, 1e-7])
def test_overhead_of_skewed_bits(share):
    # An interval's remainder (below 2**24 of at least 2**32) is lost at every symbol, which is the
    # range coder's own price: about 1.5e-4 bits a symbol, at most 3e-4, even where symbols cost
    # next to nothing.
    n = 500_000
    table = np.array([0, max(1, int(share * USABLE)), USABLE], np.uint32)
    written, ideal = overhead(table, n)
    assert ideal - 8 <= written <= ideal + 3e-4 * n / 8 + 8


def test_overhead_of_many_short_lanes():
    rng = np.random.default_rng(16)
    for n in range(40):
        rows = random_rows(rng, n, 30, 2.0)
        symbols = draw(rng, rows) if n else np.empty(0, np.int64)
        words = encode(rows, symbols)
        assert words.nbytes <= 1.001 * ideal_bits(rows, symbols) / 8 + 8


# Nonsense.


@pytest.mark.parametrize("alphabet", [2, 5, 300])
def test_every_flipped_bit_decodes_as_in_constriction_or_flags(alphabet):
    rng = np.random.default_rng(alphabet)
    rows = random_rows(rng, 60, alphabet, 1.0)
    words = encode(rows, draw(rng, rows))
    for bit in range(32 * len(words)):
        flipped = words.copy()
        flipped[bit // 32] ^= np.uint32(1 << bit % 32)
        got = decode_table(flipped, rows, 60)
        assert ((got >= -1) & (got < alphabet)).all()
        if bit % 3 == 0:
            assert np.array_equal(got, oracle(flipped, rows))


@given(st.lists(U32, max_size=12), st.integers(2, 50), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=150)
def test_any_words_decode_as_in_constriction(words, alphabet, seed):
    words = np.array(words, np.uint32)
    rows = random_rows(np.random.default_rng(seed), 60, alphabet, 3.0)
    got = decode_table(words, rows, 60)
    assert np.array_equal(got, oracle(words, rows))
    flagged = got < 0
    assert np.array_equal(flagged, np.maximum.accumulate(flagged))
    assert got.max(initial=0) < alphabet


@pytest.mark.parametrize(
    "words",
    [
        [0],  # below the first symbol: the lower guard
        [2**32 - 1, 2**32 - 1],  # above the last: the upper guard, and past the whole interval
        [2**32 - 1, 0],
        [],
    ],
)
def test_guards_are_flagged(words):
    words = np.array(words, np.uint32)
    state = new_state(1)
    open_lane(state, 0, words, 0, len(words))
    before = state.copy()
    assert peek(state, 0) == -1
    assert decode_bit(state, 0, words, 77) == -1
    assert decode_symbol(state, 0, words, np.array([0, 9, USABLE], np.uint32)) == -1
    # A flagged lane stays where it is, and so stays flagged.
    assert np.array_equal(state, before)
    assert decode_table(words, np.array([[0, 9, USABLE]], np.uint32), 3).tolist() == [-1, -1, -1]


def test_quantiles_at_the_guards():
    scale = (2**64 - 1) >> PRECISION
    words = np.empty(0, np.uint32)
    for quantile, expected in [
        (0, -1),
        (1, 0),
        (2, 1),
        (USABLE, USABLE - 1),
        (USABLE + 1, -1),
        (USABLE + 2, -1),
    ]:
        for inside in (0, scale - 1):
            state = new_state(1)
            open_lane(state, 0, words, 0, 0)
            state[0, OFFSET] = min(quantile * scale + inside, 2**64 - 1)
            assert peek(state, 0) == expected
            bit = -1 if expected < 0 else int(expected >= USABLE - 1)
            assert decode_bit(state, 0, words, 1) == bit


@given(
    hnp.arrays(np.uint64, 2, elements=st.integers(0, 2**64 - 1)),
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=20),
    st.integers(0, 3),
)
@settings(deadline=None, max_examples=300)
def test_nonsense_states_and_frequencies_stay_inside(pair, freq_one, count):
    words = np.full(count, 0xDEADBEEF, np.uint32)
    state = new_state(1)
    open_lane(state, 0, words, 0, count)
    state[0, OFFSET], state[0, RANGE] = pair
    start = int(state[0, NEXT])
    for i, freq in enumerate(freq_one):
        assert decode_bit(state, 0, words, freq) in (-1, 0, 1)
        assert -1 <= peek(state, 0) < USABLE
        # At most one word a decision, and never one past the end.
        assert int(state[0, NEXT]) <= min(start + i + 1, max(count, start))
        advance(state, 0, words, freq, freq)
        start += 1
        assert state[0, END] == count


@given(st.integers(2, 400), st.integers(0, 2**32 - 1), st.integers(0, USABLE - 1))
@settings(deadline=None, max_examples=200)
def test_find_symbol(alphabet, seed, quantile):
    cdf = random_rows(np.random.default_rng(seed), 1, alphabet, 5.0)[0]
    for q in (0, quantile, USABLE - 1, int(cdf[alphabet // 2]), int(cdf[alphabet // 2]) - 1):
        q = max(q, 0)
        assert find_symbol(cdf, q) == np.searchsorted(cdf, q, side="right") - 1


@given(st.data())
@settings(deadline=None, max_examples=100)
def test_any_symbols_and_tables_round_trip(data):
    alphabet = data.draw(st.integers(2, 30))
    spread = data.draw(st.sampled_from([0.0, 1.0, 5.0, 25.0]))
    symbols = data.draw(st.lists(st.integers(0, alphabet - 1), max_size=80))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    rows = random_rows(rng, len(symbols), alphabet, spread)
    words = encode(rows, np.array(symbols, np.int64))
    assert decode_table(words, rows, len(symbols)).tolist() == symbols
    assert oracle(words, rows).tolist() == symbols

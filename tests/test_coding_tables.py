"""Frequency tables against a reference in Python integers, and as constriction sees them."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenzip.coding.constants import PRECISION, SCORE_ONE, USABLE
from tokenzip.coding.tables import (
    float_rows,
    interval_from_scores,
    interval_of,
    intervals_from_scores,
    symbol_at,
    symbol_of,
    table_from_scores,
    tables_from_scores,
)
from tokenzip.coding.weights import EXP2

I32 = np.iinfo(np.int32)
CRC_EXP2 = 0xDA2818F4
CRC_TABLES = 0x6F69D394


def reference(scores):
    """The module's definition, in Python integers that cannot overflow."""
    scores = [int(s) for s in scores]
    best = scores.index(max(scores))
    e = [int(EXP2[min(scores[best] - s, len(EXP2) - 1)]) for s in scores]
    k = ((USABLE - len(scores)) << 32) // sum(e)
    freq = [1 + ((x * k) >> 32) for x in e]
    freq[best] += USABLE - sum(freq)
    return freq


def frequencies(scores):
    cdf = np.empty(len(scores) + 1, np.uint32)
    table_from_scores(scores, cdf)
    return np.diff(cdf.astype(np.int64)).tolist()


def test_exp2_is_the_nearest_integer_everywhere():
    # e = round(x) with x = 2**PRECISION * 2**(-d / SCORE_ONE) means e - 1/2 <= x < e + 1/2; both
    # sides doubled and raised to the power SCORE_ONE are integers.
    for d, e in enumerate(EXP2.tolist()):
        power = 2 ** max((PRECISION + 1) * SCORE_ONE - d, 0)
        if d <= (PRECISION + 1) * SCORE_ONE:
            assert (2 * e - 1) ** SCORE_ONE <= power < (2 * e + 1) ** SCORE_ONE, d
        else:
            assert e == 0
    assert EXP2[0] == 2**PRECISION
    assert EXP2[SCORE_ONE] == 2 ** (PRECISION - 1)
    assert EXP2[-1] == 0 < EXP2[-2]


def test_exp2_is_pinned():
    # Another table would be another format: old blobs would no longer decode.
    assert EXP2.dtype == np.int64
    assert zlib.crc32(EXP2.astype("<i8").tobytes()) == CRC_EXP2


def test_tables_are_pinned():
    scores = (np.arange(12 * 50).reshape(12, 50) * 7919 % 2003 - 1000).astype(np.int32)
    assert zlib.crc32(tables_from_scores(scores).astype("<u4").tobytes()) == CRC_TABLES


@pytest.mark.parametrize("alphabet", [2, 3, 5, 64, 1000, 1024, 65535, 65536])
@pytest.mark.parametrize("spread", [0, 1, 60, 1000, 10**6, 2**31 - 1])
def test_tables_equal_the_reference(alphabet, spread):
    rng = np.random.default_rng(alphabet + spread)
    scores = rng.integers(-spread, spread, alphabet, endpoint=True).astype(np.int32)
    freq = frequencies(scores)
    assert freq == reference(scores)
    assert sum(freq) == USABLE
    assert min(freq) >= 1


@given(
    st.lists(
        st.one_of(
            st.integers(-300, 300),
            st.integers(I32.min, I32.max),
            st.sampled_from([I32.min, I32.max, 0]),
        ),
        min_size=2,
        max_size=40,
    )
)
@settings(deadline=None, max_examples=300)
def test_any_scores(values):
    scores = np.array(values, np.int32)
    freq = frequencies(scores)
    assert freq == reference(scores)
    assert sum(freq) == USABLE
    assert min(freq) >= 1
    # Frequencies are ordered as the scores are; the remainder goes to the best only.
    best = int(np.argmax(scores))
    assert freq[best] == max(freq)
    order = [s for s in np.argsort(scores, kind="stable").tolist() if s != best]
    assert (np.diff(np.array(freq)[order]) >= 0).all()
    cum = 0
    for symbol, f in enumerate(freq):
        assert interval_from_scores(scores, symbol) == (cum, f)
        cum += f


def test_what_is_left_goes_to_the_lowest_index_on_ties():
    scores = np.array([-5, 9, 3, 9, 9, -5], np.int32)
    freq = frequencies(scores)
    assert freq[3] == freq[4]
    assert freq[1] > freq[3]
    # Only the remainder tells them apart, and it is less than one count a symbol.
    assert freq[1] - freq[3] < len(scores)
    assert freq[0] == freq[5] < freq[2] < freq[3]


def test_equal_scores_are_equal_probabilities():
    for alphabet in (2, 7, 1024, 65536):
        freq = frequencies(np.full(alphabet, -12345, np.int32))
        assert len(set(freq[1:])) == 1
        assert abs(freq[1] - USABLE / alphabet) < 1
        assert sum(freq) == USABLE


def test_only_differences_of_scores_count():
    scores = np.random.default_rng(3).integers(-500, 500, 100).astype(np.int32)
    assert frequencies(scores) == frequencies(scores + 100_000) == frequencies(scores - 7)


def test_a_step_of_score_one_is_a_factor_of_two():
    freq = frequencies(np.array([0, SCORE_ONE, 2 * SCORE_ONE], np.int32))
    assert np.allclose(freq, np.array([1, 2, 4]) / 7 * USABLE, rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32])
def test_every_score_dtype(dtype):
    info = np.iinfo(dtype)
    scores = np.array([info.min, info.max, info.min + 1, info.max - 3, info.max // 2], dtype)
    assert frequencies(scores) == reference(scores)


def test_many_rows_are_the_single_rows():
    scores = np.random.default_rng(4).integers(-400, 400, (20, 37)).astype(np.int16)
    cdf = tables_from_scores(scores)
    assert cdf.shape == (20, 38)
    assert cdf.dtype == np.uint32
    for row, got in zip(scores, cdf, strict=True):
        assert np.diff(got.astype(int)).tolist() == frequencies(row)
    assert (cdf[:, 0] == 0).all()
    assert (cdf[:, -1] == USABLE).all()
    # Other memory layouts are other views of the same scores.
    assert np.array_equal(tables_from_scores(np.asfortranarray(scores)), cdf)
    assert np.array_equal(tables_from_scores(scores[::-1]), cdf[::-1])


@pytest.mark.parametrize("alphabet", [2, 37, 1024])
def test_intervals_are_those_of_the_tables(alphabet):
    rng = np.random.default_rng(alphabet)
    scores = rng.integers(-600, 600, (200, alphabet)).astype(np.int32)
    symbols = rng.integers(0, alphabet, 200)
    symbols[:50] = scores[:50].argmax(axis=1)
    symbols[50:54] = 0, 0, alphabet - 1, alphabet - 1
    cdf = tables_from_scores(scores)
    cum, freq = intervals_from_scores(scores, symbols)
    at = np.arange(200)
    assert np.array_equal(cum, cdf[at, symbols])
    assert np.array_equal(cum + freq, cdf[at, symbols + 1])


@pytest.mark.parametrize("spread", [0, 2, 700])
@pytest.mark.parametrize("alphabet", [2, 3, 15, 16, 17, 18, 127, 128, 129, 144, 145, 1024])
def test_the_symbol_of_a_quantile(alphabet, spread):
    """At the first and the last quantile of every symbol, by the table and by scores alone."""
    rng = np.random.default_rng(alphabet)
    for best in (0, alphabet // 2, alphabet - 1):
        scores = rng.integers(-spread, spread, alphabet, endpoint=True).astype(np.int32)
        scores[best] = spread
        freq = np.array(reference(scores), np.int32)
        weights, end = np.empty(alphabet, np.int32), np.cumsum(freq, dtype=np.int64)
        for symbol, (below, above) in enumerate(zip(end - freq, end, strict=True)):
            assert interval_of(scores, weights, symbol) == (below, freq[symbol])
            for quantile in (below, above - 1):
                assert symbol_at(freq, quantile) == (symbol, below)
                assert symbol_of(scores, weights, quantile) == (symbol, below, freq[symbol])


@pytest.mark.parametrize("alphabet", [2, 1024, 65536])
def test_float_rows_are_exact(alphabet):
    rng = np.random.default_rng(alphabet)
    cdf = tables_from_scores(rng.integers(-900, 900, (3, alphabet)).astype(np.int32))
    rows = float_rows(cdf)
    assert rows.dtype == np.float32
    assert rows.flags.c_contiguous
    assert rows.shape == (3, alphabet + 2)
    back = rows.astype(np.int64)
    assert np.array_equal(back, rows)
    assert (back.sum(axis=1) == 2**PRECISION - (alphabet + 2)).all()
    assert np.array_equal(back[:, 1:-1] + 1, np.diff(cdf.astype(np.int64), axis=1))
    assert (back[:, [0, -1]] == 0).all()


@pytest.mark.parametrize(
    "scores",
    [
        np.zeros(5, np.int32),
        np.zeros((2, 1), np.int32),
        np.zeros((2, 0), np.int32),
        np.zeros((1, 65537), np.int32),
        np.zeros((2, 5), np.int64),
        np.zeros((2, 5), np.float32),
        np.zeros((2, 5), bool),
    ],
)
def test_other_scores_are_refused(scores):
    with pytest.raises(ValueError, match="scores must be"):
        tables_from_scores(scores)
    with pytest.raises(ValueError, match="scores must be"):
        intervals_from_scores(scores, np.zeros(len(scores), np.int64))


@pytest.mark.parametrize("symbols", [[0, 5], [-1, 0], [0], [0.0, 1.0]])
def test_other_symbols_are_refused(symbols):
    with pytest.raises(ValueError, match="symbols must be"):
        intervals_from_scores(np.zeros((2, 5), np.int32), np.array(symbols))


def test_no_rows():
    none = np.zeros((0, 9), np.int32)
    assert tables_from_scores(none).shape == (0, 10)
    assert intervals_from_scores(none, np.zeros(0, np.int64))[0].shape == (0,)

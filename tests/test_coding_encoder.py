"""encode_lane against constriction's own encoder on whole rows, and its words pinned."""

from __future__ import annotations

import subprocess
import sys

import constriction
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenzip.coding.constants import USABLE
from tokenzip.coding.encoder import SLICE_ROWS, encode_lane
from tokenzip.coding.tables import float_rows


def constriction_words(cdf_rows, symbols):
    """The words of the textbook way: every symbol with its whole row, guards included."""
    encoder = constriction.stream.queue.RangeEncoder()
    model = constriction.stream.model.Categorical(perfect=False)
    encoder.encode(np.asarray(symbols, np.int32) + 1, model, float_rows(cdf_rows))
    return encoder.get_compressed()


def intervals(cdf_rows, symbols):
    at = np.arange(len(symbols))
    cum = cdf_rows[at, symbols]
    return cum, cdf_rows[at, np.asarray(symbols) + 1] - cum


def random_rows(rng, rows, alphabet, spread):
    """Random cumulative tables; a spread of 12 and more makes most frequencies 1."""
    weights = np.exp(rng.normal(0, spread, (rows, alphabet)))
    share = weights / weights.sum(axis=1, keepdims=True) * (USABLE - alphabet)
    freq = 1 + np.floor(share).astype(np.int64)
    freq[np.arange(rows), freq.argmax(axis=1)] += USABLE - freq.sum(axis=1)
    assert freq.min() >= 1
    return np.concatenate([np.zeros((rows, 1), np.int64), freq.cumsum(axis=1)], 1).astype(np.uint32)


def arithmetic_input():
    """A fixed input made of integers alone, for the pinned words."""
    cum, freq, x = [], [], 1
    for _ in range(40):
        x = (x * 6364136223846793005 + 1442695040888963407) % 2**64
        size = 1 + (x >> 33) % (1 << (x >> 58) % 24)
        cum.append((x >> 8) % (USABLE - size + 1))
        freq.append(size)
    return np.array(cum, np.uint32), np.array(freq, np.uint32)


PINNED = [
    "ff957636",
    "89697db7",
    "a64d724c",
    "1b70b16d",
    "76619aeb",
    "38e8c2b6",
    "4156acc2",
    "01d84dd7",
    "e15d04d0",
    "c1e60c08",
    "214cff04",
    "988aa2f9",
    "980278a7",
    "2bd73a00",
    "5d0969d9",
    "3afdf560",
    "047d69cb",
    "49336875",
    "9dc88789",
]


def test_pinned_words():
    assert [f"{word:08x}" for word in encode_lane(*arithmetic_input())] == PINNED


@pytest.mark.parametrize("alphabet", [2, 3, 10, 255, 1024])
@pytest.mark.parametrize("spread", [0.0, 1.0, 4.0, 14.0])
def test_three_entry_rows_give_the_words_of_whole_rows(alphabet, spread):
    rng = np.random.default_rng(alphabet)
    rows = random_rows(rng, 300, alphabet, spread)
    symbols = rng.integers(0, alphabet, 300)
    symbols[:2] = 0, alphabet - 1
    got = encode_lane(*intervals(rows, symbols))
    assert got.dtype == np.uint32
    assert np.array_equal(got, constriction_words(rows, symbols))


def test_three_entry_rows_for_65536_symbols():
    rng = np.random.default_rng(5)
    rows = random_rows(rng, 6, 65536, 6.0)
    symbols = np.array([0, 65535, 32768, 1, 65534, int(np.diff(rows[5].astype(int)).argmax())])
    got = encode_lane(*intervals(rows, symbols))
    assert np.array_equal(got, constriction_words(rows, symbols))


def test_no_symbols_give_no_words():
    none = np.empty(0, np.uint32)
    assert encode_lane(none, none).shape == (0,)
    assert encode_lane(none, none).dtype == np.uint32


def test_one_symbol():
    rows = np.array([[0, 1, USABLE]], np.uint32)
    for symbol in (0, 1):
        got = encode_lane(*intervals(rows, [symbol]))
        assert np.array_equal(got, constriction_words(rows, [symbol]))
        assert 1 <= len(got) <= 2


def test_a_certain_symbol_costs_nothing():
    # One symbol that owns every count: a million of them fit in the words that end a lane.
    n = 1_000_000
    words = encode_lane(np.zeros(n, np.uint32), np.full(n, USABLE, np.uint32))
    assert len(words) <= 2


@pytest.mark.parametrize("slice_rows", [1, 2, 7, 999, 1000, 1001])
def test_words_do_not_depend_on_the_slice_size(slice_rows):
    rng = np.random.default_rng(1)
    rows = random_rows(rng, 1000, 17, 2.0)
    cum, freq = intervals(rows, rng.integers(0, 17, 1000))
    whole = encode_lane(cum, freq)
    assert np.array_equal(encode_lane(cum, freq, slice_rows=slice_rows), whole)


@pytest.mark.parametrize("n", [SLICE_ROWS - 1, SLICE_ROWS, SLICE_ROWS + 1])
def test_lanes_about_one_slice_long(n):
    rng = np.random.default_rng(2)
    freq = rng.integers(1, USABLE, n)
    cum = rng.integers(0, USABLE - freq + 1)
    assert np.array_equal(encode_lane(cum, freq), encode_lane(cum, freq, slice_rows=n))


@given(st.lists(st.tuples(st.integers(0, USABLE - 1), st.integers(1, USABLE)), max_size=60))
@settings(deadline=None, max_examples=200)
def test_any_intervals_as_whole_rows(pairs):
    cum = np.array([c for c, _ in pairs], np.uint32)
    freq = np.array([min(f, USABLE - c) for c, f in pairs], np.uint32)
    # The row of a table with up to three symbols, of which this one is the middle.
    encoder = constriction.stream.queue.RangeEncoder()
    model = constriction.stream.model.Categorical(perfect=False)
    for c, f in zip(cum.tolist(), freq.tolist(), strict=True):
        sizes = [size for size in (c, f, USABLE - c - f) if size]
        row = np.array([[0, *(size - 1 for size in sizes), 0]], np.float32)
        encoder.encode(np.array([2 if c else 1], np.int32), model, row)
    assert np.array_equal(encode_lane(cum, freq), encoder.get_compressed())


@pytest.mark.parametrize("dtype", [np.uint32, np.int32, np.int64, np.uint64])
@pytest.mark.parametrize("step", [1, 2, -1])
def test_any_integer_dtype_and_layout(dtype, step):
    cum, freq = arithmetic_input()
    wide = np.zeros((2, 2 * len(cum)), dtype)
    view = wide[:, : len(cum) * abs(step) : abs(step)][:, :: 1 if step > 0 else -1]
    view[0], view[1] = cum, freq
    assert [f"{word:08x}" for word in encode_lane(view[0], view[1])] == PINNED


@pytest.mark.parametrize(
    ("cum", "freq"),
    [
        ([0], [0]),
        ([0], [USABLE + 1]),
        ([USABLE], [1]),
        ([USABLE - 5], [6]),
        ([-1], [3]),
        ([5], [-3]),
        ([0], [2**63 - 1]),
        ([-(2**62)], [2**62]),
    ],
)
def test_intervals_outside_the_table_are_refused(cum, freq):
    fine = np.full(10, 3)
    with pytest.raises(ValueError, match="interval 10 "):
        encode_lane(np.concatenate([fine, cum]), np.concatenate([fine, freq]), slice_rows=4)


@pytest.mark.parametrize(
    ("cum", "freq"),
    [
        (np.zeros(3, np.uint32), np.ones(2, np.uint32)),
        (np.zeros((2, 2), np.uint32), np.ones((2, 2), np.uint32)),
        (np.zeros(3), np.ones(3, np.uint32)),
        (np.zeros(3, np.uint32), np.ones(3, bool)),
    ],
)
def test_other_arrays_are_refused(cum, freq):
    with pytest.raises(ValueError, match="cum and freq must be"):
        encode_lane(cum, freq)


def test_slices_of_no_rows_are_refused():
    with pytest.raises(ValueError, match="slice_rows"):
        encode_lane(np.zeros(1, np.uint32), np.ones(1, np.uint32), slice_rows=0)


def test_decoding_imports_no_constriction():
    code = (
        "import sys; sys.modules['constriction'] = None; "
        "import tokenzip.coding.decoder, tokenzip.coding.tables"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

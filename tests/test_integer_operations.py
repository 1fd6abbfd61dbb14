"""Every integer operation of every backend against plain numpy, written from the definitions.

The definitions stand in tokenzip/integer/__init__.py. What is written here is slow and short:
int64 everywhere, one row at a time, Python's own integers where 64 bits could hide a mistake.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from backends import BACKENDS, make, rows_of_a_step
from numpy.testing import assert_array_equal

from tokenzip.coding.constants import USABLE
from tokenzip.coding.encoder import encode_lane
from tokenzip.coding.logarithms import LOG2_STEPS
from tokenzip.coding.tables import MOST_STEPS, intervals_from_scores, tables_from_scores
from tokenzip.coding.weights import EXP2
from tokenzip.errors import MissingDependencyError, OptionError
from tokenzip.integer import BACKENDS as NAMES
from tokenzip.integer import CELL_LIMIT, GATE_LIMIT, LARGEST, ONE, SCORE_LIMIT, operations
from tokenzip.integer.layers import Layer, Places
from tokenzip.integer.tables import gate_tables

SIGMOID, TANH = (gate_tables()[name].astype(np.int64) for name in ("sigmoid", "tanh"))

#: (rows, inputs, outputs): one of everything, odd numbers, whole tiles and beside them, no inputs.
SHAPES = [
    *[(rows, 5, 33) for rows in (*range(1, 18), 0)],
    *[(1, 1, 1), (3, 1, 40), (7, 0, 9), (17, 64, 32), (9, 129, 70), (33, 8, 64), (1000, 31, 17)],
]


@pytest.fixture(params=BACKENDS, scope="module")
def ops(request):
    return make(request.param)


def at_hand(rng, shape):
    """int8 of all values, with more of the extremes than chance gives."""
    x = rng.integers(-128, 128, shape)
    return np.where(rng.random(shape) < 0.3, rng.choice([-128, -127, 0, 127], shape), x).astype(
        np.int8
    )


def random_layer(rng, outputs, inputs, wanted=60, shift=None):
    """A layer whose requantised sums spread to about `wanted`."""
    shift = int(rng.integers(1, 41)) if shift is None else shift
    spread = 80 * 75 * max(inputs, 1) ** 0.5
    multiplier = min(2**31 - 1, wanted / spread * 2.0**shift) * rng.uniform(0.3, 2, outputs)
    return Layer(
        "some",
        at_hand(rng, (outputs, inputs)),
        rng.integers(-(2**15), 2**15, outputs).astype(np.int32),
        np.minimum(np.round(multiplier), 2**31 - 1).astype(np.int32),
        shift,
    )


def sums_of(x, layer, add=0):
    return x.astype(np.int64) @ layer.weight.T.astype(np.int64) + layer.bias + add


def requantised(sums, layer, low, high):
    """By Python's integers, whose shifts floor and which never overflow."""
    half = 1 << (layer.shift - 1)
    flat = sums.reshape(-1, len(layer.bias))
    out = [
        [
            (int(s) * int(m) + half) >> layer.shift
            for s, m in zip(row, layer.multiplier, strict=True)
        ]
        for row in flat
    ]
    found = np.array(out, dtype=object).reshape(sums.shape)
    return np.clip(found, low, high).astype(np.int64) if found.size else found.astype(np.int64)


def gate(sigmoid_at, tanh_at):
    product = SIGMOID[sigmoid_at + GATE_LIMIT] * TANH[tanh_at + GATE_LIMIT]
    return np.minimum((product + 2**22) >> 23, LARGEST)


def tables_for(ops):
    return ops.array(SIGMOID.astype(np.int32)), ops.array(TANH.astype(np.int32))


# Matrix products and what follows them


@pytest.mark.parametrize(("rows", "inputs", "outputs"), SHAPES)
def test_linear_and_dense(ops, rng, rows, inputs, outputs):
    layer, x = random_layer(rng, outputs, inputs), at_hand(rng, (rows, inputs))
    add = rng.integers(-5000, 5000, (rows, outputs)).astype(np.int32)
    own, x_own = ops.layer(layer), ops.array(x)
    with ops.running():
        found = ops.numpy(ops.linear(x_own, own))
        plain = ops.numpy(ops.dense(x_own, own, -LARGEST))
        added = ops.numpy(ops.dense(x_own, own, 0, add=ops.array(add)))
    assert (found.dtype, plain.dtype, added.dtype) == (np.int32, np.int8, np.int8)
    assert_array_equal(found, sums_of(x, layer))
    assert_array_equal(plain, requantised(sums_of(x, layer), layer, -LARGEST, LARGEST))
    assert_array_equal(added, requantised(sums_of(x, layer, add), layer, 0, LARGEST))


def test_products_keep_their_leading_axes(ops, rng):
    layer, x = random_layer(rng, 6, 10), at_hand(rng, (2, 3, 4, 10))
    add = rng.integers(-99, 99, (2, 3, 4, 6)).astype(np.int32)
    assert_array_equal(ops.numpy(ops.linear(ops.array(x), ops.layer(layer))), sums_of(x, layer))
    of_sites = ops.linear(ops.array(x), ops.layer(layer), add=ops.array(add[0, 0]))
    assert_array_equal(
        ops.numpy(of_sites), sums_of(x, layer, np.broadcast_to(add[0, 0], add.shape))
    )
    found = ops.numpy(ops.dense(ops.array(x), ops.layer(layer), -5, add=ops.array(add)))
    assert_array_equal(found, requantised(sums_of(x, layer, add), layer, -5, LARGEST))


@pytest.mark.parametrize("inputs", [1, 7, 8, 1100])
@pytest.mark.parametrize(("left", "right"), [(127, 127), (-128, -127), (-128, 127), (127, -128)])
def test_the_largest_sums(ops, inputs, left, right):
    """1100 x 127 x 127 is beyond the integers of float32."""
    x = np.full((3, inputs), left, np.int8)
    x[1, 0] = left - 1 if left > 0 else left + 1
    layer = Layer(
        "extreme",
        np.full((5, inputs), right, np.int8),
        np.array([0, 1, -1, 2**30, -(2**30)], np.int32),
        np.full(5, 2**31 - 1, np.int32),
        40,
    )
    assert_array_equal(ops.numpy(ops.linear(ops.array(x), ops.layer(layer))), sums_of(x, layer))
    found = ops.numpy(ops.dense(ops.array(x), ops.layer(layer), -LARGEST))
    assert_array_equal(found, requantised(sums_of(x, layer), layer, -LARGEST, LARGEST))


@pytest.mark.parametrize("shift", [1, 2, 24, 40])
def test_requantisation_floors(ops, shift):
    """Products at, just below and just above halves, on both sides of zero."""
    sums = np.array([k for n in range(-4, 5) for k in (2 * n - 1, 2 * n, 2 * n + 1)], np.int64)
    layer = Layer(
        "identity",
        np.zeros((len(sums), 1), np.int8),
        (sums * (1 << max(0, shift - 31))).astype(np.int32),
        np.full(len(sums), 1 << min(shift - 1, 30), np.int32),
        shift,
    )
    found = ops.numpy(ops.dense(ops.array(np.zeros((1, 1), np.int8)), ops.layer(layer), -LARGEST))
    x = np.zeros((1, 1), np.int8)
    assert_array_equal(found, requantised(sums_of(x, layer), layer, -LARGEST, LARGEST))


@pytest.mark.parametrize(("rows", "inputs", "width"), [(1, 1, 1), (5, 9, 17), (40, 33, 16)])
def test_gated(ops, rng, rows, inputs, width):
    layer, x = random_layer(rng, 2 * width, inputs, wanted=1500), at_hand(rng, (rows, inputs))
    at = requantised(sums_of(x, layer), layer, -GATE_LIMIT, GATE_LIMIT)
    assert abs(at).max() > 300
    found = ops.numpy(ops.gated(ops.array(x), ops.layer(layer), tables_for(ops)))
    assert found.dtype == np.int8
    assert_array_equal(found, gate(at[:, :width], at[:, width:]))


@pytest.mark.parametrize(
    ("frames", "rows", "inputs", "width"), [(1, 1, 1, 1), (4, 3, 5, 7), (3, 37, 10, 16)]
)
def test_lstm(ops, rng, frames, rows, inputs, width):
    layer = random_layer(rng, 4 * width, inputs + width, wanted=1500)
    x = at_hand(rng, (frames, rows, inputs))
    h = at_hand(rng, (rows, width))
    c = rng.choice([-CELL_LIMIT, CELL_LIMIT, 0, 5000, -9], (rows, width)).astype(np.int32)
    own_state = ops.array(h.copy()), ops.array(c.copy())
    found, after = ops.lstm(ops.array(x), ops.layer(layer), own_state, tables_for(ops))
    for t in range(frames):
        sums = sums_of(np.concatenate([x[t], h], 1), layer)
        at = requantised(sums, layer, -GATE_LIMIT, GATE_LIMIT)
        enter, keep, show, new = np.split(at + GATE_LIMIT, 4, axis=1)
        c = SIGMOID[keep] * c.astype(np.int64) + (SIGMOID[enter] * TANH[new] >> 3) + 2**14
        c = np.clip(c >> 15, -CELL_LIMIT, CELL_LIMIT)
        h = gate(show - GATE_LIMIT, np.clip(c >> 4, -GATE_LIMIT, GATE_LIMIT)).astype(np.int8)
        assert_array_equal(ops.numpy(found)[t], h)
    assert_array_equal(ops.numpy(after[0]), h)
    assert_array_equal(ops.numpy(after[1]), c)


# Gathering


def random_places(rng, count, sites, n, most_back=3):
    site = rng.integers(0, sites + 1, (count, n)).astype(np.int32)
    return Places(rng.integers(0, most_back + 1, count).astype(np.int32), site, sites)


def windows_of(values, places, first, frames):
    count, n = places.site.shape
    out = np.empty((len(values), frames, n, count, values.shape[3]), values.dtype)
    for t in range(frames):
        for s in range(n):
            for p in range(count):
                out[:, t, s, p] = values[:, first + t - places.back[p], places.site[p, s]]
    return out.reshape(len(values), frames, n, count * values.shape[3])


def matches_of(symbols, a, b, first, frames, none):
    one, other = windows_of(symbols, a, first, frames), windows_of(symbols, b, first, frames)
    return np.where((one == other) & (one != none), ONE, 0).astype(np.int8)


def test_embed(ops, rng):
    table = at_hand(rng, (3, 12, 5))
    symbols = rng.integers(0, 12, (2, 4, 7, 3)).astype(np.int32)
    wanted = np.concatenate([table[plane][symbols[..., plane]] for plane in range(3)], axis=-1)
    assert_array_equal(ops.numpy(ops.embed(ops.array(table), ops.array(symbols))), wanted)


@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize(("clips", "places", "n", "planes"), [(1, 4, 6, 1), (3, 2, 1, 4)])
def test_windows_matches_and_inputs(ops, rng, frames, clips, places, n, planes):
    sites, first, none, width = 6, 3, 5, 2
    values = at_hand(rng, (clips, first + frames, sites + 1, planes * width))
    symbols = rng.integers(0, none + 1, (clips, first + frames, sites + 1, planes)).astype(np.int32)
    around, a, b = (random_places(rng, places, sites, n) for _ in range(3))
    own = [ops.places(p) for p in (around, a, b)]
    wanted = windows_of(values, around, first, frames)
    equal = matches_of(symbols, a, b, first, frames, none)
    got = ops.windows(ops.array(values), own[0], first, frames)
    assert_array_equal(ops.numpy(got), wanted)
    got = ops.windows(ops.array(symbols), own[0], first, frames)
    assert_array_equal(ops.numpy(got), windows_of(symbols, around, first, frames))
    got = ops.matches(ops.array(symbols), own[1], own[2], first, frames, none)
    assert ops.numpy(got).dtype == np.int8
    assert_array_equal(ops.numpy(got), equal)
    assert (equal == ONE).any() and (equal == 0).any()
    for known in range(planes + 1):
        unknown = planes - known
        wanted_now, equal_now = wanted.copy(), equal.copy()
        wanted_now[..., places * planes * width - unknown * width :] = 0
        equal_now[..., places * planes - unknown :] = 0
        got = ops.inputs(ops.array(values), ops.array(symbols), *own, first, frames, none, known)
        assert_array_equal(ops.numpy(got), np.concatenate([wanted_now, equal_now], 3))


@pytest.mark.parametrize("pairs", [0, 3])
@pytest.mark.parametrize(("clips", "frames", "planes"), [(1, 1, 1), (3, 2, 4)])
def test_site_inputs(ops, rng, clips, frames, planes, pairs):
    sites, first, none, width = 5, 3, 5, 2
    values = at_hand(rng, (clips, first + frames, sites + 1, planes * width))
    symbols = rng.integers(0, none + 1, (clips, first + frames, sites + 1, planes)).astype(np.int32)
    window = random_places(rng, 4, sites, sites)
    a, b = (random_places(rng, pairs, sites, sites) for _ in range(2))
    position = at_hand(rng, (sites, 6))
    wanted = [
        windows_of(values, window, first, frames),
        np.broadcast_to(position, (clips, frames, sites, 6)),
        matches_of(symbols, a, b, first, frames, none),
    ]
    own = ops.array(values), ops.array(symbols), ops.places(window), ops.array(position)
    got = ops.site_inputs(*own, ops.places(a), ops.places(b), first, frames, none)
    assert ops.numpy(got).dtype == np.int8
    assert_array_equal(ops.numpy(got), np.concatenate(wanted, 3))


def test_no_places(ops, rng):
    nowhere = ops.places(random_places(rng, 0, 6, 4))
    symbols = ops.full((2, 4, 7, 3), 5, "int32")
    embedded = ops.full((2, 4, 7, 6), 1, "int8")
    assert ops.windows(symbols, nowhere, 3, 1).shape == (2, 1, 4, 0)
    assert ops.inputs(embedded, symbols, nowhere, nowhere, nowhere, 3, 1, 5, 1).shape[3] == 0


def test_put(ops, rng):
    table = at_hand(rng, (2, 10, 3))
    symbols = rng.integers(0, 10, (4, 5, 8, 2)).astype(np.int32)
    embedded = at_hand(rng, (4, 5, 8, 6))
    sites, found = np.array([6, 0, 3]), rng.integers(0, 10, 12).astype(np.int32)
    own = ops.array(symbols.copy()), ops.array(embedded.copy())
    ops.put(*own, ops.array(table), ops.array(found), ops.array(sites), 1, 4)
    symbols[:, 4, sites, 1] = found.reshape(4, 3)
    embedded[:, 4, sites, 3:] = table[1, found.reshape(4, 3)]
    assert_array_equal(ops.numpy(own[0]), symbols)
    assert_array_equal(ops.numpy(own[1]), embedded)


# Tables and lanes


def output_of(rng, symbols, bonuses, hidden=8, wanted=400):
    return random_layer(rng, symbols + bonuses, hidden, wanted=wanted, shift=20)


def scores_of(z, layer, candidates):
    y = requantised(sums_of(z, layer), layer, -SCORE_LIMIT, SCORE_LIMIT)
    symbols = y.shape[1] - candidates.shape[1]
    scores = y[:, :symbols].copy()
    for r, row in enumerate(candidates):
        for i, candidate in enumerate(row):
            if candidate < symbols:
                scores[r, candidate] += y[r, symbols + i]
    return scores


@pytest.mark.parametrize("wanted", [0, 400, 100_000])
@pytest.mark.parametrize(
    ("rows", "symbols", "bonuses"), [(1, 2, 1), (20, 2, 3), (9, 300, 14), (300, 1024, 2), (5, 7, 0)]
)
def test_scores_and_intervals(ops, rng, rows, symbols, bonuses, wanted):
    layer = output_of(rng, symbols, bonuses, wanted=wanted)
    z = at_hand(rng, (rows, 8))
    # Few numbers, so that several bonuses go to one candidate, and none to some.
    candidates = rng.choice([0, 1, symbols - 1, symbols], (rows, bonuses)).astype(np.int32)
    targets = rng.integers(0, symbols, rows).astype(np.int32)
    scores = scores_of(z, layer, candidates)
    own = ops.array(z), ops.layer(layer), ops.array(candidates)
    found = ops.numpy(ops.scores(*own))
    assert found.dtype == np.int32
    assert_array_equal(found, scores)
    cum, freq = (ops.numpy(part) for part in ops.intervals(*own, ops.array(targets)))
    assert cum.dtype == freq.dtype == np.int32
    wanted_cum, wanted_freq = intervals_from_scores(scores.astype(np.int32), targets)
    assert_array_equal(cum, wanted_cum)
    assert_array_equal(freq, wanted_freq)


@pytest.mark.parametrize("wanted", [0, 400, 100_000])
@pytest.mark.parametrize(("rows", "symbols", "bonuses"), [(1, 2, 1), (20, 300, 3), (70, 4096, 2)])
def test_priors(ops, rng, rows, symbols, bonuses, wanted):
    """By Python's integers, and within two steps of the logarithm they stand for."""
    layer, z = output_of(rng, symbols, bonuses, wanted=wanted), at_hand(rng, (rows, 8))
    candidates = rng.integers(0, symbols + 1, (rows, bonuses)).astype(np.int32)
    own = ops.array(z), ops.layer(layer), ops.array(candidates)
    with ops.running():
        found = ops.numpy(ops.priors(*own))
    assert found.dtype == np.int16
    scores = scores_of(z, layer, candidates)
    for row, steps in zip(scores.tolist(), found, strict=True):
        high = max(row)
        total = sum(int(EXP2[min(high - score, len(EXP2) - 1)]) for score in row)
        beyond = max(0, total.bit_length() - 10)
        log = int(LOG2_STEPS[total >> beyond]) + 64 * beyond - 24 * 64
        assert steps.tolist() == [min(high - score + log, MOST_STEPS) for score in row]
    share = 2.0 ** (scores / 64 - scores.max(1, keepdims=True) / 64)
    exact = -64 * np.log2(share / share.sum(1, keepdims=True))
    assert np.abs(np.minimum(exact, MOST_STEPS) - found).max() < 2


def one_score(symbols):
    """A layer of sums that are its bias: what a test wants as scores."""
    count = len(symbols)
    return Layer(
        "scores",
        np.zeros((count, 1), np.int8),
        np.asarray(symbols, np.int32),
        np.full(count, 2, np.int32),
        1,
    )


def test_tables_of_ties_and_extremes(ops):
    nothing = np.zeros((1, 0), np.int32)
    for scores in (
        [0, 0, 0, 0, 0, 0, 0],
        [5, 9, 9, 1, 9],
        [SCORE_LIMIT, -SCORE_LIMIT],
        [-SCORE_LIMIT, -SCORE_LIMIT, SCORE_LIMIT + 100, SCORE_LIMIT + 5],
        [0, 1600, 1599, 1601, 1602, 1],
    ):
        row = np.clip(scores, -SCORE_LIMIT, SCORE_LIMIT).astype(np.int32)[None]
        cdf = tables_from_scores(row)[0]
        for target in range(len(scores)):
            cum, freq = ops.intervals(
                ops.array(np.zeros((1, 1), np.int8)),
                ops.layer(one_score(scores)),
                ops.array(nothing),
                ops.array(np.array([target], np.int32)),
            )
            assert int(cum[0]) == cdf[target]
            assert int(freq[0]) == cdf[target + 1] - cdf[target]


class Lanes:
    """Lanes of random tokens under one layer's tables, coded by constriction."""

    def __init__(self, rng, lanes, steps, symbols, wanted=400):
        self.layer = output_of(rng, symbols, 2, wanted=wanted)
        self.z = at_hand(rng, (steps, lanes, 8))
        self.candidates = rng.integers(0, symbols + 1, (steps, lanes, 2)).astype(np.int32)
        self.tokens = rng.integers(0, symbols, (steps, lanes)).astype(np.int32)
        self.words = []
        for lane in range(lanes):
            scores = scores_of(self.z[:, lane], self.layer, self.candidates[:, lane])
            cum, freq = intervals_from_scores(scores.astype(np.int32), self.tokens[:, lane])
            self.words.append(encode_lane(cum.astype(np.int64), freq.astype(np.int64)))

    def decode(self, ops, words, order):
        """(tokens, exhausted): the lanes of every step in some order."""
        bounds = np.cumsum([0, *(len(w) for w in words)])
        layer, out = ops.layer(self.layer), np.empty_like(self.tokens)
        rows = rows_of_a_step(ops, order)
        with ops.running():
            lanes = ops.open_lanes(np.concatenate(words), bounds)
            for t in range(len(self.tokens)):
                z, candidates = self.z[t, order], self.candidates[t, order]
                found = ops.decode(ops.array(z), layer, ops.array(candidates), lanes, rows)
                assert ops.numpy(found).dtype == np.int32
                out[t, order] = ops.numpy(found)
            return out, ops.lanes_exhausted(lanes)


@pytest.mark.parametrize(("symbols", "wanted"), [(2, 400), (2, 100_000), (40, 400), (1024, 50)])
def test_lanes_decode_what_constriction_wrote(ops, rng, symbols, wanted):
    coded = Lanes(rng, 5, 60, symbols, wanted)
    found, exhausted = coded.decode(ops, coded.words, rng.permutation(5))
    assert_array_equal(found, coded.tokens)
    assert exhausted
    extra = [*coded.words[:4], np.append(coded.words[4], np.zeros(3, np.uint32))]
    assert not coded.decode(ops, extra, np.arange(5))[1]


def test_nonsense_decodes_to_the_same_nonsense_everywhere(ops, rng):
    """Flipped, missing, foreign and no words: no crash, and what numba makes of them."""
    coded, numba = Lanes(rng, 4, 60, 40), make("numba")
    flipped = [words.copy() for words in coded.words]
    for words in flipped:
        words[rng.integers(len(words))] ^= np.uint32(1 << int(rng.integers(32)))
    empty = [np.empty(0, np.uint32)] * 4
    random = [rng.integers(0, 2**32, 30, dtype=np.uint32) for _ in range(4)]
    ends = [np.full(30, value, np.uint32) for value in (0, 1, 2**31, 2**32 - 1)]
    shorter = [words[:-5] for words in coded.words]
    for words in (flipped, empty, random, ends, shorter, coded.words[::-1]):
        order = rng.permutation(4)
        found, exhausted = coded.decode(ops, words, order)
        wanted, wanted_exhausted = coded.decode(numba, words, order)
        assert_array_equal(found, wanted)
        assert exhausted == wanted_exhausted
        assert 0 <= found.min() <= found.max() < 40


def test_rows_that_share_a_lane_take_turns(ops, rng):
    """Three rows of two lanes: 0, 1, 0. As decoded, so are they if alone."""
    coded = Lanes(rng, 1, 30, 12)
    twice = np.concatenate(coded.words * 2)
    bounds = np.array([0, len(coded.words[0]), len(twice)])
    rows = rows_of_a_step(ops, [0, 1, 0])
    lanes, layer = ops.open_lanes(twice, bounds), ops.layer(coded.layer)
    place = [0, 0, 1]
    for _ in range(10):
        z, candidates = coded.z[place, 0], coded.candidates[place, 0]
        found = ops.numpy(ops.decode(ops.array(z), layer, ops.array(candidates), lanes, rows))
        assert_array_equal(found, coded.tokens[place, 0])
        place = [place[0] + 2, place[1] + 1, place[2] + 2]


def test_quantiles_near_their_borders():
    """The float64 estimate, corrected, against Python's integers."""
    torch = pytest.importorskip("torch")
    from tokenzip.integer.torch_lanes import _quantile

    rng = np.random.default_rng(4)
    scales = [2**8, 2**8 + 1, 2**40 - 1, 2**39 + 12345, *rng.integers(2**8, 2**40, 50).tolist()]
    for scale in scales:
        counts = [0, 1, 2, USABLE - 1, USABLE, USABLE + 1, *rng.integers(0, USABLE, 20).tolist()]
        offsets = [count * scale + d for count in counts for d in (-1, 0, 1, scale // 2)]
        offsets = [o for o in [*offsets, 2**64 - 1, 2**63, 2**63 - 1] if 0 <= o < 2**64]
        signed = torch.tensor([o - 2**64 if o >= 2**63 else o for o in offsets])
        found, valid = _quantile(signed, torch.full_like(signed, scale))
        for offset, quantile, good in zip(offsets, found.tolist(), valid.tolist(), strict=True):
            exact = offset // scale - 1
            assert good == (0 <= exact < USABLE)
            assert 0 <= quantile < USABLE
            assert quantile == exact or not good


# Backends


#: What numba may be told of the processor, and the form of products that this leaves possible.
FORMS = {
    "as found": ({}, None),
    "any processor": ({"NUMBA_CPU_NAME": "generic"}, "int16"),
    "no features": ({"NUMBA_CPU_FEATURES": ""}, "int16"),
    "no AVX": ({"NUMBA_ENABLE_AVX": "0"}, "int16"),
    "no compiler": ({"NUMBA_DISABLE_JIT": "1"}, "int16"),
}


def printed(code: str, settings: dict[str, str]) -> str:
    """What the code prints in a process of its own, with these environment variables."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("name", FORMS)
def test_products_of_either_form(name):
    """The forms in processes of their own, for numba compiles for one processor in each."""
    code = """
        import numpy as np
        from numba import njit
        from tokenzip.integer.gemm import pack, product, put_inputs, room
        put = njit(lambda row, first, values: put_inputs(row, first, values))
        rng = np.random.default_rng(0)
        shapes = [(rows, 3 + 7 * rows, 33) for rows in (*range(18), 33)]
        shapes += [(2, k, 70) for k in (0, 1, 2, 3, 4, 5, 62, 63)]
        shapes += [(17, 1100, 32), (1, 1, 1), (3, 8, 0)]
        for rows, inputs, outputs in shapes:
            for values in ((-128, 128), (127, 128), (-128, -127)):
                x = rng.integers(*values, (rows, inputs)).astype(np.int8)
                weight = rng.choice([-128, -127, 5, 127], (outputs, inputs)).astype(np.int8)
                weight[outputs // 2 :] = rng.choice([-128, 127])
                bias = rng.integers(-(2**30), 2**30, outputs).astype(np.int32)
                weights, biases = pack(weight, bias)
                wide, sums = room(rows, weights)
                for row, own in zip(wide, x):
                    put(row, inputs // 3, own[inputs // 3 :])
                    put(row, 0, own[: inputs // 3])
                product(wide, weights, biases, sums)
                found = sums[:, :outputs]
                assert (found == x.astype(int) @ weight.T.astype(int) + bias).all()
        print(weights.dtype)
    """
    settings, form = FORMS[name]
    assert form in (None, printed(code, settings))


@pytest.mark.parametrize("name", FORMS)
def test_requantisation_by_vectors_and_one_by_one(name):
    code = """
        import numpy as np
        from numba import njit
        from tokenzip.integer import requantise as module
        from tokenzip.integer.layers import Layer
        from tokenzip.integer.numba_layers import layer_arrays
        call = njit(lambda *arguments: module.requantise(*arguments))
        rng = np.random.default_rng(0)
        for shift in (1, 2, 12, 27, 31, 32, 33, 40):
            for most in (1, 2**15, 2**24, 2**31 - 1):
                for outputs in (1, 31, 32, 33, 70):
                    multiplier = rng.integers(0, most, outputs, endpoint=True).astype(np.int32)
                    multiplier[-1] = most
                    weight, bias = np.zeros((outputs, 1), np.int8), np.zeros(outputs, np.int32)
                    layer = layer_arrays(Layer("some", weight, bias, multiplier, shift))
                    fits = shift <= 32 and most << (32 - shift) < 2**31
                    assert layer.factor.size == (layer.bias.size if fits else 0)
                    sums = rng.integers(-(2**30), 2**30, layer.bias.size).astype(np.int32)
                    for extreme, place in ((2**31 - 1, 0), (-(2**31), -1), (1, 5), (-1, 6)):
                        if -len(sums) <= place < len(sums):
                            sums[place] = extreme
                    half = 1 << (shift - 1)
                    exact = [(int(s) * int(m) + half) >> shift for s, m in zip(sums, multiplier)]
                    for low, high in ((-8191, 8191), (0, 127), (-(2**31), 2**31 - 1)):
                        found = sums.copy()
                        call(found, layer, low, high)
                        wanted = np.clip(np.array(exact, object), low, high)
                        assert (found[:outputs] == wanted).all(), (shift, most, outputs)
        print(module._BY_VECTORS)
    """
    by_vectors = printed(code, FORMS[name][0])
    if name in ("any processor", "no features", "no compiler"):
        assert by_vectors == "False"


def test_the_form_for_bytes_is_used_where_it_can_be():
    from numba.core.registry import cpu_target

    from tokenzip.integer.gemm import pack

    features = cpu_target.target_context.codegen().magic_tuple()[2].split(",")
    by_fours = {"+avx512vnni", "+avx512bw"} <= set(features)
    weights, _ = pack(np.zeros((1, 1), np.int8), np.zeros(1, np.int32))
    assert weights.dtype == (np.int8 if by_fours else np.int16)


def test_an_instruction_that_llvm_does_not_know_is_not_used(monkeypatch):
    from tokenzip.integer import gemm

    monkeypatch.setattr(gemm, "_VPDPBUSD", "llvm.x86.avx512.nothing.512")
    assert gemm._form() is gemm._BY_PAIRS


def test_importing_the_package_of_operations_loads_no_backend():
    code = """
        import sys
        import tokenzip.integer
        assert not {"torch", "numba"} & set(sys.modules)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)


def test_backends_by_name():
    assert operations().name == operations("numba", "cpu").name == "numba"
    assert operations("auto", "cpu", threads=2).name == "numba"
    assert NAMES == ("auto", "numba", "torch")


def test_torch_by_name():
    torch = pytest.importorskip("torch")
    assert operations("torch").device == torch.device("cpu")
    assert operations("torch", torch.device("cpu")).name == "torch"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"backend": "tpu"}, "auto, numba, torch"),
        ({"backend": None}, "unknown"),
        ({"backend": "numba", "device": "cuda"}, "backend='torch'"),
        ({"backend": "torch", "device": "gpu"}, "knows no device"),
        ({"backend": "torch", "device": 1.5}, "device"),
        ({"backend": "torch", "device": "meta"}, "neither"),
        ({"backend": "torch", "device": "cuda:99"}, "no device 'cuda:99'"),
        ({"device": "cuda:99"}, "no device"),
        ({"threads": 0}, "threads"),
        ({"threads": "2"}, "threads"),
        ({"threads": True}, "threads"),
    ],
)
def test_wrong_backends_are_refused(arguments, message):
    if arguments.get("backend", "auto") != "numba" and "device" in arguments:
        pytest.importorskip("torch")
    with pytest.raises(OptionError, match=message):
        operations(**arguments)


def test_torch_that_is_not_there(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    for arguments in ({"backend": "torch"}, {"device": "cuda"}):
        with pytest.raises(MissingDependencyError, match=r"tokenzip\[torch\]"):
            operations(**arguments)
    assert operations().name == "numba"


def test_torch_is_left_as_it_was():
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    with make("torch-cpu").running():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


def test_an_inexact_int8_product_is_not_used(monkeypatch):
    """As torch 2.4 has it on CPUs without VNNI: sums of pairs saturate at 16 bits."""
    torch = pytest.importorskip("torch")
    from tokenzip.integer.torch_backend import Operations, int_mm_is_exact

    def saturating(a, b):
        products = (a.long() + 128)[:, :, None] * b.long()[None]
        pairs = products.reshape(len(a), -1, 2, b.shape[1]).sum(2).clamp(-(2**15), 2**15 - 1)
        return (pairs.sum(1) - 128 * b.long().sum(0)).int()

    monkeypatch.setattr(torch, "_int_mm", saturating)
    assert not int_mm_is_exact(torch.device("cpu"))
    monkeypatch.delattr(torch, "_int_mm")
    assert not int_mm_is_exact(torch.device("cpu"))
    rng = np.random.default_rng(0)
    layer, x = random_layer(rng, 20, 30), at_hand(rng, (4, 30))
    ops = Operations()
    assert_array_equal(ops.numpy(ops.linear(ops.array(x), ops.layer(layer))), sums_of(x, layer))


def test_float_stand_ins_are_exact_by_proof():
    torch = pytest.importorskip("torch")
    ops = make("torch-float")
    rng = np.random.default_rng(0)
    small, large = np.full((2, 1000), 127, np.int8), np.full((2, 1040), 127, np.int8)
    for weight, dtype in ((small, torch.float32), (large, torch.float64)):
        zeros = np.zeros(2, np.int32)
        assert ops.layer(Layer("some", weight, zeros, zeros, 1)).weight.dtype == dtype
    del rng

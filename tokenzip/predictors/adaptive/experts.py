"""Experts: every context votes for the symbols it has seen, with a weight that is learned.

A vote is a number of score steps, 1/64 bit each: log2(1 + c / (ALPHA * p)) for a symbol (or class)
counted c times whose probability was p so far. Weights depend on how much a context has seen and
are trained by Adagrad (Duchi, Hazan and Singer, 2011) on the sum of a block's gradients.
"""

from __future__ import annotations

import numpy as np

from tokenzip.coding.compiled import inner
from tokenzip.coding.logarithms import log2_steps
from tokenzip.coding.tables import MOST_STEPS

from .lists import fetch_symbols
from .logs import BASE_SHIFT, GAINS, LOG_STEPS, LOWEST_GAIN, gain, integer_sqrt
from .state import LENGTH, LEVELS, START, TABLE, TOTAL, WEIGHT_ONE

# Scores are summed with ten bits below the step; weights (16 bits) lose six for it.
SCORE_SHIFT = 10
WEIGHT_SHIFT = 6
MOST_WEIGHT = 4 * WEIGHT_ONE
# What keeps Adagrad's first steps small: the square of one nat in units of 2**-10 bit.
CALM = 1 << 21
# Rows that are fetched before they are scored.
FETCHED = 2
_ONE = np.int64(1)


@inner
def _level(total):  # type: ignore[no-untyped-def]
    """0 for no experience, then 1 + floor(1.5 * log2(total)), at most LEVELS - 1."""
    if total == 0:
        return np.int64(0)
    return min(np.int64(LEVELS - 1), _ONE + (np.int64(3) * log2_steps(total)) // np.int64(128))


@inner
def fetch_first(lists, rows):  # type: ignore[no-untyped-def]
    """Fetch the rows with which score_lists begins."""
    for r in range(min(FETCHED, rows.size)):
        fetch_symbols(lists, rows[r])


@inner
def _score_table(codes, base, weight, score, gains):  # type: ignore[no-untyped-def]
    # A plain loop without look-ups: numba vectorises it.
    for s in range(score.size):
        added = gain(codes[s], base[s])
        gains[s] = added
        score[s] += weight * added


@inner
def _score_array(pool, start, length, base, weight, score, said, n):  # type: ignore[no-untyped-def]
    for e in range(np.uint64(start), np.uint64(start + length)):
        entry = pool[e]
        symbol = entry >> np.uint32(16)
        steps = np.int64(LOG_STEPS[entry & np.uint32(0xFFFF)]) + np.int64(base[symbol])
        added = np.int32(GAINS[np.uint64(steps - LOWEST_GAIN)])
        said[np.uint64(n)] = (entry & np.uint32(0xFFFF0000)) | np.uint32(added)
        score[symbol] += weight * added
        n += 1
    return n


@inner
def score_lists(lists, experts, rows, plane, base, score, levels, begins, said, gains):  # type: ignore[no-untyped-def]
    """Add every row's evidence to `score`; remember who said what for the gradient.

    base int32 (A,): steps below certainty of each symbol, less log2 ALPHA, plus BASE_SHIFT. What a
    table says goes to its row of `gains`, int16 (R, A); what an array says, symbol << 16 and gain,
    to `said`, uint32 (n,), where its part begins at `begins`, int64 (R + 1,).
    """
    n = np.int64(0)
    for r in range(rows.size):
        if r + FETCHED < rows.size:
            fetch_symbols(lists, rows[r + FETCHED])
        row = rows[r]
        begins[r] = n
        level = plane * LEVELS + _level(lists.row[row, TOTAL])
        levels[r] = level
        weight = np.int32(experts.weight[r, level] >> WEIGHT_SHIFT)
        table = lists.row[row, TABLE]
        if table > 0:
            _score_table(lists.codes[table], base, weight, score, gains[r])
        else:
            start = np.int64(lists.row[row, START])
            n = _score_array(
                lists.pool, start, np.int64(lists.row[row, LENGTH]), base, weight, score, said, n
            )
    begins[rows.size] = n


@inner
def _expectation(freq, values):  # type: ignore[no-untyped-def]
    total = np.int64(0)
    for s in range(freq.size):
        total += np.int64(freq[s]) * np.int64(values[s])
    return total


@inner
def learn_lists(lists, experts, rows, levels, begins, said, gains, freq, x, places):  # type: ignore[no-untyped-def]
    """Add one symbol's gradient of every expert; note the place of x in each array.

    A place below 0 says that x is none of the array's first -1 - place entries.
    """
    for r in range(rows.size):
        if lists.row[rows[r], TABLE] > 0:
            expected = _expectation(freq, gains[r])
            add_gradient(experts, r, levels[r], np.int64(gains[r, x]), expected)
            continue
        expected = np.int64(0)
        place = np.int64(-1)
        for k in range(np.uint64(begins[r]), np.uint64(begins[r + 1])):
            symbol = said[k] >> np.uint32(16)
            expected += np.int64(freq[symbol]) * np.int64(said[k] & np.uint32(0xFFFF))
            if symbol == np.uint32(x):
                place = np.int64(k)
        truth = np.int64(0)
        if place >= 0:
            truth = np.int64(said[place] & np.uint32(0xFFFF))
            places[r] = place - begins[r]
        else:
            places[r] = begins[r] - begins[r + 1] - 1
        if begins[r + 1] > begins[r]:
            add_gradient(experts, r, levels[r], truth, expected)


@inner
def score_classes(counts, experts, rows, plane, mass, alpha, base, score, levels, growth):  # type: ignore[no-untyped-def]
    """Score every class by every context; growth int16 (R, K) is kept for the gradient."""
    score[:] = 0
    for k in range(mass.size):
        steps = np.int64(MOST_STEPS)
        if mass[k] > 0:
            steps = min(steps, np.int64(24 * 64) - log2_steps(mass[k]))
        base[k] = steps - alpha + BASE_SHIFT
    for r in range(rows.size):
        row = rows[r]
        level = _level(counts.table[row, mass.size])
        levels[r] = -1
        if level == 0:
            continue
        level += plane * LEVELS
        levels[r] = level
        weight = np.int32(experts.weight[r, level] >> WEIGHT_SHIFT)
        _score_table(counts.codes[row], base, weight, score, growth[r])


@inner
def learn_classes(experts, levels, growth, mass, truth):  # type: ignore[no-untyped-def]
    for r in range(levels.size):
        if levels[r] < 0:
            continue
        expected = _expectation(mass, growth[r])
        add_gradient(experts, r, levels[r], np.int64(growth[r, truth]), expected)


@inner
def add_gradient(experts, r, level, truth, expected):  # type: ignore[no-untyped-def]
    """d log p(x) / d weight = truth - expected, in steps; expected has 24 bits more."""
    gradient = ((truth << np.int64(24)) - expected) >> np.int64(16)
    experts.gradient[r, level] += gradient
    coarse = gradient >> np.int64(4)
    experts.energy[r, level] += coarse * coarse


@inner
def train(experts, rate, least, most):  # type: ignore[no-untyped-def]
    """Adagrad on every weight that this block touched, rounded to the nearest integer."""
    for r in range(experts.weight.shape[0]):
        for level in range(experts.weight.shape[1]):
            gradient = experts.gradient[r, level]
            if gradient != 0:
                root = integer_sqrt(experts.energy[r, level] + CALM)
                step = (2 * gradient * rate + root) // (2 * root)
                weight = experts.weight[r, level] + step
                experts.weight[r, level] = min(max(weight, np.int64(least)), np.int64(most))
                experts.gradient[r, level] = 0

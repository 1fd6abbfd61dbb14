"""Experts: every context votes for the symbols it has seen, with a weight that is learned.

A vote is a number of score steps, 1/64 bit each: log2(1 + c / (ALPHA * p)) for a symbol (or class)
counted c times whose probability was p so far. Weights depend on how much a context has seen and
are trained by Adagrad (Duchi, Hazan and Singer, 2011) on the sum of a block's gradients.
"""

from __future__ import annotations

import numpy as np

from tokenzip.coding.compiled import compiled

from .logs import LOG2_STEPS, LOG_ONE_PLUS, LOWEST_U, integer_sqrt, log2_steps
from .state import LENGTH, LEVELS, START, TOTAL, WEIGHT_ONE

# Scores are summed with ten bits below the step; weights (16 bits) lose six for it.
SCORE_SHIFT = 10
WEIGHT_SHIFT = 6
MOST_WEIGHT = 4 * WEIGHT_ONE
# No symbol's or class's probability counts as less than 2**-25.
MOST_STEPS = 25 * 64
# log2 of the prior's strength in counts of classes, in steps: 2.
CLASS_ALPHA = 1 * 64
# What keeps Adagrad's first steps small: the square of one nat in units of 2**-10 bit.
CALM = 1 << 21
# The learning rate 0.05 in units of 2**-12.
WEIGHT_RATE = 205
_ONE = np.int64(1)


@compiled
def _level(total):  # type: ignore[no-untyped-def]
    """0 for no experience, then 1 + floor(1.5 * log2(total)), at most LEVELS - 1."""
    if total == 0:
        return np.int64(0)
    return min(np.int64(LEVELS - 1), _ONE + (np.int64(3) * log2_steps(total)) // np.int64(128))


@compiled
def score_lists(lists, experts, rows, plane, base, score, levels, begins, said):  # type: ignore[no-untyped-def]
    """Add every list's evidence to `score`; remember who said what for the gradient.

    base int32 (A,): steps below certainty of each symbol, less log2 ALPHA and LOWEST_U. begins
    int64 (R + 1,): where a context's part of `said` begins, uint32 (n,), symbol << 16 and
    log2(1 + c / (ALPHA p)).
    """
    n = np.int64(0)
    for r in range(rows.size):
        row = rows[r]
        begins[r] = n
        level = plane * LEVELS + _level(lists.row[row, TOTAL])
        levels[r] = level
        weight = np.int32(experts.weight[r, level] >> WEIGHT_SHIFT)
        start = np.int64(lists.row[row, START])
        for e in range(start, start + np.int64(lists.row[row, LENGTH])):
            entry = lists.pool[e]
            symbol = entry >> np.uint32(16)
            u = np.int32(LOG2_STEPS[entry & np.uint32(0xFFFF)]) + base[symbol]
            gain = np.int32(LOG_ONE_PLUS[np.uint32(u)])
            said[n] = (entry & np.uint32(0xFFFF0000)) | np.uint32(gain)
            score[symbol] += weight * gain
            n += 1
    begins[rows.size] = n


@compiled
def learn_lists(experts, levels, begins, said, freq, x, places):  # type: ignore[no-untyped-def]
    """Add one symbol's gradient of every expert; note the place of x in each list.

    A place below 0 says that x is none of the list's first -1 - place entries.
    """
    for r in range(begins.size - 1):
        expected = np.int64(0)
        place = np.int64(-1)
        for k in range(begins[r], begins[r + 1]):
            symbol = said[k] >> np.uint32(16)
            expected += np.int64(freq[symbol]) * np.int64(said[k] & np.uint32(0xFFFF))
            if symbol == np.uint32(x):
                place = k
        truth = np.int64(0)
        if place >= 0:
            truth = np.int64(said[place] & np.uint32(0xFFFF))
            places[r] = place - begins[r]
        else:
            places[r] = begins[r] - begins[r + 1] - 1
        if begins[r + 1] > begins[r]:
            add_gradient(experts, r, levels[r], truth, expected)


@compiled
def score_classes(counts, experts, rows, plane, mass, score, levels, growth):  # type: ignore[no-untyped-def]
    """Score every class by every context; growth int16 (R, K) is kept for the gradient."""
    base = np.empty(mass.size, np.int32)
    for k in range(mass.size):
        steps = np.int64(MOST_STEPS)
        if mass[k] > 0:
            steps = min(steps, np.int64(24 * 64) - log2_steps(mass[k]))
        base[k] = steps - CLASS_ALPHA - LOWEST_U
        score[k] = 0
    for r in range(rows.size):
        row = rows[r]
        level = _level(counts.table[row, mass.size])
        levels[r] = -1
        if level == 0:
            continue
        level += plane * LEVELS
        levels[r] = level
        weight = np.int32(experts.weight[r, level] >> WEIGHT_SHIFT)
        for k in range(mass.size):
            count = counts.table[row, k]
            gain = np.int16(0)
            if count > 0:
                gain = LOG_ONE_PLUS[np.uint32(np.int32(LOG2_STEPS[count]) + base[k])]
            growth[r, k] = gain
            score[k] += weight * np.int32(gain)


@compiled
def learn_classes(experts, levels, growth, mass, truth):  # type: ignore[no-untyped-def]
    for r in range(levels.size):
        if levels[r] < 0:
            continue
        expected = np.int64(0)
        for k in range(mass.size):
            expected += mass[k] * np.int64(growth[r, k])
        add_gradient(experts, r, levels[r], np.int64(growth[r, truth]), expected)


@compiled
def add_gradient(experts, r, level, truth, expected):  # type: ignore[no-untyped-def]
    """d log p(x) / d weight = truth - expected, in steps; expected has 24 bits more."""
    gradient = ((truth << np.int64(24)) - expected) >> np.int64(16)
    experts.gradient[r, level] += gradient
    coarse = gradient >> np.int64(4)
    experts.energy[r, level] += coarse * coarse


@compiled
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

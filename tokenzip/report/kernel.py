"""The adaptive mixer's tables looked at, symbol by symbol: the encoder's loop with open eyes.

It calls the encoder's own functions (predictors/adaptive/kernel.py) in the encoder's order, so the
tables are those that a blob was coded with. It lives here and not there because the code of coders
must not change, nor be slowed down, for a report.
"""

from __future__ import annotations

import numpy as np

from ..coding.compiled import compiled
from ..coding.constants import PRECISION, USABLE
from ..coding.tables import frequencies_from_scores
from ..predictors.adaptive.kernel import (
    _block_end,
    _plain_steps,
    count_block,
    end_block,
    learn,
    predict,
)


@compiled
def look_at(table, x, freq, best, rank, entropy, i):  # type: ignore[no-untyped-def]
    """Write down entry i: of a table int32 (A,) the true symbol's count, the largest, and so on.

    rank is how many symbols have a larger count than x, entropy in bits.
    """
    own = np.int64(table[x])
    most = np.int64(0)
    larger = np.int64(0)
    total = 0.0
    for s in range(table.size):
        count = np.int64(table[s])
        most = max(most, count)
        if count > own:
            larger += 1
        total += count * np.log2(np.float64(count))
    freq[i] = own
    best[i] = most
    rank[i] = larger
    entropy[i] = np.log2(np.float64(USABLE)) - total / USABLE


@compiled
def trace_blocks(  # type: ignore[no-untyped-def]
    state, others, layout, scratch, block, team, symbols, begin, stop, priors, freq, best, rank,
    entropy,
):  # fmt: skip
    """As kernel.code_blocks when it encodes, writing what look_at does instead of intervals."""
    positions = layout.positions
    stop = min(stop, symbols.shape[0] * positions)
    first = begin
    while begin < stop:
        if not count_block(state, layout, block, symbols):
            return begin
        end = min(_block_end(layout, begin), symbols.shape[0] * positions)
        if priors.shape[0] == 0:
            _plain_steps(layout, state.shared.unigram, begin, end, scratch.plain)
        for i in range(begin, end):
            t = i // positions
            p = i % positions
            j = i - begin
            prior = scratch.plain[p % layout.planes]
            if priors.shape[0]:
                prior = priors[i - first]
            pattern = predict(state, layout, scratch, block, symbols, t, p, j, prior)
            x = np.int64(symbols[t, p])
            look_at(scratch.last_freq, x, freq, best, rank, entropy, i)
            learn(state, layout, scratch, block, t, p, j, x, pattern)
        end_block(state, others, block, team, begin, end)
        begin = end
    return begin


@compiled
def trace_scores(scores, targets, freq, best, rank, entropy):  # type: ignore[no-untyped-def]
    """The same of a network's scores int32 (n, A) and its true symbols int32 (n,)."""
    table = np.empty(scores.shape[1], np.int32)
    for i in range(scores.shape[0]):
        frequencies_from_scores(scores[i], table)
        look_at(table, np.int64(targets[i]), freq, best, rank, entropy, i)


#: The cost of a count: log2 of the coder's whole range over it. Two counts of it are guards.
FULL_BITS = PRECISION

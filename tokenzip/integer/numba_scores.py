"""Output layers: rows of scores, and the intervals, priors or decoded symbols that come of them."""

from __future__ import annotations

import numpy as np

from ..coding.compiled import compiled, inner
from ..coding.decoder import advance, give_up, peek
from ..coding.tables import cumulative, frequencies_from_scores, steps_from_scores, symbol_at
from . import SCORE_LIMIT
from .gemm import room
from .numba_layers import BLOCK, products, scaled


@inner
def _table(sums, multiplier, shift, candidates, scores, table):  # type: ignore[no-untyped-def]
    """The frequencies of one row: what encoder and decoder have in common."""
    _scores(sums, multiplier, shift, candidates, scores)
    frequencies_from_scores(scores, table)


@inner
def _scores(sums, multiplier, shift, candidates, scores):  # type: ignore[no-untyped-def]
    """The scores of one row from its sums: clipped, then bonuses to their candidates."""
    symbols = scores.size
    for s in range(symbols):
        y = scaled(sums[s], multiplier[s], shift)
        scores[s] = min(max(y, np.int64(-SCORE_LIMIT)), np.int64(SCORE_LIMIT))
    for i in range(candidates.size):
        if candidates[i] < symbols:
            y = scaled(sums[symbols + i], multiplier[symbols + i], shift)
            y = min(max(y, np.int64(-SCORE_LIMIT)), np.int64(SCORE_LIMIT))
            scores[candidates[i]] += np.int32(y)


@compiled
def interval_rows(z, weight, bias, multiplier, shift, candidates, targets, cum, freq):  # type: ignore[no-untyped-def]
    symbols = multiplier.size - candidates.shape[1]
    wide, sums = room(BLOCK, weight)
    scores = np.empty(symbols, np.int32)
    table = np.empty(symbols, np.int32)
    for start in range(0, z.shape[0], BLOCK):
        count = products(z, start, weight, bias, wide, sums)
        for r in range(start, start + count):
            _table(sums[r - start], multiplier, shift, candidates[r], scores, table)
            cum[r] = cumulative(table, np.int64(targets[r]))
            freq[r] = table[targets[r]]


@compiled
def score_rows(z, weight, bias, multiplier, shift, candidates, out):  # type: ignore[no-untyped-def]
    wide, sums = room(BLOCK, weight)
    for start in range(0, z.shape[0], BLOCK):
        count = products(z, start, weight, bias, wide, sums)
        for r in range(start, start + count):
            _scores(sums[r - start], multiplier, shift, candidates[r], out[r])


@compiled
def prior_rows(z, weight, bias, multiplier, shift, candidates, out):  # type: ignore[no-untyped-def]
    """out int16 (rows, symbols): steps below certainty of every symbol."""
    wide, sums = room(BLOCK, weight)
    scores = np.empty(out.shape[1], np.int32)
    for start in range(0, z.shape[0], BLOCK):
        count = products(z, start, weight, bias, wide, sums)
        for r in range(start, start + count):
            _scores(sums[r - start], multiplier, shift, candidates[r], scores)
            steps_from_scores(scores, out[r])


@compiled
def decode_alone(z, weight, bias, multiplier, shift, candidates, words, state, lanes, out):  # type: ignore[no-untyped-def]
    wide, sums = room(BLOCK, weight)
    scores = np.empty(multiplier.size - candidates.shape[1], np.int32)
    decode_rows(
        z, weight, bias, multiplier, shift, candidates, words, state, lanes, wide, sums, scores,
        np.empty_like(scores), out,
    )  # fmt: skip


@compiled
def decode_rows(  # type: ignore[no-untyped-def]
    z, weight, bias, multiplier, shift, candidates, words, state, lanes, wide, sums, scores,
    table, out,
):  # fmt: skip
    for start in range(0, z.shape[0], BLOCK):
        count = products(z, start, weight, bias, wide, sums)
        for r in range(start, start + count):
            _table(sums[r - start], multiplier, shift, candidates[r], scores, table)
            quantile = peek(state, lanes[r])
            if quantile < 0:
                # Words that no encoder wrote: any symbol will do.
                give_up(state, lanes[r])
                out[r] = 0
                continue
            symbol, low = symbol_at(table, quantile)
            advance(state, lanes[r], words, np.uint64(low), np.uint64(table[symbol]))
            out[r] = symbol

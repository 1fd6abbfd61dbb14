"""Output layers: rows of scores, and the intervals, priors or decoded symbols that come of them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..coding.compiled import borrowing, inner
from ..coding.decoder import advance, give_up, peek
from ..coding.tables import cumulative, frequencies_from_scores, steps_from_scores, symbol_at
from . import SCORE_LIMIT
from .numba_layers import BLOCK, LayerArrays, products, room_for, scaled


class TableRoom(NamedTuple):
    """Room for a block of rows, as of numba_layers.Room, and for one row's scores and table."""

    inputs: npt.NDArray[np.integer[Any]]
    sums: npt.NDArray[np.int32]
    scores: npt.NDArray[np.int32]
    table: npt.NDArray[np.int32]


def table_room(layer: LayerArrays, symbols: int) -> TableRoom:
    """Room for the tables of so many symbols that an output layer gives."""
    return TableRoom(*room_for(layer), np.empty(symbols, np.int32), np.empty(symbols, np.int32))


@inner
def _table(sums, layer, candidates, space):  # type: ignore[no-untyped-def]
    """The frequencies of one row: what encoder and decoder have in common."""
    _scores(sums, layer, candidates, space.scores)
    frequencies_from_scores(space.scores, space.table)


@inner
def _scores(sums, layer, candidates, scores):  # type: ignore[no-untyped-def]
    """The scores of one row from its sums: clipped, then bonuses to their candidates."""
    symbols = scores.size
    for s in range(symbols):
        y = scaled(sums[s], layer.multiplier[s], layer.shift)
        scores[s] = min(max(y, np.int64(-SCORE_LIMIT)), np.int64(SCORE_LIMIT))
    for i in range(candidates.size):
        if candidates[i] < symbols:
            y = scaled(sums[symbols + i], layer.multiplier[symbols + i], layer.shift)
            y = min(max(y, np.int64(-SCORE_LIMIT)), np.int64(SCORE_LIMIT))
            scores[candidates[i]] += np.int32(y)


@borrowing
def interval_rows(z, layer, candidates, targets, space, cum, freq):  # type: ignore[no-untyped-def]
    for start in range(0, z.shape[0], BLOCK):
        count = products(z, start, layer, space)
        for r in range(start, start + count):
            _table(space.sums[r - start], layer, candidates[r], space)
            cum[r] = cumulative(space.table, np.int64(targets[r]))
            freq[r] = space.table[targets[r]]


@borrowing
def score_rows(z, layer, candidates, space, out):  # type: ignore[no-untyped-def]
    for start in range(0, z.shape[0], BLOCK):
        count = products(z, start, layer, space)
        for r in range(start, start + count):
            _scores(space.sums[r - start], layer, candidates[r], out[r])


@borrowing
def prior_rows(z, layer, candidates, space, out):  # type: ignore[no-untyped-def]
    """out int16 (rows, symbols): steps below certainty of every symbol."""
    for start in range(0, z.shape[0], BLOCK):
        count = products(z, start, layer, space)
        for r in range(start, start + count):
            _scores(space.sums[r - start], layer, candidates[r], space.scores)
            steps_from_scores(space.scores, space.table, out[r])


@borrowing
def decode_rows(z, layer, candidates, words, state, lanes, space, out):  # type: ignore[no-untyped-def]
    for start in range(0, z.shape[0], BLOCK):
        count = products(z, start, layer, space)
        for r in range(start, start + count):
            _table(space.sums[r - start], layer, candidates[r], space)
            quantile = peek(state, lanes[r])
            if quantile < 0:
                # Words that no encoder wrote: any symbol will do.
                give_up(state, lanes[r])
                out[r] = 0
                continue
            symbol, low = symbol_at(space.table, quantile)
            advance(state, lanes[r], words, np.uint64(low), np.uint64(space.table[symbol]))
            out[r] = symbol

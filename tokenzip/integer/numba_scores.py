"""Output layers: rows of scores, and the intervals, priors or decoded symbols that come of them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..coding.compiled import borrowing, inner
from ..coding.decoder import advance, give_up, peek
from ..coding.tables import interval_of, steps_from_scores, symbol_of
from . import SCORE_LIMIT
from .numba_layers import BLOCK, LayerArrays, copy_row, products, room_for
from .requantise import requantise


class TableRoom(NamedTuple):
    """Room for a block of rows, as of numba_layers.Room, and for one row of scores' weights."""

    inputs: npt.NDArray[np.integer[Any]]
    sums: npt.NDArray[np.int32]
    weights: npt.NDArray[np.int32]


def table_room(layer: LayerArrays, symbols: int) -> TableRoom:
    """Room for the tables of so many symbols that an output layer gives."""
    return TableRoom(*room_for(layer), np.empty(symbols, np.int32))


@inner
def _score(sums, layer, candidates):  # type: ignore[no-untyped-def]
    """A row of sums becomes scores: clipped, then bonuses, which stay behind them, added."""
    requantise(sums, layer, -SCORE_LIMIT, SCORE_LIMIT)
    symbols = layer.multiplier.size - candidates.size
    for i in range(candidates.size):
        if candidates[i] < symbols:
            sums[np.uint32(candidates[i])] += sums[symbols + i]


@borrowing
def interval_rows(z, layer, candidates, targets, space, cum, freq):  # type: ignore[no-untyped-def]
    for start in range(0, z.shape[0], BLOCK):
        count = products(z, start, layer, space)
        for r in range(start, start + count):
            scores = space.sums[r - start]
            _score(scores, layer, candidates[r])
            scores = scores[: space.weights.size]
            cum[r], freq[r] = interval_of(scores, space.weights, np.int64(targets[r]))


@borrowing
def score_rows(z, layer, candidates, space, out):  # type: ignore[no-untyped-def]
    for start in range(0, z.shape[0], BLOCK):
        count = products(z, start, layer, space)
        for r in range(start, start + count):
            scores = space.sums[r - start]
            _score(scores, layer, candidates[r])
            copy_row(scores[: out.shape[1]], out[r])


@borrowing
def prior_rows(z, layer, candidates, space, out):  # type: ignore[no-untyped-def]
    """out int16 (rows, symbols): steps below certainty of every symbol."""
    for start in range(0, z.shape[0], BLOCK):
        count = products(z, start, layer, space)
        for r in range(start, start + count):
            scores = space.sums[r - start]
            _score(scores, layer, candidates[r])
            steps_from_scores(scores[: out.shape[1]], space.weights, out[r])


@borrowing
def decode_rows(z, layer, candidates, words, state, lanes, space, out):  # type: ignore[no-untyped-def]
    for start in range(0, z.shape[0], BLOCK):
        count = products(z, start, layer, space)
        for r in range(start, start + count):
            scores = space.sums[r - start]
            _score(scores, layer, candidates[r])
            quantile = peek(state, lanes[r])
            if quantile < 0:
                # Words that no encoder wrote: any symbol will do.
                give_up(state, lanes[r])
                out[r] = 0
                continue
            scores = scores[: space.weights.size]
            symbol, low, share = symbol_of(scores, space.weights, quantile)
            advance(state, lanes[r], words, np.uint64(low), np.uint64(share))
            out[r] = symbol

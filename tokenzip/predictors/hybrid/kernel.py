"""Decoding with network and mixer: the one step where the two meet, in numba.

The state of the mixer changes between frames only: within a frame it may be asked in the order of
wavefronts, in which a network decodes, or in raster order, in which the encoder asks it.
"""

from __future__ import annotations

import numpy as np

from tokenzip.coding.compiled import compiled
from tokenzip.coding.decoder import advance, peek
from tokenzip.coding.tables import symbol_at
from tokenzip.integer.numba_gather import put
from tokenzip.integer.numba_head import head_inputs, head_room, step_rows
from tokenzip.integer.numba_scores import prior_rows

from ..adaptive.kernel import end_block, learn, predict


@compiled
def decode_rows(mixer, layout, scratch, block, coded, t, priors, places, words, lanes, rows, found):  # type: ignore[no-untyped-def]
    """Decode one symbol for each of some places of frame t, by their priors.

    coded uint16 (T, positions): what is known of the chunk, written at places int64 (n,). priors
    int16 (n, A). rows int32 (n,): the lane of each. found int32 (n,): the symbols. False: the words
    cannot come from an encoder.
    """
    for i in range(places.size):
        p = places[i]
        pattern = predict(mixer, layout, scratch, block, coded, t, p, p, priors[i])
        quantile = peek(lanes, rows[i])
        if quantile < 0:
            return False
        x, below = symbol_at(scratch.last_freq, quantile)
        advance(lanes, rows[i], words, np.uint64(below), np.uint64(scratch.last_freq[x]))
        coded[t, p] = x
        found[i] = x
        learn(mixer, layout, scratch, block, t, p, p, x, pattern)
    return True


@compiled
def decode_frame(  # type: ignore[no-untyped-def]
    head, symbols, embedded, base, mixer, layout, scratch, block, coded, t, words, lanes, rows
):
    """integer/head.decode_by_steps for one clip, with the mixer between scores and lanes.

    rows int32 (1, S): the lane of every site, in the order of wavefronts.
    """
    planes, frame, output = base.shape[1], symbols.shape[1] - 1, head.output
    space = head_room(head, 1, head_inputs(head, embedded, planes))
    all_found = np.empty(len(space.z), np.int32)
    all_priors = np.empty((len(space.z), layout.alphabet), np.int16)
    for step in range(head.starts.size - 1):
        start, stop = head.starts[step], head.starts[step + 1]
        sites = head.sites[start:stop]
        found, priors = all_found[: sites.size], all_priors[: sites.size]
        for plane in range(planes):
            z, candidates = step_rows(head, symbols, embedded, base, step, plane, space)
            prior_rows(
                z, output.weight[plane], output.bias[plane], output.multiplier[plane],
                output.shift[plane], candidates, priors,
            )  # fmt: skip
            places = sites.astype(np.int64) * np.int64(planes) + np.int64(plane)
            if not decode_rows(
                mixer, layout, scratch, block, coded, t, priors, places, words, lanes,
                rows[0, start:stop], found,
            ):  # fmt: skip
                return False
            put(symbols, embedded, head.table, found, sites, plane, frame)
    end_block(mixer, block, t * layout.positions, (t + 1) * layout.positions)
    return True

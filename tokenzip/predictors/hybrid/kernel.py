"""Decoding with network and mixer: the one step where the two meet, in numba.

The state of the mixer changes between frames only: within a frame it may be asked in the order of
wavefronts, in which a network decodes, or in raster order, in which the encoder asks it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tokenzip.coding.compiled import borrowing
from tokenzip.coding.decoder import advance, peek
from tokenzip.coding.tables import symbol_at
from tokenzip.integer.numba_gather import put
from tokenzip.integer.numba_head import HeadArrays, HeadRoom, head_room, step_rows
from tokenzip.integer.numba_layers import of_plane
from tokenzip.integer.numba_scores import prior_rows

from ..adaptive.kernel import end_block, learn, predict


@borrowing
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


class StepRoom(NamedTuple):
    """Room for a step of `decode_frame`: the head's, and priors and places of its sites."""

    head: HeadRoom
    priors: npt.NDArray[np.int16]
    places: npt.NDArray[np.int64]


def step_room(head: HeadArrays) -> StepRoom:
    """Room for decoding frames of one clip."""
    of_head = head_room(head, 1)
    symbols, most = len(of_head.output.weights), len(of_head.found)
    return StepRoom(of_head, np.empty((most, symbols), np.int16), np.empty(most, np.int64))


@borrowing
def decode_frame(  # type: ignore[no-untyped-def]
    head, symbols, embedded, base, mixer, layout, scratch, block, coded, t, words, lanes, rows,
    space,
):  # fmt: skip
    """integer/head.decode_by_steps for one clip, with the mixer between scores and lanes.

    rows int32 (1, S): the lane of every site, in the order of wavefronts.
    """
    planes, frame = base.shape[0], symbols.shape[1] - 1
    for step in range(head.starts.size - 1):
        start, stop = head.starts[step], head.starts[step + 1]
        sites = head.sites[start:stop]
        z, candidates = space.head.z[: sites.size], space.head.candidates[: sites.size]
        found, priors = space.head.found[: sites.size], space.priors[: sites.size]
        places = space.places[: sites.size]
        for plane in range(planes):
            step_rows(head, symbols, embedded, base, step, plane, space.head)
            prior_rows(z, of_plane(head.output, plane), candidates, space.head.output, priors)
            for i in range(sites.size):
                places[i] = np.int64(sites[i]) * np.int64(planes) + np.int64(plane)
            if not decode_rows(
                mixer, layout, scratch, block, coded, t, priors, places, words, lanes,
                rows[0, start:stop], found,
            ):  # fmt: skip
                return False
            put(symbols, embedded, head.table, found, sites, plane, frame)
    end_block(mixer, block, t * layout.positions, (t + 1) * layout.positions)
    return True

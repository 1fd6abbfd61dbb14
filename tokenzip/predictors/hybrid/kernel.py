"""Decoding with network and mixer: the one step where the two meet, in numba.

The state of the mixer changes between frames only: within a frame it may be asked in the order of
wavefronts, in which a network decodes, or in raster order, in which the encoder asks it.
"""

from __future__ import annotations

import numpy as np

from tokenzip.coding.compiled import borrowing, inner
from tokenzip.coding.team import all_done
from tokenzip.integer.numba_frames import begin_frame, move_on
from tokenzip.integer.numba_gather import put
from tokenzip.integer.numba_head import step_rows
from tokenzip.integer.numba_layers import copy_row, of_plane
from tokenzip.integer.numba_scores import prior_rows

from ..adaptive.kernel import code_symbols, count_block, end_block, open_symbols, tell_block


@borrowing
def decode_symbols(state, others, layout, scratch, block, job, begin, first, last):  # type: ignore[no-untyped-def]
    """Decode symbols `first` to `last` of the block that begins with `begin`, by their priors.

    They are numbered in the job's order. False: the words cannot come from an encoder.
    """
    tell_block(job.team, begin)
    open_symbols(job.team, first, last, job.lanes.shape[0], first)
    code_symbols(state, layout, scratch, block, job, 0)
    return all_done(job.team)


@inner
def _decode_frame(  # type: ignore[no-untyped-def]
    head, symbols, embedded, base, state, others, layout, scratch, block, job, begin, space
):
    """integer/head.decode_by_steps for one clip, with the mixer between scores and lanes.

    False: the words cannot come from an encoder.
    """
    planes, frame = base.shape[0], symbols.shape[1] - 1
    at = begin
    for step in range(head.starts.size - 1):
        sites = head.sites[head.starts[step] : head.starts[step + 1]]
        z, candidates = space.z[: sites.size], space.candidates[: sites.size]
        found = space.found[: sites.size]
        for plane in range(planes):
            step_rows(head, symbols, embedded, base, step, plane, space)
            output = of_plane(head.output, plane)
            prior_rows(z, output, candidates, space.output, job.priors[: sites.size])
            last = at + sites.size
            if not decode_symbols(state, others, layout, scratch, block, job, begin, at, last):
                return False
            for i in range(sites.size):
                position = job.order[at - begin + i]
                found[i] = job.symbols[begin // layout.positions, position]
            put(symbols, embedded, head.table, found, sites, plane, frame)
            at = last
    end_block(state, others, block, job.team, begin, at)
    return True


@borrowing
def decode_frames(  # type: ignore[no-untyped-def]
    frame, symbols, embedded, of_body, state, others, layout, scratch, block, job, begin, stop,
    space, features,
):  # fmt: skip
    """Decode frames of a clip from symbol `begin` on, until `stop` or a pool is full.

    symbols, embedded and of_body, the body's state: of the frames before, and afterwards of the
    last ones. job: in the order of wavefronts and their planes, with priors for a step's sites.
    features int8 (n, S, F): what the body gave for frame t goes to row t modulo n. Returns, as
    kernel.code_blocks does, the index of the next symbol to code or -1.
    """
    while begin < stop:
        if not count_block(state, layout, block, job.symbols):
            return begin
        begin_frame(frame, symbols, embedded, of_body, space)
        if not _decode_frame(
            frame.head, symbols, embedded, space.base, state, others, layout, scratch, block, job,
            begin, space.head,
        ):  # fmt: skip
            return np.int64(-1)
        kept = features[begin // layout.positions % features.shape[0]]
        for s in range(kept.shape[0]):
            copy_row(space.body.features[s], kept[s])
        move_on(frame.head.table, symbols, embedded)
        begin += layout.positions
    return begin

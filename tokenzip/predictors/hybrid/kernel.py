"""Decoding with network and mixer: the one step where the two meet, in numba.

The state of the mixer changes between frames only: within a frame it may be asked in the order of
wavefronts, in which a network decodes, or in raster order, in which the encoder asks it.
"""

from __future__ import annotations

import numpy as np

from tokenzip.coding.compiled import borrowing
from tokenzip.coding.team import all_done
from tokenzip.integer.numba_gather import put
from tokenzip.integer.numba_head import step_rows
from tokenzip.integer.numba_layers import of_plane
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


@borrowing
def decode_frame(  # type: ignore[no-untyped-def]
    head, symbols, embedded, base, state, others, layout, scratch, block, job, t, space
):
    """integer/head.decode_by_steps for one clip, with the mixer between scores and lanes.

    job: of the chunk, in the order of wavefronts and their planes, with priors for a step's sites.
    Returns, as kernel.code_blocks does, the index of the next symbol to code or -1.
    """
    planes, frame = base.shape[0], symbols.shape[1] - 1
    begin = t * layout.positions
    if not count_block(state, layout, block, job.symbols):
        return begin
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
                return np.int64(-1)
            for i in range(sites.size):
                found[i] = job.symbols[t, job.order[at - begin + i]]
            put(symbols, embedded, head.table, found, sites, plane, frame)
            at = last
    end_block(state, others, block, job.team, begin, at)
    return at

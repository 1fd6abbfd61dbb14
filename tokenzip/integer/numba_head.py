"""The head of a network (head.py), decoded in one loop."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..coding.compiled import borrowing, inner
from .head import Head
from .numba_gather import gather_candidates, gather_inputs, put
from .numba_layers import (
    BLOCK,
    LayerArrays,
    Room,
    add_row,
    dense_row,
    layer_arrays,
    of_plane,
    products,
    room_for,
    stacked,
)
from .numba_scores import TableRoom, decode_rows, table_room

Int8 = npt.NDArray[np.int8]
Int32 = npt.NDArray[np.int32]


class HeadArrays(NamedTuple):
    """A head (head.py) as compiled functions take it; layers have an axis of planes in front.

    a, b: pairs as gather_matches takes them.
    """

    table: Int8
    sites: Int32
    starts: npt.NDArray[np.int64]
    around: npt.NDArray[np.int64]
    a: npt.NDArray[np.int64]
    b: npt.NDArray[np.int64]
    candidates: npt.NDArray[np.int64]
    hidden: LayerArrays
    output: LayerArrays


def head_arrays(head: Head) -> HeadArrays:
    """A head in arrays."""
    hidden, output = (
        stacked([layer_arrays(layer) for layer in layers]) for layers in (head.hidden, head.output)
    )
    seen = (head.around, *head.pairs, head.candidates)
    around, a, b, candidates = (places.rows() for places in seen)
    a, b = a * len(head.table), b * len(head.table)
    return HeadArrays(head.table, head.sites, head.starts, around, a, b, candidates, hidden, output)


class HeadRoom(NamedTuple):
    """Room for the rows of one step of a head, kept from step to step; base: rows of the base."""

    x: Int8
    base: npt.NDArray[np.int64]
    z: Int8
    candidates: Int32
    found: Int32
    lanes: Int32
    hidden: Room
    output: TableRoom


def head_room(head: HeadArrays, clips: int) -> HeadRoom:
    """Room for the step of most sites, of so many clips."""
    most = clips * int(np.diff(head.starts).max(initial=0))
    planes, outputs = head.output.multiplier.shape
    hidden, places = head.hidden.multiplier.shape[1], head.candidates.shape[1]
    width = planes * head.table.shape[2]
    inputs = head.around.shape[1] * width + head.a.shape[1] * planes
    return HeadRoom(
        x=np.empty((most, inputs), np.int8),
        base=np.empty(most, np.int64),
        z=np.empty((most, hidden), np.int8),
        candidates=np.empty((most, places), np.int32),
        found=np.empty(most, np.int32),
        lanes=np.empty(most, np.int32),
        hidden=room_for(head.hidden),
        output=table_room(head.output, outputs - places),
    )


@inner
def step_rows(head, symbols, embedded, base, step, plane, space):  # type: ignore[no-untyped-def]
    """What the output layer of a plane sees at a step's sites of all clips, by rows.

    symbols int32 (N, F, S + 1, P), embedded int8 and base int32 (P, N, S, hidden), of the last
    frame -> z int8 (rows, hidden) and candidates int32 (rows, C), the first ones in `space`.
    """
    planes, clips, sites, width = base.shape
    frame, hidden = symbols.shape[1] - 1, of_plane(head.hidden, plane)
    start, stop = head.starts[step], head.starts[step + 1]
    count = stop - start
    rows = clips * count
    x, bases = space.x[:rows], base[plane].reshape(clips * sites, width)
    # Of the site itself, the planes before this one.
    known = plane if planes > 1 else 1
    gather_inputs(
        embedded, symbols, head.around[start:stop], head.a[start:stop], head.b[start:stop],
        frame, head.table.shape[1] - 1, known, x.reshape(clips, 1, count, x.shape[1]),
    )  # fmt: skip
    for n in range(clips):
        for i in range(count):
            space.base[n * count + i] = n * sites + head.sites[start + i]
    for first in range(0, rows, BLOCK):
        for r in range(products(x, first, hidden, space.hidden)):
            add_row(space.hidden.sums[r], bases[space.base[first + r]])
            dense_row(space.hidden.sums[r], hidden, 0, space.z[first + r])
    gather_candidates(symbols, head.candidates[start:stop], plane, space.candidates[:rows])


@borrowing
def decode_steps(head, symbols, embedded, base, words, state, lanes, space):  # type: ignore[no-untyped-def]
    """head.decode_by_steps, for all clips here: their rows share each product."""
    clips, planes, frame = symbols.shape[0], base.shape[0], symbols.shape[1] - 1
    for step in range(head.starts.size - 1):
        start, stop = head.starts[step], head.starts[step + 1]
        count = stop - start
        rows = clips * count
        z, candidates = space.z[:rows], space.candidates[:rows]
        found, of_lanes = space.found[:rows], space.lanes[:rows]
        for n in range(clips):
            for i in range(count):
                of_lanes[n * count + i] = lanes[n, start + i]
        for plane in range(planes):
            step_rows(head, symbols, embedded, base, step, plane, space)
            output = of_plane(head.output, plane)
            decode_rows(z, output, candidates, words, state, of_lanes, space.output, found)
            put(symbols, embedded, head.table, found, head.sites[start:stop], plane, frame)

"""Frames decoded one after another in one loop: body, head, and on to the next frame.

It gives what predictors/network/batch.py does frame by frame in terms of operations; a frame of a
small network takes less time than the calls that those are.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..coding.compiled import borrowing, inner
from .numba_bodies import body_room, run_body
from .numba_gather import gather_site_inputs
from .numba_head import HeadArrays, HeadRoom, decode_steps, head_room
from .numba_layers import LayerArrays, Room, copy_row, linear_rows, of_plane, room_for

Int8 = npt.NDArray[np.int8]
Int32 = npt.NDArray[np.int32]
Rows = npt.NDArray[np.int64]


class FrameArrays(NamedTuple):
    """What decodes frames, as compiled functions take it.

    window, position, a, b: as gather_site_inputs takes them. body: of numba_bodies. base: the share
    of the body in the head's hidden layers, stacked. site_bias: int32 (planes, S, hidden), which
    comes to it.
    """

    window: Rows
    position: Int8
    a: Rows
    b: Rows
    body: Any
    base: LayerArrays
    site_bias: Int32
    head: HeadArrays


class FrameRoom(NamedTuple):
    """Room for a frame; base int32 (planes, N, S, hidden)."""

    x: Int8
    base: Int32
    body: Any
    linear: Room
    head: HeadRoom


def frame_room(frame: FrameArrays, clips: int) -> FrameRoom:
    """Room for a frame of so many clips."""
    planes, sites, hidden = frame.site_bias.shape
    width = planes * frame.head.table.shape[2]
    inputs = frame.window.shape[1] * width + frame.position.shape[1] + frame.a.shape[1] * planes
    return FrameRoom(
        x=np.empty((clips, 1, sites, inputs), np.int8),
        base=np.empty((planes, clips, sites, hidden), np.int32),
        body=body_room(frame.body, clips, sites),
        linear=room_for(frame.base),
        head=head_room(frame.head, clips),
    )


@borrowing
def decode_frames(frame, symbols, embedded, state, words, lane_state, lanes, space, found):  # type: ignore[no-untyped-def]
    """Frames of some clips, into found int32 (N, frames, S, P).

    symbols, embedded and state: of the frames before, and afterwards of the last ones.
    """
    sites, last = found.shape[2], symbols.shape[1] - 1
    for t in range(found.shape[1]):
        begin_frame(frame, symbols, embedded, state, space)
        decode_steps(
            frame.head, symbols, embedded, space.base, words, lane_state, lanes, space.head
        )
        for n in range(len(found)):
            for s in range(sites):
                for plane in range(found.shape[3]):
                    found[n, t, s, plane] = symbols[n, last, s, plane]
        move_on(frame.head.table, symbols, embedded)


@inner
def begin_frame(frame, symbols, embedded, state, space):  # type: ignore[no-untyped-def]
    """The body's part of a frame: space.body.features, space.base, and the state after it."""
    last, none = symbols.shape[1] - 1, frame.head.table.shape[1] - 1
    features = space.body.features
    rows = features.shape[0]
    gather_site_inputs(
        embedded, symbols, frame.window, frame.position, frame.a, frame.b, last, none, space.x
    )
    run_body(frame.body, space.x.reshape(rows, space.x.shape[3]), state, space.body)
    for plane in range(space.base.shape[0]):
        base = space.base[plane].reshape(rows, space.base.shape[3])
        linear_rows(
            features, of_plane(frame.base, plane), frame.site_bias[plane], 0, space.linear, base
        )


@inner
def move_on(table, symbols, embedded):  # type: ignore[no-untyped-def]
    """The same frames less the first, with nothing behind them: where the next is decoded."""
    clips, frames, of_frame, planes = symbols.shape
    none, width = table.shape[1] - 1, table.shape[2]
    for n in range(clips):
        for t in range(1, frames):
            copy_row(symbols[n, t].reshape(-1), symbols[n, t - 1].reshape(-1))
            copy_row(embedded[n, t].reshape(-1), embedded[n, t - 1].reshape(-1))
        for s in range(of_frame):
            for plane in range(planes):
                symbols[n, frames - 1, s, plane] = none
                nothing = table[plane, none]
                for e in range(width):
                    embedded[n, frames - 1, s, plane * width + e] = nothing[e]

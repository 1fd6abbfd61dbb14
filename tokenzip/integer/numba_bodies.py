"""The bodies of networks, one frame at a time: what predictors/network/body.py means, in one go.

Whatever a layer sees is written where its product reads it, and states are shifted where they lie.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba.extending import overload

from ..coding.compiled import inner
from . import LARGEST
from .gemm import put_inputs
from .numba_layers import (
    BLOCK,
    LayerArrays,
    Room,
    copy_row,
    dense_row,
    gate_row,
    lstm_rows,
    multiply,
    room_for,
)

Int8 = npt.NDArray[np.int8]
Int32 = npt.NDArray[np.int32]


class LstmArrays(NamedTuple):
    """An LSTM as compiled functions take it."""

    lstm: LayerArrays
    sigmoid: Int32
    tanh: Int32


class Conv3dArrays(NamedTuple):
    """A factorised convolution as compiled functions take it.

    near, far: int64, the frames back that either layer in time sees, 0 first. around: Places.rows.
    """

    window: LayerArrays
    time_near: LayerArrays
    squeeze: LayerArrays
    space: LayerArrays
    time_far: LayerArrays
    near: npt.NDArray[np.int64]
    far: npt.NDArray[np.int64]
    around: npt.NDArray[np.int64]
    sigmoid: Int32
    tanh: Int32


def body_arrays(parts: dict[str, Any]) -> LstmArrays | Conv3dArrays:
    """A body in arrays, of its layers, places and tables by name."""
    return (LstmArrays if "lstm" in parts else Conv3dArrays)(**parts)


class LstmRoom(NamedTuple):
    """Room for a frame of an LSTM; features (N * S, outputs) are what the body gives."""

    features: Int8
    lstm: Room


class Conv3dRoom(NamedTuple):
    """The same of a convolution.

    clip, site: int64 (N * S,), of every row. squeezed (N, S + 1, channels): the last row of a clip
    stands for the sites outside.
    """

    features: Int8
    clip: npt.NDArray[np.int64]
    site: npt.NDArray[np.int64]
    window: Room
    time_near: Room
    squeeze: Room
    space: Room
    time_far: Room
    squeezed: Int8


def body_room(body: LstmArrays | Conv3dArrays, clips: int, sites: int) -> LstmRoom | Conv3dRoom:
    """Room for a frame of so many clips."""
    rows = clips * sites
    if isinstance(body, LstmArrays):
        width = len(body.lstm.multiplier) // 4
        return LstmRoom(np.empty((rows, width), np.int8), room_for(body.lstm))
    clip, site = np.divmod(np.arange(rows, dtype=np.int64), sites)
    return Conv3dRoom(
        features=np.empty((rows, 2 * len(body.window.multiplier)), np.int8),
        clip=clip,
        site=site,
        window=room_for(body.window),
        time_near=room_for(body.time_near),
        squeeze=room_for(body.squeeze),
        space=room_for(body.space),
        time_far=room_for(body.time_far),
        squeezed=np.zeros((clips, sites + 1, len(body.squeeze.multiplier)), np.int8),
    )


@inner
def _lstm_frame(body, x, state, space):  # type: ignore[no-untyped-def]
    rows, inputs = x.shape
    h, c = state
    lstm_rows(
        x.reshape(1, rows, inputs), body.lstm, body.sigmoid, body.tanh, h, c, space.lstm,
        space.features.reshape(1, rows, h.shape[1]), 0, rows,
    )  # fmt: skip


@inner
def _conv3d_frame(body, x, state, space):  # type: ignore[no-untyped-def]
    """Features are a, b, c and d, one behind another."""
    (near, far), out = state, space.features
    rows, channels = x.shape[0], near.shape[3]
    for start in range(0, rows, BLOCK):
        count = min(BLOCK, rows - start)
        for r in range(count):
            put_inputs(space.window.inputs[r], 0, x[start + r])
        _gated(body.window, body, start, count, space.window, out, 0)
        _put_times(body.near, near, start, count, space, space.time_near, out, 0)
        _gated(body.time_near, body, start, count, space.time_near, out, channels)
        for r in range(count):
            put_inputs(space.squeeze.inputs[r], 0, out[start + r, channels : 2 * channels])
        multiply(body.squeeze, count, space.squeeze)
        for r in range(count):
            target = space.squeezed[space.clip[start + r], space.site[start + r]]
            dense_row(space.squeeze.sums[r], body.squeeze, -LARGEST, target)
    for start in range(0, rows, BLOCK):
        count = min(BLOCK, rows - start)
        for r in range(count):
            clip, site, inputs, at = (
                space.clip[start + r], space.site[start + r], space.space.inputs[r], channels
            )  # fmt: skip
            put_inputs(inputs, 0, out[start + r, channels : 2 * channels])
            of_clip, around = space.squeezed[clip], body.around[site]
            for p in range(around.size):
                put_inputs(inputs, at, of_clip[np.uint64(around[p])])
                at += of_clip.shape[1]
        _gated(body.space, body, start, count, space.space, out, 2 * channels)
        _put_times(body.far, far, start, count, space, space.time_far, out, 2 * channels)
        _gated(body.time_far, body, start, count, space.time_far, out, 3 * channels)
    _keep(near, out, 0)
    _keep(far, out, 2 * channels)


@inner
def _gated(layer, body, start, count, space, out, first):  # type: ignore[no-untyped-def]
    """A layer's outputs, in out[start : start + count] from `first` on."""
    multiply(layer, count, space)
    stop = first + layer.multiplier.size // 2
    for r in range(count):
        gate_row(space.sums[r], layer, body.sigmoid, body.tanh, out[start + r, first:stop])


@inner
def _put_times(times, kept, start, count, space, of_layer, out, first):  # type: ignore[no-untyped-def]
    """Inputs of a layer in time: of this frame out[:, first :], of others what was kept."""
    span, channels = kept.shape[1], kept.shape[3]
    for r in range(count):
        clip, site, inputs = space.clip[start + r], space.site[start + r], of_layer.inputs[r]
        put_inputs(inputs, 0, out[start + r, first : first + channels])
        for i in range(1, times.size):
            put_inputs(inputs, i * channels, kept[clip, span - times[i], site])


@inner
def _keep(kept, out, first):  # type: ignore[no-untyped-def]
    """This frame's channels from `first` on come behind the kept ones, the oldest of which goes."""
    clips, span, sites, channels = kept.shape
    for clip in range(clips):
        for t in range(1, span):
            copy_row(kept[clip, t].reshape(-1), kept[clip, t - 1].reshape(-1))
        for site in range(sites):
            now = out[clip * sites + site, first : first + channels]
            copy_row(now, kept[clip, span - 1, site])


def run_body(body: Any, x: Int8, state: tuple[Any, ...], space: Any) -> None:
    """Write one frame's features, for compiled functions.

    x (N * S, K), state as the body in network/body.py has it.
    """
    (_lstm_frame if isinstance(body, LstmArrays) else _conv3d_frame)(body, x, state, space)


@overload(run_body)
def _chosen(body, x, state, space):  # type: ignore[no-untyped-def]
    frame = _lstm_frame if body.instance_class is LstmArrays else _conv3d_frame

    def run(body, x, state, space):  # type: ignore[no-untyped-def]
        frame(body, x, state, space)

    return run

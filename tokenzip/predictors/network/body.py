"""The bodies of networks: what sees past frames only, and runs once per frame over all sites.

A body takes inputs int8 (N, T, S, K) and its state, and gives int8 (N, T, S, spec.features_width)
and the state after these T frames. States are tuples of arrays whose first axis is N (times S).
"""

from __future__ import annotations

from copy import copy
from typing import Any, Protocol

import numpy as np

from ...integer import LARGEST
from ...integer.layers import Places
from ...models import CONV_SPACE, CONV_TIMES, Geometry, Model
from ...models.parts import layer
from ...models.steps import neighbour_sites

Array = Any
State = tuple[Array, ...]


class Body(Protocol):
    #: Layers, places and tables by name, in a backend's arrays.
    parts: dict[str, Any]

    def of(self, geometry: Geometry) -> Body:
        """The same layers for frames of other sites."""

    def begin(self, clips: int) -> State:
        """The state before the first frame."""

    def first(self, state: State, clips: int) -> State:
        """The state of the first clips alone."""

    def __call__(self, x: Array, state: State) -> tuple[Array, State]:
        """Go through the frames of x. The state before them is used up."""


def body(model: Model, ops: Any) -> Body:
    return Lstm(model, ops) if model.spec.family == "lstm" else Conv3d(model, ops)


class Lstm:
    """An LSTM cell at every site, carried from frame to frame."""

    def __init__(self, model: Model, ops: Any) -> None:
        self._ops = ops
        self._sites, self._width = model.spec.geometry.sites, model.spec.state
        self._layer = ops.layer(layer(model.tensors, "lstm"))
        self._tables = _tables(model, ops)
        self.parts = {"lstm": self._layer, **_by_name(self._tables)}

    def of(self, geometry: Geometry) -> Lstm:
        other = copy(self)
        other._sites = geometry.sites
        return other

    def begin(self, clips: int) -> State:
        shape = (clips * self._sites, self._width)
        return self._ops.full(shape, 0, "int8"), self._ops.full(shape, 0, "int32")

    def first(self, state: State, clips: int) -> State:
        return tuple(part[: clips * self._sites] for part in state)

    def __call__(self, x: Array, state: State) -> tuple[Array, State]:
        clips, frames, sites, inputs = x.shape
        by_frame = self._ops.contiguous(x.swapaxes(0, 1)).reshape(frames, clips * sites, inputs)
        h, state = self._ops.lstm(by_frame, self._layer, state, self._tables)
        y = h.reshape(frames, clips, sites, self._width).swapaxes(0, 1)
        return self._ops.contiguous(y), state


class Conv3d:
    """Causal 3-D convolution, factorised: in time at each site, over the sites of a frame, in time.

        window      embedded symbols of the last frames             -> a, gated
        time_near   a of the frame and of the two before it         -> b, gated
        squeeze     fewer channels of b, for
        space       b, and the squeezed 3 x 3 sites around it       -> c, gated
        time_far    c of the frame, and of those three and six back -> d, gated

    The output is a, b, c and d. The a and c that later frames need are kept, so that a new frame
    costs one pass.
    """

    def __init__(self, model: Model, ops: Any) -> None:
        spec = model.spec
        self._ops = ops
        self._width = spec.state
        self._layers = {
            name: ops.layer(layer(model.tensors, name))
            for name in ("window", "time_near", "squeeze", "space", "time_far")
        }
        self._tables = _tables(model, ops)
        near, far = (ops.array(np.array(times, np.int64)) for times in CONV_TIMES)
        self.parts = {**self._layers, "near": near, "far": far, **_by_name(self._tables)}
        self._look_at(spec.geometry)

    def _look_at(self, geometry: Geometry) -> None:
        places = list(CONV_SPACE)
        site = neighbour_sites(geometry, places)
        self._sites = geometry.sites
        self._around = self._ops.places(Places.around(places, site, geometry.sites))
        self.parts = {**self.parts, "around": self._around}

    def of(self, geometry: Geometry) -> Conv3d:
        other = copy(self)
        other._look_at(geometry)
        return other

    def begin(self, clips: int) -> State:
        return tuple(
            self._ops.full((clips, max(times), self._sites, self._width), 0, "int8")
            for times in CONV_TIMES
        )

    def first(self, state: State, clips: int) -> State:
        return tuple(part[:clips] for part in state)

    def __call__(self, x: Array, state: State) -> tuple[Array, State]:
        ops = self._ops
        a = self._gated("window", x)
        b, near = self._in_time("time_near", a, state[0], CONV_TIMES[0])
        squeezed = ops.dense(b, self._layers["squeeze"], -LARGEST)
        clips, frames, _, channels = squeezed.shape
        outside = ops.full((clips, frames, 1, channels), 0, "int8")
        around = ops.windows(ops.concatenate([squeezed, outside], 2), self._around, 0, frames)
        c = self._gated("space", ops.concatenate([b, around], 3))
        d, far = self._in_time("time_far", c, state[1], CONV_TIMES[1])
        return ops.concatenate([a, b, c, d], 3), (near, far)

    def _gated(self, name: str, x: Array) -> Array:
        return self._ops.gated(x, self._layers[name], self._tables)

    def _in_time(
        self, name: str, x: Array, kept: Array, times: tuple[int, ...]
    ) -> tuple[Array, Array]:
        ops, frames, span = self._ops, x.shape[1], max(times)
        all_frames = ops.concatenate([kept, x], 1)
        inputs = [all_frames[:, span - t : span - t + frames] for t in times]
        return self._gated(name, ops.concatenate(inputs, 3)), ops.contiguous(all_frames[:, frames:])


def _by_name(tables: tuple[Array, Array]) -> dict[str, Array]:
    return {"sigmoid": tables[0], "tanh": tables[1]}


def _tables(model: Model, ops: Any) -> tuple[Array, Array]:
    sigmoid, tanh = (ops.array(model.tensors[name].astype("int32")) for name in ("sigmoid", "tanh"))
    return sigmoid, tanh
